"""The client of Feldera's API: what it reads, its errors, and that the bearer is sent to Feldera only."""

from __future__ import annotations

import io
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from samply_operator import authorities, errors
from samply_operator.feldera import client as client_
from samply_operator.feldera.client import Document, FelderaClient, Login
from support.certificates import write_pair
from support.fake_feldera import READER, STRANGER, FakeFeldera, Key, make_pipeline_id

ALICE = Login(READER)


@pytest.fixture
async def feldera() -> AsyncIterator[FakeFeldera]:
    async with FakeFeldera() as feldera:
        feldera.add(
            1,
            "orders",
            graph={"mir": {}},
            global_metrics={"cpu_msecs": 7},
            heap_profile=b"\x1f\x8bheap",
            profile=b"\x1f\x8bprofile",
        )
        feldera.add(2, "Billing_v2", status="Stopped")
        feldera.add(3, "orders", tenant="other")
        yield feldera


@pytest.fixture
async def client(feldera: FakeFeldera) -> AsyncIterator[FelderaClient]:
    async with FelderaClient(feldera.url, answer_secs=2) as client:
        yield client


async def test_pipelines_are_those_of_the_logins_tenant(client: FelderaClient) -> None:
    found = await client.list_pipelines(ALICE)
    assert {pipeline.name: pipeline.id for pipeline in found.pipelines} == {
        "orders": make_pipeline_id(1),
        "Billing_v2": make_pipeline_id(2),
    }
    assert [p.id for p in (await client.list_pipelines(Login(STRANGER))).pipelines] == [make_pipeline_id(3)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "a" * 101}, "its length is not <= 100, at name"),
        ({"name": ""}, "its length is not >= 1, at name"),
        ({"name": 7}, "there is a whole number instead of text, at name"),
        ({"id": make_pipeline_id(1).upper()}, "the text has another form, at id"),
        ({"id": make_pipeline_id(1) + "\n"}, "the text has another form, at id"),
        ({"program_version": None}, "there is null instead of a whole number, at program_version"),
    ],
)
async def test_a_pipeline_that_cannot_be_read_leaves_the_others_alone(
    feldera: FakeFeldera, client: FelderaClient, change: dict[str, object], why: str
) -> None:
    rows = [feldera.pipelines[0].describe() | change, feldera.pipelines[1].describe()]
    feldera.break_with = lambda: web.json_response(rows)
    found = await client.list_pipelines(ALICE)
    assert [each.name for each in found.pipelines] == ["Billing_v2"]
    assert found.skipped is not None
    assert found.skipped.message == f"1 of 2 pipelines in Feldera's answer cannot be read: {why}."


async def test_one_pipeline(client: FelderaClient) -> None:
    found = await client.get_pipeline("orders", ALICE)
    assert (found.id, found.deployment_status) == (make_pipeline_id(1), "Running")
    assert found.deployment_id is not None
    assert (await client.get_pipeline("Billing_v2", ALICE)).deployment_id is None


async def test_the_tenant_is_passed_on(feldera: FakeFeldera, client: FelderaClient) -> None:
    feldera.keys["apikey:both"] = Key(("acme", "other"))
    assert (await client.get_pipeline("orders", Login("apikey:both", "other"))).id == make_pipeline_id(3)
    assert feldera.asked[-1] == ("/v0/pipelines/orders", "apikey:both", "other")
    session = await client.get_session(Login("apikey:both", "other"))
    assert (session.tenant_name, session.role) == ("other", "read")


