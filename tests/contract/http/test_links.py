"""Signed links: created by callers who may read, valid without a token for one file, and never logged."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest

from samply_operator.api.server import measures
from samply_operator.control.messages import Credentials
from samply_operator.logs import AUDIT, FIELDS
from samply_operator.rules.access import credentials, links
from samply_operator.settings import Api, Links
from samply_operator.store.volume import Volume
from support.fake_operator import make_key
from support.service import Answer, Service, make_id, serving, wait_until

HISTORY = "/v0/pipelines/orders/samply_profiles"
ONE = f"{HISTORY}/{make_id(1)}"
KEY, NEWER = b"k" * 32, b"n" * 32
SETTINGS = Api(links=Links(secret_name="links", max_secs=7200))


@pytest.fixture
async def service(folder: Path) -> AsyncIterator[Service]:
    async with serving(folder, SETTINGS) as service:
        service.put(1, b"data")
        service.put(2, b"other")
        service.put(3, None)
        await service.settle()
        await use_keys(service, KEY)
        yield service


async def use_keys(service: Service, *keys: bytes) -> None:
    """As if the Secret had changed."""
    given = msgspec.structs.replace(service.operator.credentials, link_keys=keys, read_at=time.time())
    service.operator.credentials = given
    service.operator.push()

    async def are_known() -> bool:
        return service.client.credentials.link_keys == keys

    await wait_until(are_known)


async def make(service: Service, query: str = "") -> dict[str, str]:
    answer = await service.post(f"{ONE}/links{query}")
    assert answer.status == 200, answer.body
    body: dict[str, str] = answer.read_json()
    return body


async def test_a_link_serves_the_file_without_a_token(service: Service) -> None:
    """As often as it is wanted, in parts and conditionally too."""
    body = await make(service)
    assert body["profile"] == make_id(1)
    assert body["url"] == f"http://127.0.0.1:{service.port}{body['href']}"
    assert (await service.get(body["href"], Authorization="")).body == b"data"
    assert (await service.get(body["href"], Authorization="", Range="bytes=1-2")).body == b"at"
    head = await service.ask("HEAD", body["href"], Authorization="")
    assert (head.status, head.headers["Content-Length"]) == (200, "4")
    assert (await service.get(body["href"], If_None_Match=head.headers["ETag"])).status == 304


async def test_links_are_counted(service: Service) -> None:
    """Those that are honoured, and those that aren't."""
    before = [measures.DECISIONS.labels("link", outcome)._value.get() for outcome in ("allowed", "forbidden")]
    href = (await make(service))["href"]
    await service.get(href)
    await service.get(href + "A")
    after = [measures.DECISIONS.labels("link", outcome)._value.get() for outcome in ("allowed", "forbidden")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1]


async def test_a_token_beside_a_link_is_not_looked_at(service: Service) -> None:
    """The link alone decides."""
    body = await make(service)
    assert (await service.get(body["href"], Authorization="Bearer nonsense")).status == 200


async def test_the_viewer_s_url_holds_the_link(service: Service) -> None:
    """On this machine a browser loads http; the name is the pipeline's."""
    body = await make(service)
    address, _, name = body["firefox_profiler"].partition("/?profileName=")
    assert unquote(address) == f"https://profiler.firefox.com/from-url/{body['url']}"
    assert unquote(name) == "orders 0, 2026-01-31 09:01:30Z"


def give_keys(service: Service, **namespaces: str) -> dict[str, str]:
    """API keys that may only read, each in one namespace; their tokens by name."""
    tokens = {name: credentials.build_key(name, name.encode().ljust(32, b"0")) for name in namespaces}
    keys = [make_key(tokens[name], ("get",), (namespace,)) for name, namespace in namespaces.items()]
    service.operator.credentials = msgspec.structs.replace(service.operator.credentials, api_keys=tuple(keys))
    return tokens


async def test_only_readers_may_create_links(service: Service) -> None:
    """A key of another namespace finds no profile; without a key no further check is made."""
    tokens = give_keys(service, reader="feldera", stranger="other")
    await use_keys(service, KEY, NEWER)
    answer = await service.ask("POST", f"{ONE}/links", Authorization=f"Bearer {tokens['reader']}")
    assert answer.status == 200, answer.body
    assert (await service.get(answer.read_json()["href"], Authorization="")).body == b"data"
    answer = await service.ask("POST", f"{ONE}/links", Authorization=f"Bearer {tokens['stranger']}")
    answer.assert_error(404, "UnknownProfile")
    (await service.ask("POST", f"{ONE}/links", Authorization="")).assert_error(401, "Unauthenticated")
    (await service.get(f"{ONE}/profile", Authorization="")).assert_error(401, "Unauthenticated")


