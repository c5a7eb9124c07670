"""A SamplyTrigger object: when to record which pipelines (`TriggerSpec`), and its status. Parsed once, at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from samply_operator.model import decoding
from samply_operator.model.attachment import Kind
from samply_operator.model.comparison import ComparisonSpec
from samply_operator.settings import Mode

ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]


class _Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


class Pipelines(_Part, frozen=True):
    """Which pipelines of the trigger's namespace: exactly one of the first three. No ordinals: all of them."""

    names: tuple[str, ...] = ()
    match_labels: dict[str, str] | None = None
    all: bool = False
    ordinals: tuple[int, ...] = ()


class Schedule(_Part, frozen=True):
    """`cron` or `every`."""

    cron: str = ""
    every: str = ""
    time_zone: str = "UTC"
    jitter_seconds: int = 0
    starting_deadline_seconds: int | None = None


class Restart(_Part, frozen=True):
    """The start of a pipeline's container."""

    within_seconds: int = 300


class AlertMatch(_Part, frozen=True):
    """An alert that Alertmanager sends, with these labels. The other two name the labels that say what it is about."""

    match_labels: dict[str, str]
    pipeline_label: str = "pipeline"
    pod_label: str = "pod"


class PrometheusQuery(_Part, frozen=True):
    """The result of an instant query. The two labels say which pipeline and pod a series is about."""

    query: str
    pipeline_label: str = "pipeline"
    pod_label: str = "pod"


class FelderaValue(_Part, frozen=True):
    """A value of a pipeline in Feldera's API: one of `stat` (of global_metrics in /stats) and `metric` (in /metrics,
    the sum of all series with these labels).

    `per` empty: the value itself; PER_SECOND: its increase in a second; else the name of another one of the same kind:
    the increase of this one, divided by the increase of that one."""

    stat: str = ""
    metric: str = ""
    match_labels: dict[str, str] = {}
    per: str = ""

    @property
    def name(self) -> str:
        return self.stat or self.metric


PER_SECOND = "second"


class Baseline(_Part, frozen=True):
    """Further from the median of the last `window_seconds` than `percent` of it, and than `min_difference`."""

    percent: float
    direction: Literal["Above", "Below", "Both"] = "Above"
    window_seconds: int = 3600
    min_difference: float = 0.0


class Metric(_Part, frozen=True):
    """Exactly one source, and exactly one of `above`, `below` and `baseline`, for `for_seconds`.

    `recovery`: what a value, once beyond, must reach to count as normal again; with `baseline` in percent."""

    prometheus: PrometheusQuery | None = None
    feldera: FelderaValue | None = None
    above: float | None = None
    below: float | None = None
    baseline: Baseline | None = None
    recovery: float | None = None
    for_seconds: int = 0
    every_seconds: int = 15
    warm_up_seconds: int = 0


class When(_Part, frozen=True):
    """Exactly one of them."""

    schedule: Schedule | None = None
    restart: Restart | None = None
    alert: AlertMatch | None = None
    metric: Metric | None = None

    @property
    def kind(self) -> str:
        return next((name for name in self.__struct_fields__ if getattr(self, name) is not None), "")


class Template(_Part, frozen=True):
    """The spec of the SamplyProfiles, without pipeline and ordinal. `comparison` None: with the last one."""

    duration_seconds: int | None = None
    rate_hz: int | None = None
    container: str | None = None
    process: str | None = None
    mode: Mode | None = None
    comparison: ComparisonSpec | None = None
    attachments: tuple[Kind, ...] | None = None


class Limits(_Part, frozen=True):
    """For each pipeline. None: the default of the kind of trigger (rules/triggers/limits.py)."""

    cooldown_seconds: int | None = None
    max_firings: int | None = None
    window_seconds: int = 3600
    max_sampled_percent: int = 25


class TriggerSpec(_Part, frozen=True):
    pipelines: Pipelines
    when: When
    template: Template = Template()
    limits: Limits = Limits()
    concurrency_policy: ConcurrencyPolicy = "Allow"
    suspend: bool = False
    dry_run: bool = False
    successful_profiles_history_limit: int | None = None
    failed_profiles_history_limit: int | None = None


class LastFired(_Part, frozen=True):
    time: str = ""
    cause: str = ""
    message: str = ""


class LastNotFired(_Part, frozen=True):
    time: str = ""
    reason: str = ""
    message: str = ""


class Exceeding(_Part, frozen=True):
    """A place whose value has been beyond the limit for long enough, since then."""

    pipeline: str
    ordinal: int
    since: str
    fired: bool = False


class TriggerStatus(_Part, frozen=True):
    """Written by the operator, and read again after its restart."""

    observed_generation: int = 0
    last_evaluation_time: str = ""
    last_schedule_time: str = ""
    """The scheduled time that was last decided on; earlier ones are never fired."""
    next_time: str = ""
    when: str = ""
    """What it waits for, in a few words."""
    active: int = 0
    """Profiles of this trigger that have not ended."""
    fired: int = 0
    would_have_fired: int = 0
    """With dryRun."""
    value: str = ""
    """Of a metric, where it is furthest towards the limit; as of the last evaluation that was written."""
    exceeding: tuple[Exceeding, ...] = ()
    """Written before a trigger fires for them, so that it never fires twice."""
    last_fired: LastFired = LastFired()
    last_not_fired: LastNotFired = LastNotFired()
    conditions: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class SamplyTrigger:
    """One object as observed."""

    namespace: str
    name: str
    uid: str
    created_at: str
    spec: TriggerSpec
    generation: int = 1
    status: TriggerStatus = field(default_factory=TriggerStatus)
    labels: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    """Why it cannot be read; empty: it can."""

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    namespace: str
    name: str
    uid: str
    creation_timestamp: str = ""
    generation: int = 1
    labels: dict[str, str] | None = None


class _Identity(msgspec.Struct, frozen=True):
    metadata: _Meta


class _Object(_Identity, frozen=True):
    spec: TriggerSpec
    status: TriggerStatus | None = None


def parse_trigger(raw: decoding.Raw) -> SamplyTrigger:
    """Raises msgspec.ValidationError only if it is not an object at all."""
    found, fault = decoding.decode(
        raw, _Object, _Identity, lambda known: _Object(known.metadata, TriggerSpec(Pipelines(), When()))
    )
    meta = found.metadata
    return SamplyTrigger(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        created_at=meta.creation_timestamp,
        spec=found.spec,
        generation=meta.generation,
        status=found.status or TriggerStatus(),
        labels=meta.labels or {},
        fault=fault,
    )
