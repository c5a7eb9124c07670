"""What crosses the unix socket, as JSON. The operator sends snapshots of its state; `api` sends calls that act.

The protocol (HTTP over the socket):
  GET  /v1/metrics  → the operator's metrics, in Prometheus' text format
  GET  /v1/watch    → newline-delimited JSON: a `Snapshot` at once, then an `Update` after changes: at most 4 in a
                      second, and at least one every 5 s
  GET  /v1/credentials → the same for `Credentials`: who may, of what the Secrets say
  GET  /v1/leader   → the same for `LeaderState`
  POST /v1/review   `ReviewRequest` → 200 `ReviewReply`, or an error: whose the bearer is, and what they may
  POST /v1/start    `StartRequest` → 200 `StartReply`, or an error body (`ErrorReply`) with status 4xx/5xx
  POST /v1/start-all `StartAllRequest` → 200 `StartAllReply`, or an error: one recording for each ordinal
  POST /v1/preflight `StartRequest` → 200 `PreflightReply`, or an error: whether it would work; nothing is recorded
  POST /v1/support-bundle `SupportBundleRequest` → 200 `SupportBundleReply`, or an error
  POST /v1/alerts   `AlertsRequest` → 200 `AlertsReply`, or an error: what the SamplyTriggers make of them
  POST /v1/doctor   `ExamineRequest` → 200 `Report` (model/check.py), or an error: the checks of the installation
  POST /v1/stop     `ActRequest` → 200 `ActReply`, or an error: end the recording now and keep it
  POST /v1/delete   `ActRequest` → 200 `ActReply`, or an error: cancel it, or remove what is stored
  POST /v1/pin      `ActRequest` → 200 `ActReply`, or an error: retention keeps it; /v1/unpin: no longer

A call that acts says in the header `GIVE_UP_AT` until when its caller waits: an operator that hung meanwhile, and reads
it later, does nothing. It carries the bearer token of whoever called, and the operator finds out itself what they may:
`api` can claim nobody's name. Both ends are in one pod, and so have one clock. Each call has its request's id in the
header `REQUEST_ID`: the operator's log lines carry it too.
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

import msgspec

from samply_operator.model.alert import Alert, AlertOutcome
from samply_operator.model.attachment import Kind
from samply_operator.model.profile import Failure
from samply_operator.rules.access.credentials import ApiKey
from samply_operator.rules.recording.preflight import Finding
from samply_operator.settings import Mode, Verb

GIVE_UP_AT = "Give-Up-At"
"""Header: Unix time."""
REQUEST_ID = "X-Request-Id"
"""Header: names one request in the logs of both containers, and in its answer."""


class OrdinalState(msgspec.Struct, frozen=True, rename="camel"):
    ordinal: int
    pod: str
    is_running: bool
    is_desired: bool = True
    node: str = ""


class PipelineState(msgspec.Struct, frozen=True, rename="camel"):
    namespace: str
    name: str
    ordinals: tuple[OrdinalState, ...]
    pipeline_ids: tuple[str, ...] = ()
    """Feldera's ids: one, none where it is not Feldera's, several where a label gives them one name."""

    @property
    def is_running(self) -> bool:
        return any(o.is_running for o in self.ordinals)


class RecordingState(msgspec.Struct, frozen=True, rename="camel"):
    """One that hasn't ended."""

    id: str
    namespace: str
    name: str
    pipeline: str
    ordinal: int
    phase: str
    requested_at: str
    preflight_only: bool = False
    ends_at: float | None = None
    """Unix time at which sampling ends; None until it runs."""
    duration_secs: int = 0
    pipeline_id: str = ""
    """Feldera's id of the pipeline; empty: it has none, or none is known yet."""
    is_triggered: bool = False
    """By a SamplyTrigger: it waits behind all others."""


class Snapshot(msgspec.Struct, frozen=True, rename="camel", tag="snapshot"):
    """All of it."""

    pipelines: tuple[PipelineState, ...]
    recordings: tuple[RecordingState, ...]
    store_generation: int
    """Grows with each manifest that is written or removed: look at the volume again."""
    sent_at: float
    is_synced: bool = True
    """False until the operator has seen complete lists: an unknown name is not yet a 404."""
    enabled: bool = True
    names: dict[str, str] = {}
    """What pipelines are called now, by Feldera's id; also those that are gone."""
    pinned: tuple[str, ...] = ()
    """Ids of profiles that retention keeps."""