async def test_a_link_holds_as_long_as_was_asked_for(service: Service) -> None:
    """An hour by default; not longer than the installation allows."""
    for query, secs in (("", 3600), ("?expires_secs=60", 60), ("?expires_secs=7200", 7200)):
        before = int(time.time())
        expires = int((await make(service, query))["href"].partition("expires=")[2].partition("&")[0])
        assert before + secs <= expires <= int(time.time()) + secs
    for query in ("?expires_secs=7201", "?expires_secs=0", "?expires_secs=", "?expires_secs=60&expires_secs=60"):
        details = (await service.post(f"{ONE}/links{query}")).assert_error(400, "InvalidParam")
        assert details["parameter"] == "expires_secs"


def forge(**changes: str) -> str:
    expires = int(time.time()) + 60
    facts = {"namespace": "feldera", "id": make_id(1), "expires": str(expires), "key": KEY.decode()} | changes
    signature = links.sign(facts["key"].encode(), facts["namespace"], facts["id"], int(facts["expires"]))
    return f"expires={facts['expires']}&signature={signature}"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        pytest.param(f"{HISTORY}/{make_id(2)}/profile", forge(), id="of another profile"),
        pytest.param(f"/v0/pipelines/other/samply_profiles/{make_id(1)}/profile", forge(), id="another pipeline"),
        pytest.param(f"{HISTORY}/{make_id(9)}/profile", forge(id=make_id(9)), id="not stored"),
        pytest.param(f"{ONE}/profile", forge(expires=str(int(time.time()) - 1)), id="over"),
        pytest.param(f"{ONE}/profile", forge(namespace="other"), id="another namespace"),
        pytest.param(f"{ONE}/profile", forge(key="x" * 32), id="another key"),
        pytest.param(f"{ONE}/profile", forge() + "A", id="changed"),
        pytest.param(f"{ONE}/profile", "signature=", id="empty"),
        pytest.param(f"{ONE}/profile", "signature=x", id="no time"),
        pytest.param(f"{ONE}/profile", forge() + "&signature=x", id="two signatures"),
        pytest.param(f"{ONE}/profile", forge() + "&expires=9999999999", id="two times"),
        pytest.param(f"{ONE}/profile", forge().replace("signature=", "signature=%FF"), id="no text"),
    ],
)
async def test_whatever_is_wrong_the_answer_is_the_same(service: Service, path: str, query: str) -> None:
    """It does not reveal what is stored."""
    answer = await service.get(f"{path}?{query}")
    assert answer.assert_error(403, "InvalidLink") == {}
    assert answer.read_json()["message"] == "The link is not valid, or its time is over. Request a new one."


