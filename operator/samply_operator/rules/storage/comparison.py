"""Which earlier profile a profile is compared with, whether it has regressed, and what its status says about both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec

from samply_operator.model.comparison import (
    KINDS,
    Baseline,
    BaselineProfile,
    Change,
    ComparisonSpec,
    ComparisonStatus,
    Kind,
)
from samply_operator.model.manifest import Manifest
from samply_operator.model.profile import SamplyProfile
from samply_operator.rules import times
from samply_operator.rules.recording import failures
from samply_operator.rules.recording.status import set_condition
from samply_operator.rules.storage import order
from samply_operator.settings import Api

DAY_SECS = 86400.0
SAME_HOUR_SECS = 1800.0
"""How far from the same time yesterday a profile may have started."""
SHOWN = 3
"""Changes of each kind in the status."""
NAME_LIMIT, COLUMN_LIMIT, NOTES, NOTE_LIMIT, MESSAGE_LIMIT = 200, 40, 5, 300, 800
ERRORS = 3.0
"""A regression is larger than so many standard errors of the difference: a profile with few samples proves little."""
COMPARED, REGRESSED = "Compared", "Regressed"


@dataclass(frozen=True, slots=True)
class NotCompared:
    """`reason`: NoBaseline, BaselineUnreadable, NotComparable or ComparisonFailed."""

    reason: str
    message: str
    baseline: Manifest | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """`changes`: by kind, the largest first; a kind that one of both profiles does not have is missing."""

    baseline: Manifest
    measure: str
    changes: Mapping[Kind, Sequence[Change]]
    notes: Sequence[str] = ()


def is_due(profile: SamplyProfile) -> bool:
    """Whether a comparison was asked for and nothing is known of it yet, although the profile is stored."""
    wanted, status = profile.spec.comparison, profile.status
    if wanted is None or wanted.baseline == "None" or profile.is_deleted or status.phase != "Succeeded":
        return False
    stored = status.profile
    return stored is not None and bool(stored.id) and not stored.removed_at and status.comparison is None


def choose_baseline(wanted: Baseline, own: Manifest, stored: Iterable[Manifest]) -> Manifest | NotCompared:
    """Of the good profiles of the same pod of the pipeline that are older than `own` and have samples."""
    older = [each for each in stored if _is_older(each, own)]
    match wanted:
        case "Last":
            trigger = _find_trigger(own)
            fitting = [each for each in older if _find_trigger(each) == trigger]
            of = f"SamplyTrigger {trigger}" if trigger else "no SamplyTrigger"
            absent = f"There is no earlier profile of {of}."
        case "SameHourYesterday":
            return _choose_of_yesterday(own, older)
        case "PreviousVersion":
            if not own.program_build:
                return NotCompared("NoBaseline", "The program has no build id by which its version is known.")
            fitting = [each for each in older if each.program_build not in {"", own.program_build}]
            absent = f"There is no profile of another build than {own.program_build}."
        case "None":
            return NotCompared("NoBaseline", "spec.comparison.baseline is None.")
    return max(fitting, key=order.build_key) if fitting else NotCompared("NoBaseline", absent)


def _choose_of_yesterday(own: Manifest, older: Iterable[Manifest]) -> Manifest | NotCompared:
    at = _find_start(own) - DAY_SECS
    distances = {each.id: abs(_find_start(each) - at) for each in older}
    near = [each for each in older if distances[each.id] <= SAME_HOUR_SECS]
    if near:
        return min(near, key=lambda each: (distances[each.id], order.build_key(each)))
    return NotCompared("NoBaseline", f"There is no profile that started around {times.format_time(at)}.")


def _is_older(found: Manifest, own: Manifest) -> bool:
    has_ids = found.pipeline_id and own.pipeline_id
    is_same = found.pipeline_id == own.pipeline_id if has_ids else found.pipeline == own.pipeline
    return (
        is_same
        and found.id != own.id
        and found.outcome == "Succeeded"
        and found.file is not None
        and found.quality.samples != 0
        and (found.namespace, found.ordinal) == (own.namespace, own.ordinal)
        and order.build_key(found) < order.build_key(own)
    )


def _find_trigger(manifest: Manifest) -> str:
    return manifest.trigger.name if manifest.trigger else ""


def _find_start(manifest: Manifest) -> float:
    try:
        return times.parse_time(manifest.started_at or manifest.finished_at)
    except ValueError:
        return 0.0


def find_regression(spec: ComparisonSpec, own: Manifest, found: Compared) -> tuple[Kind, Change] | None:
    """The largest rise above the threshold that is not explained by the small number of samples."""
    limit = spec.regressed_above
    if limit is None:
        return None
    samples = (found.baseline.quality.samples, own.quality.samples)
    risen = [
        (kind, each) for kind, each in _list_changes(found) if each.points > max(limit, _find_noise(each, samples))
    ]
    return max(risen, key=lambda pair: pair[1].points, default=None)


def _find_noise(change: Change, samples: tuple[int | None, int | None]) -> float:
    """Percentage points that the difference of two shares may well be off."""
    shares = (change.before_percent, change.after_percent)
    variances = (share * (100.0 - share) / count for share, count in zip(shares, samples, strict=True) if count)
    return ERRORS * math.sqrt(max(0.0, sum(variances)))


def _list_changes(found: Compared) -> Iterator[tuple[Kind, Change]]:
    for kind in reversed(KINDS):
        for change in found.changes.get(kind, ()):
            yield kind, change


def describe(spec: ComparisonSpec, own: Manifest, found: Compared | NotCompared, api: Api) -> ComparisonStatus:
    """For the status: bounded, and without control characters from the profile."""
    if isinstance(found, NotCompared):
        return ComparisonStatus(
            found.reason,
            failures.clean_text(found.message)[:MESSAGE_LIMIT],
            baseline=None if found.baseline is None else _describe_baseline(found.baseline),
        )
    largest = max(_list_changes(found), key=lambda pair: abs(pair[1].points), default=None)
    regression = find_regression(spec, own, found)
    shown = regression or largest
    path, url = _build_links(own, found.baseline, api)
    notes = [failures.clean_text(note)[:NOTE_LIMIT] for note in found.notes][:NOTES]
    kinds = {kind: tuple(filter(_has_changed, map(_shorten, found.changes.get(kind, ()))))[:SHOWN] for kind in KINDS}
    return ComparisonStatus(
        REGRESSED if regression else COMPARED,
        _describe_change(shown, found.baseline) if shown else "Nothing in it changed.",
        change=f"{shown[1].points:+.1f} {_shorten(shown[1]).name[:COLUMN_LIMIT]}" if shown else "",
        baseline=_describe_baseline(found.baseline),
        measure=found.measure,
        functions=kinds["function"],
        groups=kinds["group"],
        operators=kinds["operator"],
        notes=tuple(notes),
        path=path,
        url=url,
    )


def _has_changed(change: Change) -> bool:
    return change.points != 0


def _shorten(change: Change) -> Change:
    return Change(
        failures.clean_text(change.name)[:NAME_LIMIT],
        round(change.before_percent, 2),
        round(change.after_percent, 2),
        round(change.points, 2),
    )


def _describe_change(shown: tuple[Kind, Change], baseline: Manifest) -> str:
    kind, change = shown[0], _shorten(shown[1])
    return (
        f"The {kind} {change.name} has {change.after_percent:.1f} %, {change.points:+.1f} points against "
        f"{change.before_percent:.1f} % in {baseline.name} of {baseline.finished_at}."
    )


def _describe_baseline(baseline: Manifest) -> BaselineProfile:
    return BaselineProfile(baseline.id, baseline.name, baseline.finished_at)


def _build_links(own: Manifest, baseline: Manifest, api: Api) -> tuple[str, str]:
    """Of the comparison in the HTTP API, and of the console's page; without api.links.publicUrl without a host."""
    base = api.links.public_url + api.base_path
    diff = urlencode({"before": baseline.id, "after": own.id})
    path = f"{base}/v0/pipelines/{own.pipeline}/diff?{diff}"
    if not api.console.enabled:
        return path, ""
    page = urlencode({"before": f"{own.pipeline}/{baseline.id}", "after": f"{own.pipeline}/{own.id}"})
    return path, f"{base}/console/compare?{page}"


def render(old: Mapping[str, Any], found: ComparisonStatus, now: float) -> dict[str, Any]:
    """What is added to the status."""
    is_compared = found.reason in {COMPARED, REGRESSED}
    conditions = set_condition(
        old.get("conditions") or [], COMPARED, "True" if is_compared else "False", found.reason, found.message, now
    )
    return {"comparison": msgspec.to_builtins(found), "conditions": conditions}
