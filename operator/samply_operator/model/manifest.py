"""The JSON beside each stored profile, and the journal's entries: what must survive every restart.

Times are RFC 3339 in UTC with milliseconds (`2026-01-31T09:30:00.000Z`). Unknown keys are ignored when read, so that
an older release can read a newer one's files.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from samply_operator.model.profile import Failure

Outcome = Literal["Succeeded", "Failed"]


class RecordedTarget(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Which process was sampled."""

    pod: str = ""
    pod_uid: str = ""
    container: str = ""
    container_id: str = ""
    node: str = ""
    pid: int = 1
    mode: str = ""
    samply_version: str = ""


class StoredFile(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The published file: exactly these bytes, for ever."""

    size_bytes: int
    sha256: str
    crc32: int = 0
    raw_bytes: int = 0
    """Size after gunzip."""


class Quality(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How good the answer is. None: not known."""

    samples: int | None = None
    threads: int | None = None
    coverage: float | None = None
    """Samples taken over samples due from the CPU time that the process used: 1.0 is all."""
    cpu_secs: float | None = None
    lost_events: int | None = None
    unresolved_percent: float | None = None
    unresolved_by_library: dict[str, float] | None = None
    """The same of the samples in one library, where there are any: near 100 its binary is stripped."""
    throttled_secs: float | None = None
    """Time that the CPU limit took from the container's threads while it was sampled."""
    throttled_finishing_secs: float | None = None
    """The same while samply wrote its file."""
    symbolicated: bool | None = None
    verdict: str = ""
    """Empty: good. Else a CamelCase word, such as Idle."""


class ObjectOrigin(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Where an object lived: uids of its namespace and of the CRD, which tell a cluster and a life of both. Empty: not
    known."""

    namespace_uid: str = ""
    definition_uid: str = ""


class Manifest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One attempt that ended: a stored profile, or a failure that must be told after a restart."""

    id: str
    """The object's uid: also the name of its folder."""
    namespace: str
    name: str
    """The object's name."""
    pipeline: str
    ordinal: int
    outcome: Outcome
    requested_at: str
    finished_at: str
    started_at: str = ""
    duration_secs: int = 0
    rate_hz: int = 0
    requested_by: str = ""
    target: RecordedTarget = RecordedTarget()
    file: StoredFile | None = None
    quality: Quality = Quality()
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    origin: ObjectOrigin = ObjectOrigin()
    extras: dict[str, StoredFile] = {}
    """What else was kept, by name, where the store can't be asked for it cheaply: in a bucket."""
    sequence: int = 0
    """Its place among the attempts of the volume (rules/storage/order.py), in ms, where `finished_at` gives a wrong
    one: the clock had been set back. 0: `finished_at` is right."""
    pipeline_id: str = ""
    """Feldera's id of the pipeline; empty: it has none. `pipeline` is what it was called when it was recorded."""
    schema: int = 1


Step = Literal["Admitted", "Launching", "Recording", "Collecting", "Publishing", "Cleaning"]


class JournalEntry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Written before each step that touches a pod: what a restarted operator must finish, stop or clean."""

    id: str
    namespace: str
    name: str
    pipeline: str
    ordinal: int
    step: Step
    pod: str
    pod_uid: str
    container: str
    container_id: str
    folder: str
    """The recording's own folder in the pod; no other recording ever uses it."""
    duration_secs: int
    rate_hz: int
    requested_at: str
    admitted_at: str
    helper: str = ""
    """The ephemeral container that samply runs in; empty: the target's own."""
    memory_cap: int = 0
    """Bytes that samply may use; 0: no limit is in reach."""
    memory_reserve: int = 0
    """Bytes that must stay free of what the target's container may use; 0: samply takes nothing of that."""
    wanted_mode: str = ""
    process: str = ""
    """Name of the process that was asked for; empty: none."""
    node: str = ""
    pid: int = 1
    """0: not chosen yet. 1 is what older journals leave out."""
    pid_started: int = 0
    """Start time of the target in clock ticks since boot (/proc/PID/stat): tells it from a successor."""
    mode: str = "InPlace"
    """Or Ephemeral, BringOwn, Pipeline; empty: not chosen yet. InPlace is what older journals leave out."""
    samply_version: str = ""
    samply: str = ""
    """Path of samply in the container."""
    symbol_flag: str = ""
    started_at: str = ""
    ends_at: str = ""
    stop: Literal["", "keep", "discard"] = ""
    """A stop that was asked for; persisted before it acts."""
    requested_by: str = ""
    outcome: Literal["", "Succeeded", "Failed", "Cancelled"] = ""
    """Set once decided; what is left is cleaning."""
    preflight_only: bool = False
    failure: Failure | None = None
    refused: Failure | None = None
    """What the container's own samply said when it couldn't begin: mode Auto goes another way."""
    refused_by_feldera: str = ""
    """Why the pipeline's own samply could not begin: mode Auto goes another way."""
    clean_after: str = ""
    """When the remote folder goes although its file was never copied; empty: at once."""
    warnings: tuple[str, ...] = ()
    origin: ObjectOrigin = ObjectOrigin()
    preflight: dict[str, Any] = {}
    """What was found before the recording, as its status has it."""
    pipeline_id: str = ""
    doubt: str = ""
    """Why the container was chosen by guess; empty: it was not."""
    lease: str = ""
    """The Lease that keeps other operators off this target; empty: none is needed."""
    schema: int = 1


class Tombstone(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A profile that is to go, written before it goes: what a restarted operator must carry out, or tell."""

    id: str
    namespace: str
    name: str
    cause: Literal["Deleted", "Retention"]
    """Deleted: the object's deletion was seen. Retention: the object must be told."""
    at: str
    message: str = ""
    origin: ObjectOrigin = ObjectOrigin()
    schema: int = 1


class PipelineNames(msgspec.Struct, frozen=True, rename="camel"):
    """By Feldera's id: what Feldera calls its pipelines (`pairs`; two tenants may have the same name), and what
    pipelines are called here, also those that are gone (`shown`)."""

    pairs: dict[str, str] = {}
    shown: dict[str, str] = {}
    schema: int = 1