async def test_what_a_pipeline_says_of_itself(client: FelderaClient) -> None:
    assert await client.get_dataflow_graph("orders", ALICE) == b'{"mir": {}}'
    assert await client.get_circuit_json_profile("orders", ALICE) == b"{}"
    assert (await client.get_stats("orders", ALICE)).global_metrics["cpu_msecs"] == 7
    assert b"process_cpu_seconds_total" in await client.get_metrics("orders", ALICE)
    assert (await client.get_config(ALICE)).edition == "Enterprise"


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("stats", b'"global_metrics"'),
        ("metrics", b"process_cpu_seconds_total"),
        ("circuit_json_profile", b"{}"),
        ("heap_profile", b"\x1f\x8bheap"),
    ],
)
async def test_what_a_pipeline_says_is_written_out(client: FelderaClient, what: Document, expected: bytes) -> None:
    out = io.BytesIO()
    await client.save("orders", what, ALICE, out)
    assert expected in out.getvalue()


async def test_an_answer_of_any_length_is_not_written_out(
    feldera: FakeFeldera, client: FelderaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_, "MAX_GRAPH_BYTES", 100_000)
    feldera.pipelines[0].metrics = "x" * 100_001
    out = io.BytesIO()
    with pytest.raises(errors.FelderaRejected, match="more than 100000 bytes") as caught:
        await client.save("orders", "metrics", ALICE, out)
    assert client_.ADDRESS not in str(caught.value), "the address is right"
    assert len(out.getvalue()) <= 100_000
    feldera.pipelines[0].status = "Stopped"
    with pytest.raises(errors.FelderaUnavailable, match="not deployed"):
        await client.save("orders", "metrics", ALICE, out)


async def test_a_pipelines_own_profile(feldera: FakeFeldera, client: FelderaClient) -> None:
    """Started once, waited for, then written out."""
    await client.start_samply_profile("orders", 5, ALICE, ordinal=1)
    assert feldera.started == [("orders", 1, 5)]
    with pytest.raises(errors.FelderaRejected) as caught:
        await client.start_samply_profile("orders", 5, ALICE)
    assert caught.value.details["error_code"] == "SamplyProfilingInProgress"
    out = io.BytesIO()
    assert await client.save_samply_profile("orders", ALICE, out) == 5
    feldera.pipelines[0].retry_after_secs = None
    assert await client.save_samply_profile("orders", ALICE, out) is None
    assert out.getvalue() == b"\x1f\x8bprofile"


@pytest.mark.parametrize(
    ("name", "login", "kind"),
    [
        ("nothing", ALICE, errors.FelderaNotFound),
        ("../config", ALICE, errors.FelderaNotFound),
        ("..", ALICE, errors.FelderaNotFound),
        (".", ALICE, errors.FelderaNotFound),
        ("", ALICE, errors.FelderaNotFound),
        ("a b/c?d", ALICE, errors.FelderaNotFound),
        ("Ö" * 100, ALICE, errors.FelderaNotFound),
        ("orders", Login("apikey:revoked"), errors.FelderaUnauthenticated),
        ("orders", Login(), errors.FelderaUnauthenticated),
        ("orders", Login(READER, "other"), errors.FelderaForbidden),
    ],
    ids=[
        "unknown",
        "a path",
        "the parent",
        "itself",
        "empty",
        "specials",
        "not ASCII",
        "revoked",
        "no key",
        "not its tenant",
    ],
)
async def test_refusals(client: FelderaClient, name: str, login: Login, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await client.get_pipeline(name, login)


async def test_a_stopped_pipeline_is_worth_a_repetition(client: FelderaClient) -> None:
    with pytest.raises(errors.FelderaUnavailable) as caught:
        await client.get_stats("Billing_v2", ALICE)
    assert caught.value.details["error_code"] == "PipelineInteractionNotDeployed"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500, text="oops"),
        lambda: web.Response(status=502, text="<html>", content_type="text/html"),
        lambda: web.Response(text="<html>Sign in</html>", content_type="text/html"),
        lambda: web.Response(text='{"pipelines": []}', content_type="application/json"),
        lambda: web.Response(text='[{"name": "a"}]', content_type="application/json"),
        lambda: web.Response(body=b"[" * 100_000, content_type="application/json"),
        lambda: web.Response(body=b" " * 9_000_000, content_type="application/json"),
        lambda: web.Response(status=429),
        lambda: web.Response(status=500, body=b"[" * 100_000),
    ],
    ids=["500", "a proxy", "a login page", "another shape", "no id", "deep", "long", "too many", "a deep refusal"],
)
async def test_answers_that_cannot_be_used_are_worth_a_repetition(
    feldera: FakeFeldera, client: FelderaClient, answer: object
) -> None:
    feldera.break_with = answer  # type: ignore[assignment]
    with pytest.raises(errors.FelderaUnavailable) as caught:
        await client.list_pipelines(ALICE)
    assert len(str(caught.value)) < 600


