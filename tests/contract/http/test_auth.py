"""Authentication and authorization: each method, each refusal, and what a refusal reveals."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from samply_operator.api import app_keys
from samply_operator.api.auth import auth_cache
from samply_operator.api.server import measures
from samply_operator.control.auth import local_auth
from samply_operator.control.messages import (
    ActReply,
    Credentials,
    PreflightReply,
    ReviewReply,
    ReviewRequest,
    StartReply,
)
from samply_operator.errors import AccessUndecided, Forbidden, Unauthenticated
from samply_operator.logs import AUDIT, FIELDS
from samply_operator.rules.access import credentials
from samply_operator.settings import ApiKeys, Auth, KubernetesWay, Oidc, OidcGrant, Verb
from support.fake_feldera import make_pipeline_id
from support.fake_operator import KEY, make_key, make_pipeline, make_recording
from support.guarded import ATTACHMENT, GUARDED, HISTORY, OPEN, PROFILE
from support.identity import AUDIENCE, Provider, build_claims, sign

from .conftest import Answer, Service, make_id, wait_until

CONSOLE = {"/console", "/console/{path}"}
"""Pages and scripts, the same for everybody; what they show they ask for as any client does."""
READER = credentials.build_key("reader", b"r" * 32)
ELSEWHERE = credentials.build_key("elsewhere", b"e" * 32)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


@pytest.fixture
def auth(provider: Provider) -> Auth:
    """All three ways."""
    grants = (
        OidcGrant(subject="alice", verbs=("get", "create"), namespaces=("feldera",)),
        OidcGrant(group="sre", verbs=("get",), namespaces=("*",)),
    )
    oidc = Oidc(enabled=True, issuer=provider.issuer, audience=AUDIENCE, grants=grants)
    return Auth(oidc=oidc, api_keys=ApiKeys(enabled=True))


def bearer(token: str) -> str:
    return f"Bearer {token}"


def allow(**namespaces: tuple[str, ...]):
    """What Kubernetes says of everybody: `get=("feldera",)`."""

    def review(token: str, request: ReviewRequest) -> ReviewReply:
        allowed: dict[Verb, tuple[str, ...]] = {
            verb: tuple(n for n in request.namespaces if n in namespaces.get(verb, ())) for verb in request.verbs
        }
        return ReviewReply(f"user-of-{token}", allowed)

    return review


async def set_keys(service: Service, *keys: credentials.ApiKey, read_at: float | None = None) -> None:
    service.operator.credentials = Credentials(keys, read_at=time.time() if read_at is None else read_at)
    service.operator.push()
    await wait_until(service.knows_credentials)


async def store(service: Service) -> None:
    """`orders` in namespace feldera, with a profile, running."""
    service.operator.pipelines = (make_pipeline("orders"),)
    service.put(1)
    await service.settle()


# -------------------------------------------------------------------------------------------------- without a token


@pytest.mark.parametrize("path", OPEN)
async def test_routes_that_reveal_no_pipelines_are_open(service: Service, path: str) -> None:
    """Probes have no token, and Feldera's SDK requests /v0/config with its own key."""
    for token in ("", "Bearer apikey:something"):
        assert (await service.get(path, Authorization=token)).status == 200


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="no token"),
        pytest.param("Basic YTpi", id="another scheme"),
        pytest.param("Bearer apikey:0123", id="a key of Feldera's"),
        pytest.param(bearer(READER), id="an unknown API key"),
        pytest.param("Bearer x.y.z", id="a token that Kubernetes doesn't know"),
    ],
)
async def test_every_route_requires_a_valid_token(service: Service, method: str, path: str, header: str) -> None:
    await store(service)
    answer = await service.ask(method, path, Authorization=header)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    if method != "HEAD":
        answer.assert_error(401, "Unauthenticated")
        assert "kubectl create token" in answer.read_json()["message"], "it names the cure"
    assert service.operator.bearers == [], "the operator was not asked to act"


