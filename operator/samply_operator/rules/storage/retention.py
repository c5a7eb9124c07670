"""Which stored attempts to remove, and why: by age, count and bytes, oldest first; and what a schedule made is thinned.

Limits that kinds share remove what schedules made first, so that it displaces nothing else.
Never removed: the newest good profile of an ordinal, pinned profiles, and those in use by a recording. Failures are
counted separately, so that they never displace a good profile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from samply_operator.model import names
from samply_operator.model.manifest import Manifest
from samply_operator.model.profile import Failure
from samply_operator.rules import times
from samply_operator.rules.recording import failures, status
from samply_operator.rules.storage import order
from samply_operator.settings import Retention, Thinning

Reason = Literal["Age", "Thinned", "OrdinalCount", "FailureCount", "PipelineBytes", "TotalCount", "VolumeBytes"]

BLOCK_BYTES = 4096
OVERHEAD_BYTES = 2 * BLOCK_BYTES
"""Bytes of a folder and a manifest, in addition to the profile."""
Extras = Mapping[str, Collection[int]]
"""Bytes of each additional file of a profile (`config.recording.keepRaw`), by its id."""
NO_EXTRAS: Extras = {}
FREE_MARGIN = 2
"""Retention keeps this multiple of the free space that a recording needs at its start."""

REASONS: dict[Reason, str] = {
    "Age": "it was older than config.retention.maxAgeSecs",
    "Thinned": "an earlier one of the same interval of config.retention.thinning is kept",
    "OrdinalCount": "its ordinal had more than config.retention.maxPerOrdinal newer ones",
    "FailureCount": "its ordinal had more than config.retention.maxFailuresPerOrdinal newer failures",
    "PipelineBytes": "its pipeline had more than config.retention.maxPipelineBytes",
    "TotalCount": "there were more than config.retention.maxTotal",
    "VolumeBytes": "profiles used more than config.retention.maxVolumePercent of the volume",
}


@dataclass(frozen=True, slots=True)
class Removal:
    manifest: Manifest
    reason: Reason

    @property
    def message(self) -> str:
        return f"The profile was removed by retention: {REASONS[self.reason]}."


@dataclass(frozen=True, slots=True)
class Room:
    """The volume's free space, and the free space that a recording needs at its start."""

    free_bytes: int
    min_free_bytes: int


@dataclass(frozen=True, slots=True)
class _Limit:
    """In each group, the sum of the weights stays at or below `most`. `find_group` returns None for attempts that do
    not count. `is_shared`: what schedules made goes first."""

    reason: Reason
    find_group: Callable[[Manifest], Hashable | None]
    weigh: Callable[[Manifest], int]
    most: int
    is_shared: bool = False


def decide(
    manifests: Iterable[Manifest],
    *,
    pinned: Collection[str],
    busy: Collection[str],
    room: Room,
    limits: Retention,
    now: float,
    extras: Extras = NO_EXTRAS,
) -> tuple[Removal, ...]:
    """What to remove, in this order. A second run removes nothing more."""
    kept = sorted(manifests, key=order.build_key)
    safe = find_newest_good(kept) | frozenset(pinned) | frozenset(busy)
    removals = [Removal(m, "Age") for m in kept if m.id not in safe and _is_older(m, limits.max_age_secs, now)]
    budget = compute_budget(measure_all(kept, extras), room, limits.max_volume_percent)
    kept = _without(kept, removals)
    thinned = [Removal(m, "Thinned") for m in find_thinned(kept, limits.thinning, frozenset(pinned), now)]
    removals += [removal for removal in thinned if removal.manifest.id not in safe]
    kept = _without(kept, removals)
    for limit in _build_limits(limits, frozenset(pinned), budget, extras):
        found = _trim(kept, safe, limit)
        removals += found
        kept = _without(kept, found)
    return tuple(removals)


def find_newest_good(manifests: Iterable[Manifest]) -> frozenset[str]:
    """Ids of the newest good profile of each namespace, pipeline and ordinal."""
    newest: dict[Hashable, str] = {}
    for manifest in sorted(manifests, key=order.build_key):
        if _is_good(manifest):
            newest[_ordinal_of(manifest)] = manifest.id
    return frozenset(newest.values())


