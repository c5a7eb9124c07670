"""Feldera's keys: they grant access to what their holders see in Feldera, and only while Feldera confirms it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from samply_operator import __version__
from samply_operator.api.auth import auth_cache
from samply_operator.control.auth import feldera_auth
from samply_operator.control.messages import Credentials, ReviewReply, StartReply
from samply_operator.feldera import client as client_
from samply_operator.logs import AUDIT, FIELDS
from samply_operator.settings import Api, ApiKeys, Auth, FelderaWay, Links
from support.fake_feldera import READER, STRANGER, VERSION, FakeFeldera, Key, make_pipeline_id, serve_two_tenants
from support.fake_operator import KEY, make_pipeline, make_recording
from support.guarded import GUARDED, PROFILE
from support.identity import forge
from support.service import serving

from .conftest import Answer, Service, make_id, wait_until

DEMO = (Path(__file__).parents[2] / "data" / "profiles" / "demo-v55.json.gz").read_bytes()
ACME, OTHER = make_pipeline_id(1), make_pipeline_id(2)


@pytest.fixture
async def feldera() -> AsyncIterator[FakeFeldera]:
    """Two tenants, each with a pipeline called orders."""
    async with serve_two_tenants() as feldera:
        yield feldera


@pytest.fixture
def auth() -> Auth:
    return Auth(api_keys=ApiKeys(enabled=True), feldera=FelderaWay(enabled=True, issuers=("https://login.example",)))


@pytest.fixture
async def service(folder: Path, auth: Auth, feldera: FakeFeldera) -> AsyncIterator[Service]:
    """Both pipelines run in one namespace, as those of two tenants do, and so neither has the name; and one that isn't
    Feldera's has it."""
    async with serving(folder, auth=auth, feldera_url=feldera.url) as service:
        service.operator.pipelines = (
            make_pipeline(ACME, ids=(ACME,)),
            make_pipeline(OTHER, ids=(OTHER,)),
            make_pipeline("orders", namespace="elsewhere"),
        )
        service.put(1, b"of acme", pipeline=ACME, pipeline_id=ACME)
        service.put(2, b"of other", pipeline=OTHER, pipeline_id=OTHER)
        service.put(3, b"of nobody", pipeline="orders", namespace="elsewhere")
        await service.settle()
        yield service


async def ask(service: Service, token: str, path: str = PROFILE, *, method: str = "GET", tenant: str = "") -> Answer:
    return await service.ask(method, path, Authorization=f"Bearer {token}", Feldera_Tenant=tenant)


async def list_names(service: Service, token: str, **options: str) -> list[tuple[str, str]]:
    answer = await ask(service, token, "/v0/pipelines", **options)
    assert answer.status == 200, answer.body
    return [(found["namespace"], found["name"]) for found in answer.read_json()["pipelines"]]


# ------------------------------------------------------------------------------------------------------- what is seen


async def test_each_key_reads_the_pipeline_that_it_sees_by_its_name_there(service: Service) -> None:
    """Two tenants have the same name: each of them gets its own pipeline."""
    assert (await ask(service, READER)).body == b"of acme"
    assert (await ask(service, STRANGER)).body == b"of other"
    assert await list_names(service, READER) == [("feldera", "orders")]
    assert await list_names(service, STRANGER) == [("feldera", "orders")]


async def test_the_id_is_a_name_too(service: Service) -> None:
    """For whom Feldera knows, and for everybody else."""
    path = PROFILE.replace("orders", ACME)
    assert (await ask(service, READER, path)).body == b"of acme"
    (await ask(service, STRANGER, path)).assert_error(404, "UnknownPipelineName")
    assert (await service.get(path)).body == b"of acme"


async def test_an_id_leads_to_the_name_that_the_pipeline_has_here(service: Service) -> None:
    """Callers with other credentials may use it too."""
    service.operator.pipelines = (make_pipeline("mine", ids=(ACME,)),)
    service.put(4, b"of mine", pipeline="mine", pipeline_id=ACME)
    await service.settle()
    answer = await service.get(f"/v0/pipelines/{ACME}/samply_profiles")
    assert {found["pipeline_name"] for found in answer.read_json()["profiles"]} == {"mine"}
    assert (await ask(service, READER)).body == b"of mine", "Feldera's name counts for whom it knows"


async def test_a_users_tenant_is_passed_on(service: Service, feldera: FakeFeldera) -> None:
    """And what was found out for one tenant is not taken for another."""
    feldera.keys["apikey:both"] = Key(("acme", "other"))
    for tenant, body in (("acme", b"of acme"), ("other", b"of other"), ("acme", b"of acme")):
        assert (await ask(service, "apikey:both", tenant=tenant)).body == body
    (await ask(service, READER, tenant="other")).assert_error(404, "UnknownPipelineName")