async def test_the_list_of_routes_is_complete(service: Service) -> None:
    """A new route is either open, and in that list, or guarded, and tested above."""
    known = {path.partition("?")[0] for _, path in GUARDED} | set(OPEN)
    patterns = {
        route.resource.canonical.replace("{pipeline_name}", "orders")
        .replace("{profile_id}", make_id(1))
        .replace("{attachment_name}", ATTACHMENT)
        for route in service.listener.app.router.routes()
        if route.resource
    }
    assert patterns == known | CONSOLE


# ------------------------------------------------------------------------------------------------------ an API key


async def test_a_key_has_the_rights_of_its_entry(service: Service) -> None:
    await store(service)
    await set_keys(service, make_key(READER, ("get",), ("feldera",)))
    answer = await service.get(PROFILE, Authorization=bearer(READER))
    assert (answer.status, answer.body) == (200, b"profile")
    listed = await service.get("/v0/pipelines", Authorization=bearer(READER))
    assert [p["name"] for p in listed.read_json()["pipelines"]] == ["orders"]


async def test_a_removed_key_is_refused_as_soon_as_it_is_known(service: Service) -> None:
    """Keys are not cached: the operator's latest list applies to the very next request."""
    await store(service)
    await set_keys(service, make_key(READER, ("get",), ("feldera",)))
    assert (await service.get(PROFILE, Authorization=bearer(READER))).status == 200
    await set_keys(service)
    (await service.get(PROFILE, Authorization=bearer(READER))).assert_error(401, "Unauthenticated")


async def test_a_key_reads_on_while_the_operator_is_away(service: Service) -> None:
    """For an hour: after that its validity is unknown, and access is refused."""
    await store(service)
    await service.send_away()
    assert (await service.get(PROFILE)).status == 200
    await service.operator.come_back()
    await service.wait_for_operator("Connected")
    long_ago = time.time() - local_auth.KEEP_SECS - 1
    client = service.listener.app[app_keys.OPERATOR]
    client._credentials = msgspec.structs.replace(client.credentials, read_at=long_ago)
    (await service.get(PROFILE)).assert_error(503, "AccessUndecided")


async def test_a_key_of_another_namespace_sees_nothing(service: Service) -> None:
    """The response is identical, byte for byte, to that for a name that does not exist."""
    await store(service)
    service.operator.recordings = (make_recording(make_id(7), "orders"),)
    await service.settle()
    await set_keys(service, make_key(ELSEWHERE, credentials.VERBS, ("elsewhere",)))
    for method, path in GUARDED[3:]:
        if method != "GET":
            continue
        hidden = await service.ask(method, path, Authorization=bearer(ELSEWHERE))
        absent = await service.ask(method, path.replace("orders", "absent"), Authorization=bearer(ELSEWHERE))
        assert hidden.status == absent.status == 404, path
        assert strip(hidden, "orders") == strip(absent, "absent")
    listed = await service.get("/v0/pipelines", Authorization=bearer(ELSEWHERE))
    assert listed.read_json()["pipelines"] == []


async def test_the_id_of_a_hidden_pipeline_does_not_reveal_its_name(service: Service) -> None:
    """By Feldera's id, too, a hidden pipeline looks like one that does not exist."""
    service.operator.pipelines = (make_pipeline("secret", ids=(make_pipeline_id(1),)),)
    service.put(1, pipeline="secret", pipeline_id=make_pipeline_id(1))
    await service.settle()
    await set_keys(service, make_key(ELSEWHERE, credentials.VERBS, ("elsewhere",)))
    for method, path in GUARDED[3:]:
        if method == "HEAD":
            continue
        hidden, absent = [
            await service.ask(method, path.replace("orders", make_pipeline_id(each)), Authorization=bearer(ELSEWHERE))
            for each in (1, 2)
        ]
        assert hidden.status == absent.status == 404, path
        assert b"secret" not in hidden.body
        assert strip(hidden, make_pipeline_id(1)) == strip(absent, make_pipeline_id(2))


def strip(answer: Answer, name: str) -> tuple[bytes, set[str]]:
    body = answer.read_json()
    body["details"].pop("request_id", None)
    return msgspec.json.encode(body).replace(name.encode(), b"NAME"), set(answer.headers)