class Update(msgspec.Struct, frozen=True, rename="camel", tag="update", omit_defaults=True):
    """What is another than before; the last four fields are always as they are now."""

    pipelines: tuple[PipelineState, ...] = ()
    gone_pipelines: tuple[tuple[str, str], ...] = ()
    """Namespace and name."""
    recordings: tuple[RecordingState, ...] = ()
    gone_recordings: tuple[str, ...] = ()
    """Ids."""
    pinned: tuple[str, ...] = ()
    """Of the ids that this update names, those that are pinned."""
    names: dict[str, str] | None = None
    """All of them; None: as before."""
    store_generation: int = 0
    sent_at: float = 0.0
    is_synced: bool = True
    enabled: bool = True


class LeaderState(msgspec.Struct, frozen=True, rename="camel"):
    """Whether this pod's operator acts, and where the one is that does."""

    leads: bool = True
    address: str = ""
    """Of the leading pod's HTTP port; empty: it is this pod, or isn't known."""


class Credentials(msgspec.Struct, frozen=True, rename="camel"):
    """What the Secrets say. It is secret itself: no log, no answer."""

    api_keys: tuple[ApiKey, ...] = ()
    link_keys: tuple[bytes, ...] = ()
    """Keys that sign links: the first one signs, all are believed. Empty: links are off, or nothing is known yet."""
    read_at: float = 0.0
    """Unix time at which the Secrets were read; 0: never yet."""

    def __repr__(self) -> str:
        return f"Credentials({len(self.api_keys)} API keys, {len(self.link_keys)} link keys, read_at={self.read_at})"


class ReviewRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """About the bearer."""

    verbs: tuple[Verb, ...]
    namespaces: tuple[str, ...]


class ReviewReply(msgspec.Struct, frozen=True, rename="camel"):
    """`allowed`: in which of the namespaces each verb is."""

    subject: str
    allowed: dict[Verb, tuple[str, ...]]


class ExamineRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Nothing has to be said."""


class StartRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pipeline: str
    ordinal: int = 0
    duration_secs: int | None = None
    namespace: str | None = None
    wait_secs: float = 2.0
    request: uuid.UUID | None = None
    """What names it: the same one again means the same recording."""
    rate_hz: int | None = None
    mode: Mode | None = None
    attachments: tuple[Kind, ...] | None = None


class StartReply(msgspec.Struct, frozen=True, rename="camel"):
    """`state` is where it was when `wait_secs` was over."""

    id: str
    namespace: str
    name: str
    state: Literal["Pending", "Recording", "Ended", "Failed"]
    retry_after_secs: int = 1
    failure: Failure | None = None
    ordinal: int = 0


class ActRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """About one profile, by its object's uid."""

    id: str


class ActReply(msgspec.Struct, frozen=True, rename="camel"):
    """Stopping and Cancelling go on; the others are done."""

    id: str
    state: Literal["Stopping", "Cancelling", "Removed", "Pinned", "Unpinned"]


class ErrorReply(msgspec.Struct, frozen=True, rename="camel"):
    """Same three facts as the public error body."""

    error_code: str
    message: str
    remedy: str = ""
    details: dict[str, object] = {}


class StartAllRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """`request` as in StartRequest."""

    pipeline: str
    duration_secs: int | None = None
    namespace: str | None = None
    wait_secs: float = 2.0
    request: uuid.UUID | None = None
    rate_hz: int | None = None
    mode: Mode | None = None
    attachments: tuple[Kind, ...] | None = None


class Refusal(msgspec.Struct, frozen=True, rename="camel"):
    ordinal: int
    error: ErrorReply


class StartAllReply(msgspec.Struct, frozen=True, rename="camel"):
    """Each ordinal is in one of both, in order."""

    started: tuple[StartReply, ...]
    refused: tuple[Refusal, ...]


class PreflightReply(msgspec.Struct, frozen=True, rename="camel"):
    """Whether a recording would work. `failure` only with Refuse; without findings it came before the look."""

    id: str
    namespace: str
    name: str
    ordinal: int
    verdict: Literal["Go", "GoWithWarning", "Refuse"]
    pod: str = ""
    container: str = ""
    mode: str = ""
    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    facts: dict[str, str] = {}
    """What was found where samply was to run."""


class AlertsRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    alerts: tuple[Alert, ...]


class AlertsReply(msgspec.Struct, frozen=True, rename="camel"):
    """For each alert one outcome, or one for each trigger that it matches."""

    outcomes: tuple[AlertOutcome, ...]


class SupportBundleRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pipeline: str
    namespace: str


class SupportBundleReply(msgspec.Struct, frozen=True, rename="camel"):
    """As they are shown; `missing`: what couldn't be had, and why."""

    objects: tuple[dict[str, Any], ...] = ()
    pods: tuple[dict[str, Any], ...] = ()
    events: tuple[dict[str, Any], ...] = ()
    missing: tuple[str, ...] = ()