async def test_a_token_of_felderas_issuer(service: Service, feldera: FakeFeldera) -> None:
    """Its subject is logged; tokens of other issuers are never sent there."""
    token = forge({"alg": "RS256"}, {"iss": "https://login.example", "sub": "alice"}, signature=b"x")
    feldera.keys[token] = Key(("acme",))
    assert (await ask(service, token)).body == b"of acme"
    stranger = forge({"alg": "RS256"}, {"iss": "https://evil.example", "sub": "alice"}, signature=b"x")
    feldera.keys[stranger] = Key(("acme",))
    asked = len(feldera.asked)
    (await ask(service, stranger)).assert_error(401, "Unauthenticated")
    assert len(feldera.asked) == asked


async def test_a_key_that_may_see_nothing(service: Service, feldera: FakeFeldera) -> None:
    """It is good, and there is nothing: as if no pipeline were there."""
    feldera.keys["apikey:new"] = Key(("empty",))
    nothing = await ask(service, "apikey:new")
    assert nothing.assert_error(404, "UnknownPipelineName") == {"pipeline_name": "orders"}
    assert await list_names(service, "apikey:new") == []
    feldera.keys["apikey:none"] = Key(())
    (await ask(service, "apikey:none")).assert_error(404, "UnknownPipelineName")


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_no_route_shows_what_feldera_does_not(
    service: Service, feldera: FakeFeldera, method: str, path: str
) -> None:
    """Nor reveals that it exists, not even to the operator: the response is that for an unknown name."""
    feldera.pipelines = [pipeline for pipeline in feldera.pipelines if pipeline.tenant != "other"]
    answer = await ask(service, STRANGER, path, method=method)
    if path == "/v0/doctor":
        assert service.operator.bearers == [STRANGER], "the operator decides"
        return
    if path == "/v0/pipelines":
        assert answer.read_json()["pipelines"] == []
        return
    if path == "/v0/alerts":
        assert answer.status == 400, "there is no notification in it: the operator was not asked"
    else:
        assert answer.status in {400, 404} if "/links" in path else answer.status == 404, answer.body
    assert service.operator.reviewed == []
    for trace in (b"of acme", b"of other", b"of nobody", b"elsewhere", b'feldera"'):
        assert trace not in answer.body


async def test_a_profile_of_another_pipeline_is_not_reached_by_its_id(service: Service) -> None:
    """Not by the path of the own one either."""
    for profile_id in (make_id(2), make_id(3)):
        for what in ("", "/profile", "/summary"):
            path = f"{PROFILE}s/{profile_id}{what}"
            (await ask(service, READER, path)).assert_error(404, "UnknownProfile")
    path = f"/v0/pipelines/orders/diff?before={make_id(1)}&after={make_id(2)}"
    (await ask(service, READER, path)).assert_error(404, "UnknownProfile")
    assert (await ask(service, READER, f"{PROFILE}s/{make_id(1)}")).status == 200


async def test_a_profile_is_compared_with_one_of_another_pipeline_by_name_and_by_id(
    service: Service, feldera: FakeFeldera
) -> None:
    """Both are asked for in Feldera; for other callers too an id stands for the name."""
    feldera.add(3, "billing")
    for number, pipeline_id in ((5, ACME), (6, make_pipeline_id(3))):
        service.put(number, DEMO, pipeline=pipeline_id, pipeline_id=pipeline_id)
    await service.settle()
    for token in (READER, KEY):
        for one in (ACME, "orders") if token == READER else (ACME,):
            for two in (make_pipeline_id(3), "billing") if token == READER else (make_pipeline_id(3),):
                path = f"/v0/pipelines/{one}/samply_profiles/{make_id(5)}/tree"
                answer = await ask(service, token, f"{path}?before={make_id(6)}&before_pipeline={two}")
                assert answer.status == 200, (one, two, answer.body)
    path = f"{PROFILE}s/{make_id(5)}/tree?before={make_id(6)}&before_pipeline=billing"
    (await ask(service, STRANGER, path)).assert_error(404, "UnknownProfile")


async def test_a_link_that_was_made_with_felderas_key_opens(folder: Path, auth: Auth, feldera: FakeFeldera) -> None:
    """Whatever the pipeline is called there and here."""
    async with serving(folder, Api(links=Links(secret_name="links")), auth=auth, feldera_url=feldera.url) as service:
        service.operator.pipelines = (make_pipeline("mine", ids=(ACME,)),)
        service.put(1, b"of acme", pipeline="mine", pipeline_id=ACME)
        service.operator.credentials = Credentials(link_keys=(b"k" * 32,), read_at=time.time())
        await service.settle()
        link = await ask(service, READER, f"{PROFILE}s/{make_id(1)}/links", method="POST")
        assert (await service.get(link.read_json()["href"], Authorization="")).body == b"of acme"