async def test_a_hidden_name_stays_unknown_while_the_operator_is_unavailable(service: Service) -> None:
    await store(service)
    await set_keys(service, make_key(ELSEWHERE, credentials.VERBS, ("elsewhere",)))
    await service.send_away()
    for path in (PROFILE, HISTORY, f"{HISTORY}/{make_id(1)}"):
        hidden = await service.get(path, Authorization=bearer(ELSEWHERE))
        absent = await service.get(path.replace("orders", "absent"), Authorization=bearer(ELSEWHERE))
        assert hidden.status == absent.status == 503
        assert strip(hidden, "orders") == strip(absent, "absent")


async def test_a_stopped_pipeline_of_another_namespace_is_unknown_to_a_post(service: Service) -> None:
    """Not `PipelineInteractionNotDeployed`, which would reveal that profiles of it are stored."""
    service.put(1)
    await service.settle()
    await set_keys(service, make_key(ELSEWHERE, credentials.VERBS, ("elsewhere",)), make_key(KEY))
    (await service.post(PROFILE)).assert_error(503, "PipelineInteractionNotDeployed")
    hidden = await service.ask("POST", PROFILE, Authorization=bearer(ELSEWHERE))
    hidden.assert_error(404, "UnknownPipelineName")


async def test_of_one_name_in_two_namespaces_the_readable_one_is_meant(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders"), make_pipeline("orders", namespace="other"))
    service.put(1)
    service.put(2, b"other", namespace="other")
    await service.settle()
    await set_keys(service, make_key(READER, ("get",), ("other",)), make_key(KEY))
    details = (await service.get(PROFILE)).assert_error(400, "AmbiguousPipelineName")
    assert details["namespaces"] == ["feldera", "other"]
    assert (await service.get(PROFILE, Authorization=bearer(READER))).body == b"other"
    asked = await service.get(f"{PROFILE}?namespace=feldera", Authorization=bearer(READER))
    asked.assert_error(404, "UnknownPipelineName")


# ----------------------------------------------------------------------------------------------- a Kubernetes token


async def test_kubernetes_is_asked_about_the_namespaces_in_question(service: Service) -> None:
    service.operator.review = allow(get=("feldera",))
    await store(service)
    service.put(2, pipeline="unrelated", namespace="third")
    await service.settle()
    assert (await service.get(PROFILE, Authorization="Bearer a.b.c")).status == 200
    assert service.operator.reviewed == [("a.b.c", ReviewRequest(("get",), ("feldera",)))]


async def test_an_answer_of_kubernetes_is_kept_for_five_seconds(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.operator.review = allow(get=("feldera",))
    await store(service)
    for _ in range(5):
        assert (await service.get(PROFILE, Authorization="Bearer a.b.c")).status == 200
    assert len(service.operator.reviewed) == 1
    assert auth_cache.KEEP_SECS == 5.0
    monkeypatch.setattr(auth_cache, "KEEP_SECS", 0.0)
    service.operator.review = allow()
    (await service.get(PROFILE, Authorization="Bearer d.e.f")).assert_error(404, "UnknownPipelineName")
    service.operator.review = allow(get=("feldera",))
    assert (await service.get(PROFILE, Authorization="Bearer d.e.f")).status == 200


async def test_a_failed_review_returns_503_and_never_grants_access(service: Service) -> None:
    def fail(token: str, request: ReviewRequest) -> ReviewReply:
        raise AccessUndecided("Kubernetes doesn't say who calls.")

    service.operator.review = fail
    await store(service)
    answer = await service.get(PROFILE, Authorization="Bearer a.b.c")
    answer.assert_error(503, "AccessUndecided")
    assert answer.headers["Retry-After"] == "5"
    service.operator.review = allow(get=("feldera",))
    assert (await service.get(PROFILE, Authorization="Bearer a.b.c")).status == 200, "the error was not kept"
    await service.send_away()
    asked = len(service.operator.reviewed)
    (await service.get(PROFILE, Authorization="Bearer g.h.i")).assert_error(503, "OperatorUnavailable")
    assert len(service.operator.reviewed) == asked


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", PROFILE, "InsufficientPermissions"),
        ("POST", f"{PROFILE}?ordinal=all", "InsufficientPermissions"),
        ("POST", f"{PROFILE}/preflight", "InsufficientPermissions"),
        ("POST", f"{HISTORY}/{make_id(1)}/stop", "InsufficientPermissions"),
        ("DELETE", f"{HISTORY}/{make_id(1)}", "InsufficientPermissions"),
        ("PUT", f"{HISTORY}/{make_id(1)}/pin", "InsufficientPermissions"),
        ("DELETE", f"{HISTORY}/{make_id(1)}/pin", "InsufficientPermissions"),
    ],
)
async def test_the_operator_authorizes_actions_by_the_callers_token(
    service: Service, method: str, path: str, code: str
) -> None:
    """It receives the bearer; its refusals are passed on unchanged."""

    def refuse(*_: object) -> StartReply:
        raise Forbidden("You may not.", details={"verb": "create", "namespace": "feldera"})

    service.operator.review = allow(get=("feldera",))
    await store(service)
    service.operator.answer = service.operator.judge = service.operator.act = refuse  # type: ignore[assignment]
    answer = await service.ask(method, path, Authorization="Bearer a.b.c")
    details = answer.assert_error(403, code)
    if "refused" not in details:
        assert details == {"verb": "create", "namespace": "feldera"}
    assert service.operator.bearers == ["a.b.c"]


