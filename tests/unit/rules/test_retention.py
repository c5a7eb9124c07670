"""Which stored attempts are removed: by age, count and bytes, oldest first, and never those that must be kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.model import names
from samply_operator.model.manifest import Manifest, StoredFile, TriggeredBy
from samply_operator.rules import times
from samply_operator.rules.storage import retention
from samply_operator.rules.storage.retention import Room
from samply_operator.settings import Retention, Thinning
from support.samples import NOW, make_manifest

DAY = 86_400.0
BLOCK = retention.BLOCK_BYTES
ROOMY = Room(free_bytes=10**12, min_free_bytes=0)


def good(number: int, *, age: float = 0, size: int = 1, **changes: Any) -> Manifest:
    at = times.format_time(NOW - age)
    file = StoredFile(size_bytes=size, sha256="ab" * 32)
    return make_manifest(id=f"id-{number:03}", finished_at=at, file=file, **changes)


def failed(number: int, *, age: float = 0, **changes: Any) -> Manifest:
    at = times.format_time(NOW - age)
    return make_manifest(id=f"id-{number:03}", finished_at=at, outcome="Failed", **{"file": None, **changes})


def decide(
    manifests: Iterable[Manifest],
    *,
    pinned: Iterable[str] = (),
    busy: Iterable[str] = (),
    room: Room = ROOMY,
    **limits: Any,
) -> list[tuple[str, str]]:
    found = retention.decide(
        manifests, pinned=set(pinned), busy=set(busy), room=room, limits=Retention(**limits), now=NOW
    )
    return [(removal.manifest.id, removal.reason) for removal in found]


def test_nothing_is_deleted_within_all_limits() -> None:
    """With the defaults, a small history is kept."""
    assert decide([good(n, age=n * DAY) for n in range(20)] + [failed(50), failed(51)]) == []


def test_old_ones_go_but_never_the_newest_good_one() -> None:
    """Failures age too."""
    history = [good(1, age=90 * DAY), good(2, age=60 * DAY), failed(3, age=31 * DAY), failed(4, age=29 * DAY)]
    assert decide(history) == [("id-001", "Age"), ("id-003", "Age")]


@pytest.mark.parametrize("finished_at", ["", "yesterday", times.format_time(NOW + 99 * DAY)])
def test_a_time_that_cannot_be_is_not_old(finished_at: str) -> None:
    """A clock that was wrong deletes nothing."""
    odd = make_manifest(id="odd", finished_at=finished_at)
    assert ("odd", "Age") not in decide([odd, good(1)])


def test_each_ordinal_of_each_pipeline_of_each_namespace_has_its_own_count() -> None:
    """The oldest is removed where there are too many, and nowhere else."""
    history = [
        *(good(n, age=100 - n) for n in range(3)),
        *(good(10 + n, ordinal=1) for n in range(2)),
        *(good(20 + n, pipeline="b") for n in range(2)),
        *(good(30 + n, namespace="other") for n in range(2)),
    ]
    assert decide(history, max_per_ordinal=2) == [("id-000", "OrdinalCount")]


def test_failures_never_push_a_good_profile_out() -> None:
    """They have their own count; one with a file still counts as a failure."""
    history = [good(1, age=1000), *(failed(n, age=900 - n) for n in range(2, 9))]
    history += [failed(9, file=StoredFile(size_bytes=9, sha256="ab" * 32))]
    assert decide(history, max_per_ordinal=1, max_failures_per_ordinal=3) == [
        (f"id-00{n}", "FailureCount") for n in range(2, 7)
    ]


def test_a_pin_keeps_one_more_and_pushes_none_out() -> None:
    """Pinned profiles don't count towards the number, and never go."""
    history = [good(n, age=100 - n) for n in range(5)]
    assert decide(history, max_per_ordinal=2, pinned=["id-000", "id-001"]) == [("id-002", "OrdinalCount")]
    assert decide([good(1, age=99 * DAY), good(2)], pinned=["id-001"]) == []


def test_what_a_recording_works_on_stays() -> None:
    """It has not been reported yet."""
    assert decide([good(1, age=2), good(2, age=1), good(3)], max_per_ordinal=1, busy=["id-002"]) == [
        ("id-001", "OrdinalCount")
    ]