async def test_a_partially_visible_pipeline_is_hidden(service: Service) -> None:
    """Two pipelines to which a label gives one name."""
    service.operator.pipelines = (make_pipeline("both", ids=(ACME, OTHER)),)
    await service.settle()
    answer = await ask(service, READER, "/v0/pipelines/orders/samply_profile", method="POST")
    assert answer.status in {404, 503}
    assert [name for _, name in await list_names(service, READER)] == ["orders"], "what is stored alone"


# ---------------------------------------------------------------------------------------------------------- starting


def start(service: Service) -> None:
    def answer(_: object) -> StartReply:
        service.operator.recordings = (make_recording(make_id(9), ACME, pipeline_id=ACME),)
        service.operator.push()
        return StartReply(make_id(9), "feldera", "r", "Recording")

    service.operator.answer = answer


async def test_a_start_is_handed_to_the_operator_with_the_login(service: Service) -> None:
    """The operator authorizes it; the response uses the caller's name for the pipeline."""
    start(service)
    answer = await ask(service, READER, method="POST", tenant="acme")
    assert answer.status == 202
    assert answer.headers["Location"] == f"{PROFILE}s/{make_id(9)}"
    assert (service.operator.bearers, service.operator.tenants) == ([READER], ["acme"])
    assert [call.pipeline for call in service.operator.started] == ["orders"]
    assert (await ask(service, READER, f"{PROFILE}?latest=true")).status == 204
    assert (await ask(service, STRANGER, f"{PROFILE}?latest=true")).body == b"of other"


# ----------------------------------------------------------------------------------------------- for how long it holds