async def test_a_token_that_is_revoked_meanwhile_starts_nothing(service: Service) -> None:
    """The api caches it for a few more seconds; the operator doesn't."""

    def refuse(*_: object) -> StartReply:
        raise Unauthenticated("The token is not valid any more.")

    service.operator.review = allow(get=("feldera",), create=("feldera",))
    await store(service)
    service.operator.answer = refuse
    answer = await service.ask("POST", PROFILE, Authorization="Bearer a.b.c")
    answer.assert_error(401, "Unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


# ------------------------------------------------------------------------------------------------------------ a JWT


async def test_a_jwt_has_the_rights_of_its_subject_or_group(service: Service, provider: Provider) -> None:
    await store(service)
    for claims in ({"sub": "alice"}, {"sub": "bob", "groups": ["sre"]}):
        token = sign(build_claims(provider.issuer, **claims))
        assert (await service.get(PROFILE, Authorization=bearer(token))).status == 200
    token = sign(build_claims(provider.issuer, sub="bob"))
    (await service.get(PROFILE, Authorization=bearer(token))).assert_error(404, "UnknownPipelineName")
    assert service.operator.reviewed == []


async def test_a_jwt_ends_at_its_time(service: Service, provider: Provider) -> None:
    await store(service)
    token = sign(build_claims(provider.issuer, exp=int(time.time()) - 11))
    answer = await service.get(PROFILE, Authorization=bearer(token))
    answer.assert_error(401, "Unauthenticated")
    assert "expired" in answer.read_json()["message"]


async def test_a_jwt_reads_while_the_operator_is_away(service: Service, provider: Provider) -> None:
    await store(service)
    await service.send_away()
    token = sign(build_claims(provider.issuer))
    assert (await service.get(PROFILE, Authorization=bearer(token))).status == 200


async def test_without_the_issuers_keys_a_jwt_is_503(service: Service, provider: Provider) -> None:
    await store(service)
    provider.document = {"issuer": "https://evil.example"}
    token = sign(build_claims(provider.issuer))
    (await service.get(PROFILE, Authorization=bearer(token))).assert_error(503, "AccessUndecided")


# ------------------------------------------------------------------------------------------------------ what is logged


async def test_each_refusal_is_in_the_audit_log_and_no_token_is(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await store(service)
    await set_keys(service, make_key(ELSEWHERE, credentials.VERBS, ("elsewhere",)))
    await service.get(PROFILE, Authorization=bearer(READER))
    await service.ask("DELETE", f"{HISTORY}/{make_id(1)}", Authorization=bearer(ELSEWHERE))
    lines = [getattr(record, FIELDS) for record in caplog.records if record.name == AUDIT]
    assert [(line["decision"], line["verb"], line.get("who")) for line in lines] == [
        ("Unauthenticated", "get", None),
        ("Hide", "delete", "elsewhere"),
    ]
    assert all(line["pipeline"] == "orders" for line in lines)
    text = "\n".join(map(str, (vars(record) for record in caplog.records)))
    assert READER[-40:] not in text
    assert ELSEWHERE[-40:] not in text


async def test_each_decision_is_counted(service: Service, provider: Provider) -> None:
    """By way and outcome."""
    names = (("api-key", "allowed"), ("api-key", "hidden"), ("jwt", "allowed"), ("none", "unauthenticated"))

    def read() -> list[float]:
        return [measures.DECISIONS.labels(*each)._value.get() for each in names]

    await store(service)
    await set_keys(service, make_key(KEY), make_key(ELSEWHERE, credentials.VERBS, ("elsewhere",)))
    before = read()
    for token in (KEY, ELSEWHERE, sign(build_claims(provider.issuer)), "nobody"):
        await service.get(PROFILE, Authorization=bearer(token))
    assert [now - then for now, then in zip(read(), before, strict=True)] == [1, 1, 1, 1]


class TestSwitchedOff:
    """`auth.unsafeLetAnyoneInWithoutAuthentication: true`."""

    @pytest.fixture
    def auth(self) -> Auth:
        return Auth(kubernetes=KubernetesWay(enabled=False), unsafe_let_anyone_in_without_authentication=True)

    async def test_everyone_may_do_everything(self, service: Service) -> None:
        await store(service)
        service.operator.act = lambda verb, profile_id: ActReply(profile_id, "Cancelling")
        service.operator.judge = lambda call: PreflightReply(make_id(3), "feldera", "p", 0, "Go")
        for token in ("", "Bearer nonsense", "Basic YTpi"):
            assert (await service.get(PROFILE, Authorization=token)).status == 200
        assert (await service.ask("DELETE", f"{HISTORY}/{make_id(1)}", Authorization="")).status == 202
        assert service.operator.bearers == [""]


class TestProxy:
    """It passes its user's token in another header."""

    @pytest.fixture
    def auth(self, auth: Auth) -> Auth:
        return msgspec.structs.replace(
            auth, oidc=msgspec.structs.replace(auth.oidc, token_header="X-Forwarded-Access-Token")
        )

    async def test_the_token_in_its_header_is_checked_like_any_other(
        self, service: Service, provider: Provider
    ) -> None:
        await store(service)
        for claims, status in (({"sub": "alice"}, 200), ({"exp": int(time.time()) - 11}, 401)):
            token = sign(build_claims(provider.issuer, **claims))
            answer = await service.ask("GET", PROFILE, Authorization="", X_Forwarded_Access_Token=token)
            assert answer.status == status, claims
        answer = await service.ask("GET", PROFILE, Authorization="", X_Forwarded_User="alice")
        answer.assert_error(401, "Unauthenticated")

    async def test_actions_are_authorized_by_it_too(self, service: Service, provider: Provider) -> None:
        await store(service)
        token = sign(build_claims(provider.issuer, sub="alice"))
        await service.ask("POST", PROFILE, Authorization="", X_Forwarded_Access_Token=token)
        assert service.operator.bearers == [token]

    async def test_authorization_comes_first(self, service: Service, provider: Provider) -> None:
        await store(service)
        token = sign(build_claims(provider.issuer, sub="alice"))
        answer = await service.ask("GET", PROFILE, Authorization=bearer("junk"), X_Forwarded_Access_Token=token)
        answer.assert_error(401, "Unauthenticated")


async def test_without_the_setting_no_other_header_is_looked_at(service: Service, provider: Provider) -> None:
    await store(service)
    token = sign(build_claims(provider.issuer, sub="alice"))
    answer = await service.ask("GET", PROFILE, Authorization="", X_Forwarded_Access_Token=token)
    answer.assert_error(401, "Unauthenticated")