def find_thinned(
    manifests: Sequence[Manifest], steps: Sequence[Thinning], pinned: Collection[str], now: float
) -> Sequence[Manifest]:
    """Of each schedule's good profiles of an ordinal those that are neither pinned nor the first of their interval.

    Intervals count from the Unix epoch. The first one stays, because it is also the first to be older than a step."""
    found: list[Manifest] = []
    seen: set[Hashable] = set()
    for finished_at, manifest in sorted(((_find_end(m), m) for m in manifests), key=lambda each: each[0]):
        reached = [step for step in steps if now - finished_at > step.after_secs]
        if not (reached and finished_at > 0 and _is_of_schedule(manifest) and _is_good(manifest)):
            continue
        every_secs = max(reached, key=lambda step: step.after_secs).every_secs
        interval = (_find_series(manifest), every_secs, finished_at // every_secs)
        if manifest.id in pinned:
            continue
        if interval in seen:
            found.append(manifest)
        seen.add(interval)
    return found


def compute_budget(own_bytes: int, room: Room, max_percent: int) -> int:
    """Bytes that profiles may use: a share of used plus free space, without the margin for the next recording.

    The volume's size is irrelevant: others may share the volume."""
    available = own_bytes + room.free_bytes
    return max(0, min(available * max_percent // 100, available - FREE_MARGIN * room.min_free_bytes))


def measure(manifest: Manifest, extras: Extras = NO_EXTRAS) -> int:
    """Bytes on disk: the profile and other files in its folder."""
    sizes = (manifest.file.size_bytes if manifest.file else 0, *extras.get(manifest.id, ()))
    return sum(-(-size // BLOCK_BYTES) * BLOCK_BYTES for size in sizes) + OVERHEAD_BYTES


def measure_all(manifests: Iterable[Manifest], extras: Extras) -> int:
    return sum(measure(manifest, extras) for manifest in manifests)


def check_room(room_bytes: int, min_free_bytes: int, *, where: str = "volume", remedy: str = "") -> Failure | None:
    """Why no recording may start; `room_bytes` is the free space minus all reservations, `where` what it is of."""
    if room_bytes >= 0:
        return None
    return failures.build_failure(
        "StoreFull",
        f"The {where} lacks {-room_bytes} bytes of the {min_free_bytes} that must be free "
        "(config.recording.minFreeBytes). Stored profiles are still served.",
        remedy=remedy,
    )


def render_removed(old: Mapping[str, Any], at: str, message: str, now: float) -> status.Status:
    """The status of an object whose profile was removed; its facts stay readable."""
    conditions = status.set_condition(old.get("conditions") or [], "Stored", "False", "Removed", message, now)
    return {"message": message, "conditions": conditions, "profile": {"removedAt": at}}


def _build_limits(limits: Retention, pinned: frozenset[str], budget: int, extras: Extras) -> Sequence[_Limit]:
    def count(manifest: Manifest) -> int:
        # A pin keeps one more profile; it must not displace another one.
        return manifest.id not in pinned

    def weigh(manifest: Manifest) -> int:
        return measure(manifest, extras)

    found = [
        _Limit("OrdinalCount", _find_series, count, limits.max_per_ordinal),
        _Limit(
            "FailureCount", lambda m: None if _is_good(m) else _ordinal_of(m), count, limits.max_failures_per_ordinal
        ),
        _Limit("TotalCount", lambda _: "all", count, limits.max_total, is_shared=True),
        _Limit("VolumeBytes", lambda _: "all", weigh, budget, is_shared=True),
    ]
    if limits.max_pipeline_bytes:
        most = limits.max_pipeline_bytes
        found.insert(2, _Limit("PipelineBytes", lambda m: (m.namespace, m.pipeline), weigh, most, is_shared=True))
    return found


def _trim(kept: Iterable[Manifest], safe: frozenset[str], limit: _Limit) -> list[Removal]:
    groups: dict[Hashable, list[Manifest]] = {}
    for manifest in kept:
        if (group := limit.find_group(manifest)) is not None:
            groups.setdefault(group, []).append(manifest)
    removals = []
    for members in groups.values():
        total = sum(map(limit.weigh, members))
        if limit.is_shared:
            members.sort(key=lambda m: not _is_of_schedule(m))
        for manifest in members:
            if total <= limit.most:
                break
            if manifest.id not in safe:
                total -= limit.weigh(manifest)
                removals.append(Removal(manifest, limit.reason))
    return removals


def _without(kept: list[Manifest], removals: Iterable[Removal]) -> list[Manifest]:
    gone = {removal.manifest.id for removal in removals}
    return [manifest for manifest in kept if manifest.id not in gone]


def _is_good(manifest: Manifest) -> bool:
    return manifest.outcome == "Succeeded"


def _ordinal_of(manifest: Manifest) -> Hashable:
    return manifest.namespace, manifest.pipeline, manifest.ordinal


def _find_series(manifest: Manifest) -> Hashable | None:
    """What is recorded all the time must not displace the profile of an incident, or of a rarer schedule."""
    name = manifest.trigger.name if manifest.trigger is not None and _is_of_schedule(manifest) else None
    return (_ordinal_of(manifest), name) if _is_good(manifest) else None


def _is_of_schedule(manifest: Manifest) -> bool:
    return manifest.trigger is not None and manifest.trigger.when == names.SCHEDULE


def _is_older(manifest: Manifest, age_secs: float, now: float) -> bool:
    finished = _find_end(manifest)
    return finished > 0 and now - finished > age_secs


def _find_end(manifest: Manifest) -> float:
    """0: unknown."""
    try:
        return times.parse_time(manifest.finished_at)
    except ValueError:
        return 0.0
