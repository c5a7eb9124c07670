"""SamplyProfile objects as created and shown by the plugin. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from samply_operator.model import names
from samply_operator.model.profile import Spec, render_spec
from samply_operator.rules import times
from samply_operator.rules.discovery import triggers
from samply_operator.rules.recording import failures

BAR_WIDTH = 30


@dataclass(frozen=True, slots=True)
class Shown:
    """One object for the terminal; text from the cluster is sanitized."""

    name: str
    pipeline: str
    ordinal: int
    phase: str
    message: str
    profile_id: str
    samples: str
    coverage: str
    verdict: str
    size: str
    reason: str
    remedy: str
    created_at: str
    has_finished: bool
    has_succeeded: bool
    share: float | None = None
    """Its coverage, as a number."""
    lost_events: int | None = None


def build_body(spec: Spec, request: str | None = None) -> dict[str, Any]:
    """A new object; all objects of one call carry the same request."""
    request = request or str(uuid.uuid4())
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": triggers.build_name(request, spec.ordinal), "labels": {names.REQUEST: request}},
        "spec": render_spec(spec),
    }


def parse(raw: Mapping[str, Any]) -> Shown:
    status, spec = raw.get("status") or {}, raw["spec"]
    profile, failure = status.get("profile") or {}, status.get("failure") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    coverage = profile.get("coverage")
    return Shown(
        name=raw["metadata"]["name"],
        pipeline=failures.clean_text(str(spec["pipeline"])),
        ordinal=int(spec.get("ordinal", 0)),
        phase=str(status.get("phase") or "Pending"),
        message=failures.clean_text(str(status.get("message") or "")),
        profile_id=str(profile.get("id") or ""),
        samples=str(profile.get("samples", "")),
        coverage="" if coverage is None else f"{coverage:.0%}",
        verdict=failures.clean_text(str(profile.get("verdict") or "")),
        size=render_size(profile.get("sizeBytes")),
        reason=str(failure.get("reason") or ""),
        remedy=failures.clean_text(str(failure.get("remedy") or "")),
        created_at=str(raw["metadata"].get("creationTimestamp") or ""),
        has_finished=conditions.get("Finished") == "True",
        has_succeeded=conditions.get("Succeeded") == "True",
        share=coverage,
        lost_events=profile.get("lostEvents"),
    )


def render_size(size: int | None) -> str:
    if size is None:
        return ""
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size = size // 1000 if unit != "KB" else round(size / 1000)
    return f"{size} GB"


def render_table(shown: Sequence[Shown]) -> str:
    """Newest first, with columns as wide as their content."""
    head = ("NAME", "PIPELINE", "ORDINAL", "PHASE", "SAMPLES", "COVERAGE", "VERDICT", "SIZE", "REASON", "CREATED")
    rows = [
        (s.name, s.pipeline, str(s.ordinal), s.phase, s.samples, s.coverage, s.verdict, s.size, s.reason, s.created_at)
        for s in sorted(shown, key=lambda s: s.created_at, reverse=True)
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)


def render_progress(raw: Mapping[str, Any], now: float) -> str:
    """One line: a bar while it is sampled, else what it waits for."""
    shown, status = parse(raw), raw.get("status") or {}
    try:
        start, end = times.parse_time(status.get("startedAt") or ""), times.parse_time(status.get("endsAt") or "")
    except ValueError:
        start = end = 0.0
    if shown.phase != "Recording" or end <= start:
        return f"{shown.name}  {shown.phase.lower()}  {shown.message}"
    share = min(1.0, max(0.0, (now - start) / (end - start)))
    done = int(share * BAR_WIDTH)
    left = max(0, int(end - now + 0.999))
    return f"{shown.name}  [{'#' * done}{'.' * (BAR_WIDTH - done)}] {left:>4} s left"


def render_findings(raw: Mapping[str, Any]) -> str:
    """The findings of a preflight, with remedies."""
    preflight = (raw.get("status") or {}).get("preflight") or {}
    lines = [f"verdict: {preflight.get('verdict') or 'none'}"]
    for finding in preflight.get("findings") or ():
        lines.append(failures.clean_text(f"  {finding.get('severity')}: {finding.get('message')}"))
        if finding.get("remedy"):
            lines.append(failures.clean_text(f"    cure: {finding['remedy']}"))
    return "\n".join(lines)


def list_missing(raw: Mapping[str, Any]) -> list[str]:
    """The attachments that were wanted and are missing, with the reason."""
    found = (raw.get("status") or {}).get("attachments") or ()
    return [
        failures.clean_text(f"{each.get('kind')} is missing: {each['problem']}")
        for each in found
        if each.get("problem")
    ]
