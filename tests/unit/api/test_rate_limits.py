"""Whose bucket pays: a credential's own, an address without one, and an address that guesses."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from samply_operator import errors
from samply_operator.api.server import rate_limits
from samply_operator.api.server.rate_limits import Rates
from samply_operator.rules.access.rates import Limit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Door:
    """Requests of one address, answered as told."""

    def __init__(self, per_sec: float = 1, burst: int = 5) -> None:
        self.clock = Clock()
        self.rates = Rates(Limit(per_sec, burst), self.clock)

    def ask(self, token: str | None = None, status: int = 200, path: str = "/v0/pipelines") -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = make_mocked_request("GET", path, headers)
        try:
            self.rates.admit(request)
        except errors.TooManyRequests:
            return 429
        self.rates.note(request, status)
        return status


def test_each_credential_has_its_own_bucket() -> None:
    door = Door()
    assert [door.ask("a") for _ in range(6)] == [200] * 5 + [429]
    assert door.ask("b") == 200
    assert door.ask() == 200, "nor does its address pay for a good one"


def test_without_a_credential_the_address_pays() -> None:
    door = Door()
    assert [door.ask() for _ in range(6)] == [200] * 5 + [429]
    door.clock.now = 1.0
    assert [door.ask(), door.ask()] == [200, 429]


def test_who_guesses_credentials_is_stopped_and_who_was_good_before_is_not() -> None:
    """Each guess is another bucket; so the address pays, and those behind the same proxy don't suffer."""
    door = Door()
    assert door.ask("good") == 200
    assert [door.ask(f"guess-{n}", 401) for n in range(7)] == [401] * 5 + [429] * 2
    assert door.ask("good") == 200
    assert door.ask("new and good") == 429, "not to be told from a guess; a second later it is let in"
    door.clock.now = 1.0
    assert door.ask("new and good") == 200


def test_a_credential_that_was_revoked_is_a_guess_again() -> None:
    door = Door()
    assert door.ask("a") == 200
    assert [door.ask("a", 401) for _ in range(4)] == [401] * 4
    assert [door.ask(f"guess-{n}", 401) for n in range(1)] == [401]
    assert door.ask("a") == 429


@pytest.mark.parametrize("path", sorted(rate_limits.FREE))
def test_probes_are_never_refused(path: str) -> None:
    door = Door()
    assert {door.ask(path=path) for _ in range(50)} == {200}


def test_without_a_limit_nobody_is_refused_and_nothing_is_kept() -> None:
    door = Door(per_sec=0)
    assert {door.ask() for _ in range(50)} == {200}
    assert not door.rates._buckets


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MAX_KEPT", 10)
    door = Door()
    for number in range(100):
        door.ask(f"token-{number}")
    assert len(door.rates._buckets) <= 10
    assert len(door.rates._good) <= 10