async def test_a_slow_feldera_is_not_waited_for(feldera: FakeFeldera) -> None:
    feldera.delay_secs = 30
    async with FelderaClient(feldera.url, answer_secs=0.2) as client:
        with pytest.raises(errors.FelderaUnavailable, match="no answer in time"):
            await client.list_pipelines(ALICE)


async def test_an_absent_feldera(feldera: FakeFeldera, client: FelderaClient) -> None:
    await feldera.stop()
    with pytest.raises(errors.FelderaUnavailable, match=r"config\.feldera\.url"):
        await client.list_pipelines(ALICE)
    await feldera.start()
    assert len((await client.list_pipelines(ALICE)).pipelines) == 2


async def test_a_redirect_does_not_take_the_bearer_elsewhere(feldera: FakeFeldera, client: FelderaClient) -> None:
    async with FakeFeldera() as elsewhere:
        feldera.break_with = lambda: web.Response(status=302, headers={"Location": elsewhere.url + "/v0/pipelines"})
        with pytest.raises(errors.FelderaRejected):
            await client.list_pipelines(ALICE)
        assert elsewhere.asked == []


async def test_a_proxy_of_the_environment_does_not_see_the_bearer(
    feldera: FakeFeldera, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeFeldera() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with FelderaClient(feldera.url) as client:
            assert len((await client.list_pipelines(ALICE)).pipelines) == 2
        assert proxy.asked == []


async def test_no_error_and_no_log_line_holds_the_bearer(
    feldera: FakeFeldera, client: FelderaClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = Login("apikey:very-secret")
    for answer in (None, lambda: web.Response(text="apikey:very-secret"), lambda: web.Response(status=500)):
        feldera.break_with = answer
        with pytest.raises(errors.FelderaError) as caught:
            await client.list_pipelines(secret)
        assert "very-secret" not in str(caught.value) + repr(caught.value.details) + repr(secret)
    assert "very-secret" not in caplog.text


@pytest.mark.parametrize(
    ("text", "secs"),
    [
        ("7", 7),
        ("007", 7),
        ("0", 1),
        ("00", 1),
        ("", 1),
        ("soon", 1),
        ("-3", 1),
        ("1.5", 1),
        ("٣", 1),
        ("999999", 3600),
        ("9" * 5000, 3600),
        ("0" * 5000 + "8", 8),
    ],
)
def test_how_long_to_wait(text: str, secs: int) -> None:
    assert client_._parse_retry_after(text) == secs


async def test_a_private_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusted by OpenSSL's own variable; and again when its file was exchanged, without a new client."""
    write_pair(tmp_path / "a")
    write_pair(tmp_path / "b", "another")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "a" / "tls.crt", tmp_path / "a" / "tls.key")
    bundle = tmp_path / "ca.crt"
    bundle.write_bytes((tmp_path / "b" / "tls.crt").read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setattr(authorities, "KEPT_SECS", 0.0)
    async with FakeFeldera(context=context) as feldera, FelderaClient(feldera.url) as client:
        with pytest.raises(errors.FelderaUnavailable, match="not trusted"):
            await client.list_pipelines(ALICE)
        bundle.write_bytes((tmp_path / "a" / "tls.crt").read_bytes())
        assert (await client.list_pipelines(ALICE)).pipelines == ()