def test_bytes_of_a_pipeline_count_over_its_ordinals() -> None:
    """Oldest first, whichever its ordinal; the newest of each is kept even if they are too many."""
    history = [
        good(1, age=50, size=BLOCK),
        good(2, age=40, size=BLOCK, ordinal=1),
        good(3, age=30, size=BLOCK),
        good(4, age=20, size=BLOCK, ordinal=1),
        good(5, age=60, size=BLOCK, pipeline="b"),
    ]
    assert decide(history, max_pipeline_bytes=9 * BLOCK) == [("id-001", "PipelineBytes")]
    assert decide(history, max_pipeline_bytes=1) == [("id-001", "PipelineBytes"), ("id-002", "PipelineBytes")]


def test_the_count_in_all_takes_the_oldest_of_all() -> None:
    """Failures and good ones alike."""
    history = [good(1, age=9), failed(2, age=8), good(3, age=7, pipeline="b"), good(4, age=6), good(5, age=5)]
    assert decide(history, max_total=3) == [("id-001", "TotalCount"), ("id-002", "TotalCount")]


def test_a_volume_that_fills_loses_the_oldest() -> None:
    """Down to the share of what profiles have and could have."""
    history = [good(n, age=100 - n, size=98 * BLOCK) for n in range(10)]
    room = Room(free_bytes=0, min_free_bytes=0)
    assert decide(history, room=room) == [("id-000", "VolumeBytes"), ("id-001", "VolumeBytes")]
    assert decide(history, room=room, max_volume_percent=100) == []


def test_room_for_the_next_recording_comes_before_the_share() -> None:
    """On a small volume 80 % could leave less free than a recording needs: then no recording would ever start."""
    history = [good(n, age=100 - n, size=98 * BLOCK) for n in range(10)]
    room = Room(free_bytes=0, min_free_bytes=150 * BLOCK)
    assert len(decide(history, room=room, max_volume_percent=100)) == 3


def test_a_volume_that_others_filled_keeps_the_newest() -> None:
    """Nothing helps, and what must be kept is kept."""
    history = [good(1, age=9), good(2, age=8), good(3, ordinal=1)]
    room = Room(free_bytes=0, min_free_bytes=10**9)
    assert decide(history, room=room) == [("id-001", "VolumeBytes")]


SCHEDULED = {"trigger": TriggeredBy("t", when=names.SCHEDULE)}
STEPS = [Thinning(DAY, 3600), Thinning(7 * DAY, DAY)]
ROUND = NOW // DAY * DAY
"""A midnight."""


def thin(manifests: Iterable[Manifest], pinned: Iterable[str] = (), now: float = ROUND) -> list[str]:
    """Ids of what is kept."""
    kept = list(manifests)
    limits = Retention(thinning=tuple(STEPS), max_per_ordinal=10_000)
    removals = retention.decide(kept, pinned=set(pinned), busy=(), room=ROOMY, limits=limits, now=now)
    assert {removal.reason for removal in removals} <= {"Thinned", "Age"}
    gone = {removal.manifest.id for removal in removals}
    return [manifest.id for manifest in kept if manifest.id not in gone]


def ended(number: int, at: float, **changes: Any) -> Manifest:
    return msgspec.structs.replace(good(number, age=NOW - at), **SCHEDULED | changes)


