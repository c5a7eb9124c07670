"""Which attempt is the newer one, regardless of the clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.model.manifest import Manifest
from samply_operator.rules import times
from samply_operator.rules.storage import order
from support.samples import NOW, make_manifest


def make(at: float, name: str = "p-1") -> Manifest:
    return make_manifest(name=name, finished_at=times.format_time(at))


def test_nothing_is_numbered_while_the_clock_advances() -> None:
    """The time that everybody sees is the order too."""
    newer = make(NOW + 1)
    assert order.number(newer, order.find_place(make(NOW))) is newer


def test_after_a_clock_that_was_set_back_the_time_stays_honest() -> None:
    """The number alone makes it the newest."""
    newest = make(NOW)
    late = order.number(make(NOW - 1_000_000), order.find_place(newest))
    assert late.finished_at == times.format_time(NOW - 1_000_000)
    assert order.build_key(late) > order.build_key(newest)


def test_once_the_clock_has_caught_up_nothing_is_numbered_any_more() -> None:
    """Numbers are times: both stand in one row."""
    late = order.number(make(NOW - 10), order.find_place(make(NOW)))
    caught_up = make(NOW + 1)
    assert order.number(caught_up, order.find_place(late)) is caught_up
    assert order.build_key(caught_up) > order.build_key(late)


@pytest.mark.parametrize("finished_at", ["", "yesterday"])
def test_what_has_no_time_is_older_than_all(finished_at: str) -> None:
    """As long as it has no number."""
    odd = make_manifest(finished_at=finished_at)
    assert order.build_key(odd) < order.build_key(make(NOW))
    assert order.build_key(order.number(odd, order.find_place(make(NOW)))) > order.build_key(make(NOW))


@given(st.lists(st.integers(0, 2_000_000_000_000).map(lambda ms: ms / 1000)))
def test_whatever_the_clock_does_the_order_is_that_of_their_ends(clock: list[float]) -> None:
    """Of those that end in one millisecond the names decide."""
    stored: list[Manifest] = []
    for n, at in enumerate(clock):
        newest = max(map(order.find_place, stored), default=0)
        stored.append(order.number(make_manifest(id=f"{n:06}", finished_at=times.format_time(at)), newest))
    assert sorted(stored, key=order.build_key) == stored
