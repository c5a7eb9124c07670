"""Scheduled times: daylight saving in both directions, clocks that jump, missed times, jitter."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from samply_operator.errors import InvalidSpec
from samply_operator.model.trigger import Schedule
from samply_operator.rules.triggers import schedule

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = 6 * 3600
STEP_SECS = 20


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def follow(wanted: Schedule, start: float, secs: float) -> list[str]:
    """The times that are due while the clock goes on, each once, in Berlin."""
    handled, found = start, []
    for passed in range(0, int(secs), STEP_SECS):
        timing = schedule.look(wanted, handled, start + passed)
        if timing.due is not None:
            assert timing.missed == 0
            assert start + passed - timing.due < STEP_SECS
            handled = timing.due
            found.append(datetime.fromtimestamp(handled, BERLIN).isoformat()[11:22])
        assert timing.next is None or timing.next > max(handled, start + passed)
    return found


FORWARD, BACK = at("2027-03-28T00:10:00+01:00"), at("2027-10-31T00:10:00+02:00")


@pytest.mark.parametrize(
    ("line", "start", "expected"),
    [
        pytest.param("30 2 * * *", FORWARD, ["03:00:00+02"], id="forward: the gap's time fires after it"),
        pytest.param("30 2 * * *", BACK, ["02:30:00+02"], id="back: a fixed time fires once"),
        pytest.param(
            "0 * * * *", FORWARD,
            ["01:00:00+01", "03:00:00+02", "04:00:00+02", "05:00:00+02", "06:00:00+02", "07:00:00+02"],
            id="forward: every hour goes on",
        ),
        pytest.param(
            "0 * * * *", BACK,
            ["01:00:00+02", "02:00:00+02", "02:00:00+01", "03:00:00+01", "04:00:00+01", "05:00:00+01"],
            id="back: every hour goes on",
        ),
        pytest.param("30 1-3 * * *", FORWARD, ["01:30:00+01", "03:00:00+02", "03:30:00+02"], id="forward: a range"),
        pytest.param("30 1-3 * * *", BACK, ["01:30:00+02", "02:30:00+02", "03:30:00+01"], id="back: a range"),
    ],
)  # fmt: skip
def test_when_the_clocks_change(line: str, start: float, expected: list[str]) -> None:
    assert follow(Schedule(cron=line, time_zone="Europe/Berlin"), start, NIGHT) == expected


@pytest.mark.parametrize("start", [FORWARD, BACK])
def test_an_interval_ignores_daylight_saving(start: float) -> None:
    assert len(follow(Schedule(every="30m"), start, NIGHT)) == NIGHT / 1800


EVERY = Schedule(every="5m")
CRON = Schedule(cron="*/5 * * * *")
NOON = at("2027-01-15T12:00:00+00:00")


@pytest.mark.parametrize("wanted", [EVERY, CRON], ids=["every", "cron"])
@pytest.mark.parametrize(
    ("after", "now", "expected"),
    [
        pytest.param(NOON, NOON, (None, 0, 300), id="this one is done"),
        pytest.param(NOON, NOON + 299.9, (None, 0, 300), id="shortly before"),
        pytest.param(NOON, NOON + 300, (300, 0, 600), id="exactly then"),
        pytest.param(NOON + 17, NOON + 301, (300, 0, 600), id="after its creation"),
        pytest.param(NOON, NOON + 1000, (900, 2, 1200), id="two were missed: the last one counts"),
        pytest.param(NOON, NOON + 100 * 86400, (100 * 86400, 100, 100 * 86400 + 300), id="away for 100 days"),
        pytest.param(NOON, NOON - 600, (None, 0, 300), id="the clock is set back: nothing fires twice"),
        pytest.param(NOON + 9e6, NOON + 10, (None, 0, 300), id="the clock was months ahead: it goes on from now"),
    ],
)
def test_when_clocks_jump_and_times_are_missed(
    wanted: Schedule, after: float, now: float, expected: tuple[float | None, int, float]
) -> None:
    timing = schedule.look(wanted, after, now)
    due = None if timing.due is None else timing.due - NOON
    assert (due, timing.missed, timing.next and timing.next - NOON) == expected


def test_jitter_is_the_same_after_each_restart_and_differs_between_triggers() -> None:
    offsets = {schedule.find_offset(f"uid-{number}", 60) for number in range(100)}
    assert len(offsets) > 30
    assert max(offsets) <= 60
    assert schedule.find_offset("uid", 60) == schedule.find_offset("uid", 60)
    assert schedule.find_offset("uid", 0) == 0
    assert schedule.look(EVERY, NOON, NOON + 310, offset=20).due is None
    assert schedule.look(EVERY, NOON, NOON + 320, offset=20).due == NOON + 300


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Schedule(cron="61 * * * *"), "Bad minute"),
        (Schedule(cron="0 0 30 2 *"), "Bad day-of-month"),
        (Schedule(cron="* * * *"), "fields"),
        (Schedule(cron="* * * * *", time_zone="Mars/Olympus"), "Mars/Olympus"),
        (Schedule(cron="* * * * *", time_zone="../etc/passwd"), "passwd"),
        (Schedule(every="5"), "no interval"),
        (Schedule(every="9s"), "no interval"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused_with_the_cure(wanted: Schedule, said: str) -> None:
    with pytest.raises(InvalidSpec, match=said) as caught:
        schedule.look(wanted, NOON, NOON)
    assert caught.value.remedy