def test_all_for_a_day_one_an_hour_for_a_week_one_a_day_for_a_month() -> None:
    """One every five minutes for 40 days, removed as time goes by."""
    kept: dict[str, float] = {}
    made = [ROUND - 40 * DAY + 300 * n + 60 for n in range(40 * 288)]
    for day in range(41):
        now = ROUND - (40 - day) * DAY
        kept |= {f"{at:.0f}": at for at in made if now - DAY < at <= now}
        ids = thin([ended(0, at, id=name) for name, at in kept.items()], now=now)
        kept = {name: kept[name] for name in ids}
    ages = [(ROUND - at) / DAY for at in kept.values()]
    assert [sum(low < age <= high for age in ages) for low, high in ((0, 1), (1, 7), (7, 30), (30, 99))] == [
        288, 6 * 24, 23, 0,
    ]  # fmt: skip
    assert len({at // DAY for at in kept.values() if ROUND - at > 7 * DAY}) == 23


def test_what_is_removed_does_not_depend_on_how_often() -> None:
    """The first of an interval is the first to be old enough."""
    made = [ended(n, ROUND - 8 * DAY + 900 * n) for n in range(200)]
    step_by_step = made
    for now in (ROUND - 7 * DAY, ROUND - 3 * DAY, ROUND - 1800, ROUND):
        names_kept = set(thin(step_by_step, now=now))
        step_by_step = [manifest for manifest in step_by_step if manifest.id in names_kept]
    assert [manifest.id for manifest in step_by_step] == thin(made)


@pytest.mark.parametrize(
    "changes",
    [
        {"trigger": None},
        {"trigger": TriggeredBy("t", when="alert")},
        {"trigger": TriggeredBy("t")},
        {"outcome": "Failed"},
    ],
    ids=["manual", "incident", "of an earlier version", "failure"],
)
def test_other_profiles_are_not_thinned(changes: dict[str, Any]) -> None:
    made = [ended(n, ROUND - 3 * DAY + n, **changes) for n in range(5)]
    assert thin(made) == [manifest.id for manifest in made]


def test_a_pin_is_apart_and_the_newest_stays() -> None:
    made = [ended(n, ROUND - 3 * DAY + n) for n in range(5)]
    assert thin(made, pinned=["id-000", "id-002"]) == ["id-000", "id-001", "id-002", "id-004"]
    others = [ended(n + 10, ROUND - 3 * DAY + n, ordinal=1) for n in range(2)]
    assert thin([*made, *others]) == ["id-000", "id-004", "id-010", "id-011"]


def test_what_a_schedule_makes_displaces_no_other_profile() -> None:
    """And the other way round."""
    made = [good(1, age=99), *(good(n, age=90 - n, **SCHEDULED) for n in range(2, 6)), good(6, age=9)]
    assert decide(made, max_per_ordinal=2) == [("id-002", "OrdinalCount"), ("id-003", "OrdinalCount")]


def test_a_rarer_schedule_of_the_same_ordinal_keeps_its_profiles() -> None:
    nightly = {"trigger": TriggeredBy("nightly", when=names.SCHEDULE)}
    made = [ended(n, ROUND - 3 * DAY + 300 * n) for n in range(5)]
    made += [ended(n + 10, ROUND - 3 * DAY + 60 + 300 * n, **nightly) for n in range(2)]
    assert thin(made) == ["id-000", "id-004", "id-010"]
    assert thin([*made, good(99)]) == ["id-000", "id-010", "id-099"]
    assert decide(made, max_per_ordinal=2) == [(f"id-00{n}", "OrdinalCount") for n in range(3)]


@pytest.mark.parametrize(
    ("limits", "room", "reason"),
    [
        ({"max_total": 4}, ROOMY, "TotalCount"),
        ({"max_pipeline_bytes": 12 * BLOCK}, ROOMY, "PipelineBytes"),
        ({"max_volume_percent": 70}, Room(0, 0), "VolumeBytes"),
    ],
    ids=str,
)
def test_limits_that_all_share_take_what_schedules_made_first(limits: dict[str, Any], room: Room, reason: str) -> None:
    """And then the oldest of the others."""
    others = [good(n, age=90 - n) for n in (1, 2)]
    made = [*others, *(good(n, age=90 - n, **SCHEDULED) for n in (3, 4)), good(5), good(6, ordinal=1, **SCHEDULED)]
    assert decide(made, room=room, **limits) == [("id-003", reason), ("id-004", reason)]
    assert decide([*made[:2], *made[4:], good(7)], max_total=3) == [("id-001", "TotalCount"), ("id-002", "TotalCount")]


def test_the_message_names_the_setting() -> None:
    """So that a user who misses a profile knows what to change."""
    (removal,) = retention.decide(
        [good(1, age=2), good(2)], pinned=(), busy=(), room=ROOMY, limits=Retention(max_per_ordinal=1), now=NOW
    )
    assert "config.retention.maxPerOrdinal" in removal.message


def test_what_lies_beside_a_profile_counts() -> None:
    """`keepRaw`: a pipeline's bytes, and the volume's, are those of all its files."""
    history = [good(n, age=100 - n, size=BLOCK) for n in range(4)]
    extras = {manifest.id: (10 * BLOCK, 1) for manifest in history}
    each = retention.measure(history[0], extras)
    assert each == retention.measure(history[0]) + 11 * BLOCK
    limits, room = Retention(max_pipeline_bytes=2 * each), Room(free_bytes=10**12, min_free_bytes=0)
    found = retention.decide(history, pinned=(), busy=(), room=room, limits=limits, now=NOW, extras=extras)
    assert [(r.manifest.id, r.reason) for r in found] == [("id-000", "PipelineBytes"), ("id-001", "PipelineBytes")]
    found = retention.decide(
        history, pinned=(), busy=(), room=Room(0, each), limits=Retention(), now=NOW, extras=extras
    )
    assert [r.reason for r in found] == ["VolumeBytes", "VolumeBytes"]
    assert decide(history, max_pipeline_bytes=2 * each) == []


def find_schedule(name: str | None) -> TriggeredBy | None:
    return TriggeredBy(name, when=names.SCHEDULE) if name else None


ages = st.integers(0, 40).map(lambda days: days * DAY)
sizes = st.integers(0, 50 * BLOCK)
manifests = st.lists(
    st.builds(
        lambda *row: row,
        *(ages, sizes, st.integers(0, 2), st.sampled_from("ab"), st.booleans(), st.sampled_from([None, "s", "t"])),
    ),
    max_size=30,
).map(
    lambda rows: [
        good(n, age=age, size=size, ordinal=ordinal, pipeline=pipeline, trigger=find_schedule(name))
        if is_good
        else failed(n, age=age, ordinal=ordinal, pipeline=pipeline)
        for n, (age, size, ordinal, pipeline, is_good, name) in enumerate(rows)
    ]
)
all_limits = st.builds(
    Retention,
    max_per_ordinal=st.integers(1, 5),
    max_failures_per_ordinal=st.integers(1, 3),
    max_pipeline_bytes=st.integers(0, 300 * BLOCK),
    max_total=st.integers(1, 20),
    max_volume_percent=st.integers(1, 100),
)


@given(manifests, all_limits, st.sets(st.integers(0, 29)), st.integers(0, 100 * BLOCK), st.integers(0, 50 * BLOCK))
def test_whatever_is_stored(
    stored: list[Manifest], limits: Retention, pins: set[int], free_bytes: int, min_free_bytes: int
) -> None:
    """What must be kept is kept; each is removed once; in an ordinal none is removed while an older one of its kind is
    kept (unless that must be kept); and a second run finds nothing more."""
    pinned = {f"id-{n:03}" for n in pins}
    safe = retention.find_newest_good(stored) | pinned

    def look(kept: list[Manifest], free: int) -> list[Manifest]:
        room = Room(free, min_free_bytes)
        found = retention.decide(kept, pinned=pinned, busy=(), room=room, limits=limits, now=NOW)
        return [removal.manifest for removal in found]

    gone = look(stored, free_bytes)
    ids = {manifest.id for manifest in gone}
    assert len(ids) == len(gone)
    assert not ids & safe
    for manifest in gone:
        for other in stored:
            is_alike = (other.pipeline, other.ordinal, other.outcome, other.trigger) == (
                manifest.pipeline,
                manifest.ordinal,
                manifest.outcome,
                manifest.trigger,
            )
            if is_alike and other.id not in ids | safe:
                assert other.finished_at >= manifest.finished_at
    kept = [manifest for manifest in stored if manifest.id not in ids]
    assert look(kept, free_bytes + sum(map(retention.measure, gone))) == []


def test_the_object_keeps_the_facts_and_says_that_the_file_is_gone() -> None:
    """`removedAt`, the reason in words, and Stored is false; what it knew about the profile stays (a merge patch)."""
    old = {"phase": "Succeeded", "conditions": [{"type": "Stored", "status": "True", "lastTransitionTime": "x"}]}
    rendered = retention.render_removed(old, "2027-01-15T08:00:00.000Z", "why", NOW)
    assert rendered["profile"] == {"removedAt": "2027-01-15T08:00:00.000Z"}
    assert rendered["message"] == "why"
    (stored,) = rendered["conditions"]
    assert (stored["type"], stored["status"], stored["reason"]) == ("Stored", "False", "Removed")


@pytest.mark.parametrize(("room", "reason"), [(0, None), (1, None), (-1, "StoreFull")])
def test_a_recording_needs_room_on_the_volume(room: int, reason: str | None) -> None:
    """Refused before it starts, with the setting that asks for it."""
    failure = retention.check_room(room, 64)
    assert (failure.reason if failure else None) == reason
    assert failure is None or "minFreeBytes" in failure.message


def test_a_full_spool_has_a_remedy_of_its_own() -> None:
    failure = retention.check_room(-1, 64, where="spool", remedy="raise config.storage.spoolBytes")
    assert failure is not None
    assert failure.message.startswith("The spool lacks 1 bytes")
    assert failure.remedy == "raise config.storage.spoolBytes"
