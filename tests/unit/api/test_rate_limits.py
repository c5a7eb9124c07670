"""Which bucket a request counts against: that of its credential once authenticated, otherwise that of its address."""

from __future__ import annotations

import contextlib

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from samply_operator import errors
from samply_operator.api.server import rate_limits
from samply_operator.api.server.rate_limits import Rates
from samply_operator.api.server.shown import TOKEN_HEADER
from samply_operator.rules.access.rates import Limit

OPEN = "/v0/config"


def make_request(path: str, headers: dict[str, str]) -> web.Request:
    app = web.Application()
    app[TOKEN_HEADER] = ""
    return make_mocked_request("GET", path, headers, app=app)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Door:
    """Requests of one address, with responses set by the test."""

    def __init__(self, per_sec: float = 1, burst: int = 5) -> None:
        self.clock = Clock()
        self.rates = Rates(Limit(per_sec, burst), self.clock)

    def ask(self, token: str | None = None, status: int = 200, path: str = "/v0/pipelines", cost: int = 0) -> int:
        """A token is authenticated where the path is not open and the status isn't 401."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = make_request(path, headers)
        try:
            self.rates.admit(request)
            self.rates.charge(request, cost)
        except errors.TooManyRequests:
            return 429
        if status == 401:
            self.rates.distrust(request)
        elif path != OPEN:
            self.rates.trust(request)
        return status


def test_each_credential_has_its_own_bucket() -> None:
    """The first request counts against the address: the credential is not known yet."""
    door = Door()
    assert [door.ask("a") for _ in range(7)] == [200] * 6 + [429]
    assert door.ask("b") == 200
    assert [door.ask() for _ in range(4)] == [200] * 3 + [429]


def test_made_up_credentials_on_an_open_route_have_no_bucket() -> None:
    """Credentials sent there are not authenticated: the request counts against the address, and nothing is stored."""
    door = Door()
    assert door.ask("good") == 200
    assert [door.ask(f"junk-{n}", path=OPEN) for n in range(6)] == [200] * 4 + [429] * 2
    assert len(door.rates._good) == 1
    assert door.ask("good", path=OPEN) == 200


def test_simultaneous_guesses_are_charged_before_the_check() -> None:
    """None of them was answered when the next one arrived."""
    door = Door()
    requests = [make_request("/v0/pipelines", {"Authorization": f"Bearer {n}"}) for n in range(8)]
    admitted = []
    for request in requests:
        with contextlib.suppress(errors.TooManyRequests):
            door.rates.admit(request)
            admitted.append(request)
    assert len(admitted) == 5


def test_expensive_requests_cost_more_up_to_the_burst() -> None:
    door = Door(burst=100)
    door.ask("a")
    assert [door.ask("a", cost=1000) for _ in range(2)] == [200, 429], "each costs half of a full bucket, and one"
    door.clock.now = 60.0
    assert door.ask("a", cost=1000) == 200
    assert door.ask("b", cost=20) == 200


def test_a_flood_of_made_up_credentials_pushes_out_no_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any route; and a caller with many valid ones does not evict one that is in use either."""
    monkeypatch.setattr(rate_limits, "MAX_KEPT", 10)
    door = Door(burst=1000)
    assert door.ask("good") == 200
    for number in range(50):
        door.ask(f"junk-{number}", path=OPEN)
        door.ask(f"guess-{number}", 401)
        door.ask(f"many-{number}")
        door.ask("good")
    door.clock.now = 0.0
    while door.ask(path=OPEN) != 429:
        pass
    assert door.ask("good") == 200


def test_requests_without_a_credential_count_against_the_address() -> None:
    door = Door()
    assert [door.ask() for _ in range(6)] == [200] * 5 + [429]
    door.clock.now = 1.0
    assert [door.ask(), door.ask()] == [200, 429]


def test_guessing_credentials_is_limited_without_blocking_known_ones() -> None:
    """Each guess is another bucket, so it counts against the address; others behind the same proxy are not affected."""
    door = Door()
    assert door.ask("good") == 200
    assert [door.ask(f"guess-{n}", 401) for n in range(6)] == [401] * 4 + [429] * 2
    assert door.ask("good") == 200
    assert door.ask("new and good") == 429, "not to be told from a guess; a second later it is let in"
    door.clock.now = 1.0
    assert door.ask("new and good") == 200


def test_a_credential_that_was_revoked_is_a_guess_again() -> None:
    door = Door()
    assert door.ask("a") == 200
    assert [door.ask("a", 401) for _ in range(5)] == [401] * 4 + [429]


@pytest.mark.parametrize("path", sorted(rate_limits.FREE))
def test_probes_are_never_refused(path: str) -> None:
    door = Door()
    assert {door.ask(path=path) for _ in range(50)} == {200}


def test_without_a_limit_no_request_is_refused_and_nothing_is_kept() -> None:
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
