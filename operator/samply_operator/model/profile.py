"""A SamplyProfile object: the request (`Spec`) and its `Status`. Parsed once, at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from samply_operator.model import decoding, names
from samply_operator.model.attachment import Kind
from samply_operator.model.comparison import ComparisonSpec, ComparisonStatus
from samply_operator.settings import Mode

Phase = Literal["Pending", "Recording", "Collecting", "Succeeded", "Failed", "Cancelled"]
ENDED: frozenset[str] = frozenset({"Succeeded", "Failed", "Cancelled"})
NOT_BEGUN: frozenset[str | None] = frozenset({None, "Pending"})


class Spec(msgspec.Struct, frozen=True, rename={"duration_secs": "durationSeconds", "rate_hz": "rateHz",
                                                "preflight_only": "preflightOnly"}, omit_defaults=True):  # fmt: skip
    """The request. None means the installation's setting. The API server checks types and ranges."""

    pipeline: str
    ordinal: int = 0
    duration_secs: int | None = None
    rate_hz: int | None = None
    container: str | None = None
    process: str | None = None
    mode: Mode | None = None
    preflight_only: bool = False
    comparison: ComparisonSpec | None = None
    attachments: tuple[Kind, ...] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a recording gave no good profile: `reason` in CamelCase, `remedy` says what to do, `log` is samply's own."""

    reason: str
    message: str
    remedy: str = ""
    log: str = ""


class TargetStatus(msgspec.Struct, frozen=True, rename="camel"):
    pod: str = ""
    pod_uid: str = ""
    container: str = ""
    mode: str = ""


class PreflightStatus(msgspec.Struct, frozen=True, rename="camel"):
    findings: list[dict[str, Any]] = []
    facts: dict[str, str] = {}


class StoredStatus(msgspec.Struct, frozen=True, rename="camel"):
    id: str = ""
    removed_at: str | None = None


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of it that are read again."""

    phase: Phase | None = None
    message: str = ""
    requested_by: str = ""
    finished_at: str | None = None
    target: TargetStatus | None = None
    preflight: PreflightStatus | None = None
    profile: StoredStatus | None = None
    failure: Failure | None = None
    comparison: ComparisonStatus | None = None


@dataclass(frozen=True, slots=True)
class SamplyProfile:
    """One object as observed."""

    namespace: str
    name: str
    uid: str
    spec: Spec
    created_at: str
    status: Status = field(default_factory=Status)
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    is_deleted: bool = False
    fault: str = ""
    """Why spec or status cannot be read; empty: they can. The object still exists: absence would mean deletion."""

    @property
    def phase(self) -> Phase | None:
        return self.status.phase

    @property
    def has_ended(self) -> bool:
        return self.phase in ENDED

    @property
    def has_begun(self) -> bool:
        return self.phase not in NOT_BEGUN

    @property
    def trigger(self) -> str:
        """The SamplyTrigger that created it; empty: none."""
        return self.labels.get(names.MADE_BY, "")

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    namespace: str
    name: str
    uid: str
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class _Identity(msgspec.Struct, frozen=True):
    """What every object has."""

    metadata: _Meta


class _Object(_Identity, frozen=True):
    spec: Spec
    status: Status | None = None


def render_spec(spec: Spec) -> dict[str, Any]:
    """The spec of an object; None is omitted."""
    fields: dict[str, Any] = msgspec.to_builtins(spec)
    return {"pipeline": spec.pipeline, "ordinal": spec.ordinal} | fields


def parse_object(raw: decoding.Raw) -> SamplyProfile:
    """An object from the API server. Raises msgspec.ValidationError only if it is not an object at all."""
    found, fault = decoding.decode(raw, _Object, _Identity, lambda known: _Object(known.metadata, Spec("")))
    meta = found.metadata
    return SamplyProfile(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        spec=found.spec,
        created_at=meta.creation_timestamp or "",
        status=found.status or Status(),
        annotations=meta.annotations or {},
        labels=meta.labels or {},
        is_deleted=meta.deletion_timestamp is not None,
        fault=fault,
    )