async def test_a_revoked_key_is_refused_after_what_is_remembered(
    service: Service, feldera: FakeFeldera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 s, and here less."""
    assert auth_cache.KEEP_SECS <= 5
    monkeypatch.setattr(auth_cache, "KEEP_SECS", 0.2)
    assert (await ask(service, READER)).status == 200
    del feldera.keys[READER]

    async def is_refused() -> bool:
        return (await ask(service, READER)).status == 401

    await wait_until(is_refused, secs=3)


async def test_pollers_do_not_ask_feldera_each_time(service: Service, feldera: FakeFeldera) -> None:
    await ask(service, READER)
    asked = len(feldera.asked)
    for _ in range(20):
        assert (await ask(service, READER)).status == 200
    assert len(feldera.asked) == asked


# --------------------------------------------------------------------------------------------------- Feldera's trouble


@pytest.mark.parametrize(
    "trouble",
    [
        lambda: web.Response(status=500, text="oops"),
        lambda: web.Response(text="<html>Sign in</html>", content_type="text/html"),
        lambda: web.Response(status=302, headers={"Location": "https://login.example"}),
        lambda: web.Response(text="[]", content_type="application/json"),
    ],
    ids=["500", "HTML", "a redirect", "another shape"],
)
async def test_a_failing_feldera_grants_nothing_and_blocks_nothing_else(
    service: Service, feldera: FakeFeldera, trouble: Callable[[], web.Response]
) -> None:
    """The response states what is unknown and is retryable; other callers can still read."""
    feldera.break_with = trouble
    answer = await ask(service, READER)
    answer.assert_error(503, "AccessUndecided")
    assert answer.headers["Retry-After"] == "5"
    assert "Feldera" in answer.read_json()["message"]
    assert (await service.get(PROFILE)).body == b"of nobody"
    feldera.break_with = None
    assert (await ask(service, READER)).body == b"of acme", "an error is not remembered"


async def test_an_absent_feldera(service: Service, feldera: FakeFeldera) -> None:
    await feldera.stop()
    (await ask(service, READER)).assert_error(503, "AccessUndecided")
    assert (await service.get(PROFILE)).status == 200
    await feldera.start()
    assert (await ask(service, READER)).status == 200


async def test_a_slow_feldera_is_not_waited_for(
    folder: Path, auth: Auth, feldera: FakeFeldera, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client_.ANSWER_SECS <= 5
    monkeypatch.setattr(client_, "ANSWER_SECS", 0.3)
    monkeypatch.setattr(client_.FelderaClient.__init__, "__kwdefaults__", {"answer_secs": 0.3})
    feldera.delay_secs = 30
    async with serving(folder, auth=auth, feldera_url=feldera.url) as service:
        (await ask(service, READER)).assert_error(503, "AccessUndecided")


async def test_a_slow_feldera_does_not_delay_other_callers(
    service: Service, feldera: FakeFeldera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their number: each caller gets a response after a while, and all others are served meanwhile."""
    assert feldera_auth.WAIT_SECS <= 10
    monkeypatch.setattr(feldera_auth, "WAIT_SECS", 3.0)
    assert (await ask(service, READER)).status == 200, "Feldera is known to look at keys"
    feldera.delay_secs = 30

    async def is_busy() -> bool:
        return len(feldera.asked) >= feldera_auth.MAX_ASKED

    async with asyncio.TaskGroup() as group:
        waiting = [
            group.create_task(ask(service, f"apikey:{number}")) for number in range(2 * feldera_auth.MAX_ASKED + 8)
        ]
        await wait_until(is_busy)
        service.operator.review = lambda token, asked: ReviewReply("ana", {"get": ("elsewhere",)})
        answer = await ask(service, forge({"alg": "RS256"}, {"iss": "kubernetes"}, signature=b"x"))
        assert answer.body == b"of nobody"
        assert not [task.result().body for task in waiting if task.done()]
    for task in waiting:
        task.result().assert_error(503, "AccessUndecided")


@pytest.mark.parametrize("name", ["..", "%2e%2e%2fconfig", "a%20b", "a%2fb", "x" * 101, "%00", "ordérs"])
async def test_what_cannot_be_a_name_is_not_asked_for(service: Service, feldera: FakeFeldera, name: str) -> None:
    """It would be another path of Feldera's."""
    await ask(service, READER)
    answer = await ask(service, READER, f"/v0/pipelines/{name}/samply_profile")
    assert answer.status == 404, answer.body
    assert {path for path, _, _ in feldera.asked} <= {"/v0/config/session", "/v0/pipelines/orders"}


@pytest.mark.parametrize("name", ["Orders_V2", "x" * 100])
async def test_every_feldera_name_is_valid_here(service: Service, feldera: FakeFeldera, name: str) -> None:
    feldera.pipelines[0].name = name
    assert (await ask(service, READER, f"/v0/pipelines/{name}/samply_profile")).body == b"of acme"


async def test_a_feldera_without_authentication_authenticates_no_one(service: Service, feldera: FakeFeldera) -> None:
    """It would accept any key."""
    feldera.has_authentication = False
    answer = await ask(service, "apikey:anything")
    answer.assert_error(401, "Unauthenticated")
    assert "without authentication" in answer.read_json()["message"]


async def test_a_failed_key_check_is_retried(
    service: Service, feldera: FakeFeldera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Authentication may be switched off later."""
    monkeypatch.setattr(feldera_auth, "PROVED_SECS", 0.0)
    assert (await ask(service, READER)).status == 200
    feldera.has_authentication = False
    (await ask(service, STRANGER)).assert_error(401, "Unauthenticated")


# -------------------------------------------------------------------------------------------------- who hears of what


async def test_tokens_reach_only_their_own_verifier(
    service: Service, feldera: FakeFeldera, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for token in ("a.b.c", "opaque", "samply_ci_00"):
        (await ask(service, token)).assert_error(401, "Unauthenticated")
    await service.get(PROFILE)
    await service.get("/v0/config")
    assert feldera.asked == []
    service.operator.reviewed.clear()
    await ask(service, READER)
    await ask(service, "apikey:very-secret")
    assert service.operator.reviewed == []
    assert "apikey:" not in "".join(line for line in caplog.text.splitlines() if "aiohttp" not in line)


async def test_the_log_shows_the_caller_and_the_method(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await ask(service, READER, "/v0/pipelines/nothing/samply_profile")
    (line,) = [getattr(record, FIELDS) for record in caplog.records if record.name == AUDIT]
    assert (line["decision"], line["way"], line["who"]) == ("Hide", "Feldera", "acme")


async def test_the_platform_is_felderas_where_it_is_known(service: Service, feldera: FakeFeldera) -> None:
    """So that the SDK sees the version that it was made for; the version of this service is given separately."""
    before = (await service.get("/v0/config")).read_json()
    assert before == {"edition": "Open source", "version": __version__, "samply_operator": {"version": __version__}}
    known = {"edition": "Enterprise", "version": VERSION, "samply_operator": {"version": __version__}}
    assert (await ask(service, "apikey:wrong", "/v0/config")).read_json() == before
    assert (await ask(service, READER, "/v0/config")).read_json() == known
    await feldera.stop()
    assert (await service.get("/v0/config")).read_json() == known
