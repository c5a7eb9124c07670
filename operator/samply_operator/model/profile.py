"""A SamplyProfile object: what was asked (`Spec`), and how it stands (`Status`). Parsed once, at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from samply_operator.settings import Mode

Phase = Literal["Pending", "Recording", "Collecting", "Succeeded", "Failed", "Cancelled"]
ENDED: frozenset[str] = frozenset({"Succeeded", "Failed", "Cancelled"})


@dataclass(frozen=True, slots=True)
class Spec:
    """What was asked. None means: as the installation's settings say."""

    pipeline: str
    ordinal: int = 0
    duration_secs: int | None = None
    rate_hz: int | None = None
    container: str | None = None
    process: str | None = None
    mode: Mode | None = None
    preflight_only: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a recording gave no good profile: `reason` in CamelCase, `remedy` says what to do, `log` is samply's own."""

    reason: str
    message: str
    remedy: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class SamplyProfile:
    """One object as observed. `raw` is its JSON: status is rendered as a change of it."""

    namespace: str
    name: str
    uid: str
    spec: Spec
    phase: Phase | None
    created_at: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)
    is_deleted: bool = False

    @property
    def has_ended(self) -> bool:
        return self.phase in ENDED

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


def parse_spec(raw: Mapping[str, Any]) -> Spec:
    """The `spec` of an object that passed the CRD's schema: types and ranges are the API server's work."""
    return Spec(
        pipeline=str(raw["pipeline"]),
        ordinal=int(raw.get("ordinal", 0)),
        duration_secs=raw.get("durationSeconds"),
        rate_hz=raw.get("rateHz"),
        container=raw.get("container"),
        process=raw.get("process"),
        mode=raw.get("mode"),
        preflight_only=bool(raw.get("preflightOnly", False)),
    )


def render_spec(spec: Spec) -> dict[str, Any]:
    """The other way round; what is None is left out."""
    fields: dict[str, Any] = {
        "pipeline": spec.pipeline,
        "ordinal": spec.ordinal,
        "durationSeconds": spec.duration_secs,
        "rateHz": spec.rate_hz,
        "container": spec.container,
        "process": spec.process,
        "mode": spec.mode,
        "preflightOnly": spec.preflight_only or None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def parse_object(raw: Mapping[str, Any]) -> SamplyProfile:
    """An object from the API server. Raises KeyError only if it never was one."""
    meta = raw["metadata"]
    return SamplyProfile(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        spec=parse_spec(raw["spec"]),
        phase=(raw.get("status") or {}).get("phase"),
        created_at=meta.get("creationTimestamp") or "",
        annotations=dict(meta.get("annotations") or {}),
        labels=dict(meta.get("labels") or {}),
        raw=raw,
        is_deleted="deletionTimestamp" in meta,
    )
