"""The JSON beside each stored profile, and the journal's entries: what must survive a restart.

Times are RFC 3339 in UTC with milliseconds (`2026-01-31T09:30:00.000Z`). Unknown keys are ignored when read, so that an
older release can read a newer one's files.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from samply_operator.model.profile import Failure

Outcome = Literal["Succeeded", "Failed"]


class RecordedTarget(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The sampled process."""

    pod: str = ""
    pod_uid: str = ""
    container: str = ""
    container_id: str = ""
    node: str = ""
    pid: int = 1
    mode: str = ""
    samply_version: str = ""


class StoredFile(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The published file: its bytes never change."""

    size_bytes: int
    sha256: str
    crc32: int = 0
    raw_bytes: int = 0
    """Size after gunzip."""


class Quality(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The quality of a profile. None: unknown."""

    samples: int | None = None
    threads: int | None = None
    coverage: float | None = None
    """Samples taken divided by samples expected from the CPU time that the process used: 1.0 is all."""
    cpu_secs: float | None = None
    lost_events: int | None = None
    unresolved_percent: float | None = None
    unresolved_by_library: dict[str, float] | None = None
    """The same for each library with unresolved samples: near 100 its binary is stripped."""
    throttled_secs: float | None = None
    """Time for which the CPU limit throttled the container's threads while it was sampled."""
    throttled_finishing_secs: float | None = None
    """The same while samply wrote its file."""
    symbolicated: bool | None = None
    verdict: str = ""
    """Empty: good. Else a CamelCase word, such as Idle."""


class ObjectOrigin(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Uids of an object's namespace and of the CRD, which identify the cluster and detect that either was recreated.
    Empty: unknown."""

    namespace_uid: str = ""
    definition_uid: str = ""


class TriggeredBy(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The SamplyTrigger that asked for it, and why."""

    name: str
    cause: str = ""
    link: str = ""
    """To the alert; empty: it was none."""
    when: str = ""
    """The kind of trigger, such as names.SCHEDULE. Empty: an earlier version did not say."""


class Attachment(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What Feldera said of the pipeline in the same seconds. `file` None: `problem` says why there is none."""

    kind: str
    """As in model/attachment.py."""
    name: str = ""
    """Of the file, beside the profile."""
    file: StoredFile | None = None
    taken_at: str = ""
    problem: str = ""


class Manifest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One ended attempt: a stored profile, or a failure that must be reported after a restart."""

    id: str
    """The object's uid, also the name of its folder."""
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
    """Additional files by name, if the store cannot list them cheaply (in a bucket)."""
    sequence: int = 0
    """Its place among the attempts of the volume (rules/storage/order.py), in ms, if the clock was set back and
    `finished_at` is wrong. 0: `finished_at` is right."""
    pipeline_id: str = ""
    """Feldera's id of the pipeline; empty: none. `pipeline` is its name at the time of recording."""
    trigger: TriggeredBy | None = None
    program_build: str = ""
    """Build id of the recorded program; empty: unknown."""
    attachments: tuple[Attachment, ...] = ()
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
    """The ephemeral container in which samply runs; empty: the target's own."""
    memory_cap: int = 0
    """Maximum bytes for samply; 0: no known limit."""
    memory_reserve: int = 0
    """Bytes that must stay free for the target's container; 0: no shared limit."""
    wanted_mode: str = ""
    process: str = ""
    """Name of the requested process; empty: none."""
    node: str = ""
    pid: int = 1
    """0: not chosen yet. Older journals omit it for 1."""
    pid_started: int = 0
    """Start time of the target in clock ticks since boot (/proc/PID/stat): with the PID it identifies the process."""
    mode: str = "InPlace"
    """Or Ephemeral, BringOwn, Pipeline; empty: not chosen yet. Older journals omit it for InPlace."""
    samply_version: str = ""
    samply: str = ""
    """Path of samply in the container."""
    symbol_flag: str = ""
    started_at: str = ""
    ends_at: str = ""
    stop: Literal["", "keep", "discard"] = ""
    """A requested stop; persisted before it acts."""
    stopped_at: str = ""
    """When `keep` was requested: sampling ends then, or when it has begun, except in mode Pipeline."""
    requested_by: str = ""
    outcome: Literal["", "Succeeded", "Failed", "Cancelled"] = ""
    """Set once decided; only cleaning is left."""
    preflight_only: bool = False
    failure: Failure | None = None
    refused: Failure | None = None
    """samply's message when the container's own one could not start: mode Auto uses another mode."""
    refused_by_feldera: str = ""
    """Why the pipeline's own samply could not start: mode Auto uses another mode."""
    clean_after: str = ""
    """When the remote folder is deleted even if its file was never copied; empty: immediately."""
    warnings: tuple[str, ...] = ()
    origin: ObjectOrigin = ObjectOrigin()
    preflight: dict[str, Any] = {}
    """The preflight as in the status."""
    pipeline_id: str = ""
    pipeline_doubt: str = ""
    """Why Feldera must not be asked about that id; empty: it may be."""
    doubt: str = ""
    """Why the container was a guess; empty: it was not."""
    lease: str = ""
    """The Lease that excludes other operators from this target; empty: none is needed."""
    trigger: TriggeredBy | None = None
    attachments: tuple[str, ...] = ()
    """Kinds that are wanted."""
    attached: tuple[Attachment, ...] = ()
    """Those whose files are in tmp/, and those that could not be had."""
    schema: int = 1


class Tombstone(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A profile to be removed, written before its removal: what a restarted operator must carry out or report."""

    id: str
    namespace: str
    name: str
    cause: Literal["Deleted", "Retention"]
    """Deleted: the object's deletion was observed. Retention: the object must be updated."""
    at: str
    message: str = ""
    origin: ObjectOrigin = ObjectOrigin()
    schema: int = 1


class PipelineNames(msgspec.Struct, frozen=True, rename="camel"):
    """By Feldera's id: Feldera's names of its pipelines (`pairs`; two tenants may use the same name), and their names
    here, including deleted ones (`shown`)."""

    pairs: dict[str, str] = {}
    shown: dict[str, str] = {}
    schema: int = 1