async def test_an_earlier_list_of_the_bucket_refuses_no_link(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile may have been stored since."""
    monkeypatch.setattr(Volume, "is_listed", False)
    service.volume.remove(make_id(1))
    service.operator.store_generation += 1
    await service.settle()
    for query in (forge(), forge(key="x" * 32)):
        answer = await service.get(f"{ONE}/profile?{query}")
        answer.assert_error(503, "StoreUnavailable")
        assert "Retry-After" in answer.headers


@pytest.mark.parametrize("path", [ONE, f"{ONE}/summary", HISTORY, "/v0/pipelines/orders/samply_profile"])
async def test_a_link_opens_nothing_else(service: Service, path: str) -> None:
    """On other routes a signature is an unknown parameter: it grants nothing, and other origins can't read it."""
    answer = await service.get(f"{path}?{forge()}", Origin="https://profiler.firefox.com")
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_link_is_to_the_stored_file_only(service: Service) -> None:
    """Its holder cannot make the service convert anything."""
    answer = await service.get(f"{ONE}/profile?{forge()}&format=svg")
    assert answer.assert_error(400, "InvalidParam")["parameter"] == "format"


async def test_replacing_the_key_ends_the_links(service: Service) -> None:
    """At once, or once the old key is no longer kept as the previous one."""
    href = (await make(service))["href"]
    await use_keys(service, NEWER, KEY)
    assert (await service.get(href)).status == 200
    newer = (await make(service))["href"]
    await use_keys(service, NEWER)
    (await service.get(href)).assert_error(403, "InvalidLink")
    assert (await service.get(newer, Authorization="")).status == 200


async def test_links_are_honoured_while_the_operator_is_away(service: Service) -> None:
    """The keys last known count: stored profiles are served without it."""
    href = (await make(service))["href"]
    await service.send_away()
    assert (await service.get(href)).status == 200


async def test_links_before_any_key_was_received(service: Service) -> None:
    """Their validity is unknown: neither accepted nor refused."""
    service.client._credentials = Credentials()
    (await service.get(f"{ONE}/profile?{forge()}")).assert_error(503, "OperatorUnavailable")


async def test_a_secret_without_a_key_is_reported(service: Service) -> None:
    await use_keys(service)
    (await service.post(f"{ONE}/links")).assert_error(400, "LinksNotEnabled")


@pytest.mark.parametrize("host", ["[", "x:99999", "a b", "user@host", "host/path"])
async def test_an_invalid_host_is_reported(service: Service, host: str) -> None:
    """As an error of the request, without a URL that leads elsewhere."""
    (await service.ask("POST", f"{ONE}/links", Host=host)).assert_error(400, "BadRequest")


async def test_what_has_no_file_has_no_link(service: Service) -> None:
    (await service.post(f"{HISTORY}/{make_id(3)}/links")).assert_error(404, "UnknownProfile")
    (await service.post(f"{HISTORY}/{make_id(9)}/links")).assert_error(404, "UnknownProfile")


async def test_created_and_refused_links_are_audited(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """A link passes on a right: the log must show who did so."""
    caplog.set_level(logging.INFO, AUDIT)
    href = (await make(service))["href"]
    await service.get(href + "A", Authorization="")
    made, refused = [getattr(record, FIELDS) for record in caplog.records if record.name == AUDIT]
    assert (made["decision"], made["who"], made["way"], made["profile"]) == ("Allow", "test", "ApiKey", make_id(1))
    assert made["reason"].startswith("link until ")
    assert (refused["decision"], refused["way"], refused["reason"]) == ("Forbid", "Link", "InvalidLink")
    assert "who" not in refused


async def test_a_signature_is_never_logged(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a valid nor an invalid one, nor if the file is damaged."""
    caplog.set_level(logging.DEBUG)
    href = (await make(service))["href"]
    await service.get(href)
    await service.get(href + "A")
    (service.volume.root / "profiles" / make_id(1) / "profile.json.gz").write_bytes(b"broken")
    assert (await service.get(href)).status == 500
    assert "samply_profiles" in caplog.text
    assert "signature" not in caplog.text
    assert href.partition("signature=")[2] not in caplog.text


@pytest.mark.parametrize("origin", ["https://profiler.firefox.com", "https://www.speedscope.app", "null"])
async def test_any_page_may_read_what_it_has_a_link_to(service: Service, origin: str) -> None:
    """Also the refusal."""
    for href in ((await make(service))["href"], f"{ONE}/profile?signature=x"):
        answer: Answer = await service.get(href, Origin=origin)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


class TestSwitchedOff:
    @pytest.fixture
    async def service(self, folder: Path) -> AsyncIterator[Service]:
        async with serving(folder) as service:
            service.put(1, b"data")
            service.operator.credentials = msgspec.structs.replace(service.operator.credentials, link_keys=(KEY,))
            await service.settle()
            yield service

    async def test_there_are_no_links(self, service: Service) -> None:
        (await service.post(f"{ONE}/links")).assert_error(400, "LinksNotEnabled")
        (await service.get(f"{ONE}/profile?{forge()}")).assert_error(400, "LinksNotEnabled")


class TestPublicUrl:
    @pytest.fixture
    async def service(self, folder: Path) -> AsyncIterator[Service]:
        api = msgspec.structs.replace(SETTINGS, links=Links(secret_name="links", public_url="https://p.example.com/a/"))
        async with serving(folder, api) as service:
            service.put(1, b"data")
            await service.settle()
            await use_keys(service, KEY)
            yield service

    async def test_the_url_is_where_browsers_reach_it(self, service: Service) -> None:
        body = await make(service)
        assert body["url"] == f"https://p.example.com/a{body['href']}"
