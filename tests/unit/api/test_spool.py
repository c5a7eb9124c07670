"""Space for responses: limited in total, for one response and for one caller; unused space is released."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from samply_operator import errors
from samply_operator.api.content.spool import Spool


def test_a_caller_that_takes_nothing_has_a_share_and_no_more() -> None:
    spool = Spool(400)
    with ExitStack() as kept:
        kept.enter_context(spool.open("slow")).shrink_to(60)
        kept.enter_context(spool.open("slow")).shrink_to(60)
        with pytest.raises(errors.TooManyRequests):
            spool.open("slow").__enter__()
        kept.enter_context(spool.open("other")).shrink_to(100)
    with spool.open("slow"):
        pass


def test_all_together_are_bounded() -> None:
    spool = Spool(400)
    with ExitStack() as kept:
        for caller in "abcd":
            kept.enter_context(spool.open(caller))
        with pytest.raises(errors.TooManyRequests):
            spool.open("e").__enter__()
    with spool.open("e"):
        pass


def test_a_failed_answer_takes_no_space() -> None:
    spool = Spool(400)
    for _ in range(9):
        with pytest.raises(RuntimeError), spool.open("a"):
            raise RuntimeError
    assert not spool.taken_bytes
