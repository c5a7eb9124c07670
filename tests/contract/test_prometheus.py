"""Queries to a real Prometheus, and its threshold as a trigger; what else may be at its address is a small server."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from samply_operator.rules.triggers.facts import Skip
from samply_operator.settings import Prometheus, Recording, Settings
from samply_operator.triggers.prometheus import TOKEN, PrometheusClient, Series
from support.alerting import Alerting
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, put_trigger


@pytest.fixture(scope="module")
def alerting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerting]:
    with Alerting(tmp_path_factory.mktemp("prometheus"), "a", "http://127.0.0.1:9/nowhere", "unused") as alerting:
        yield alerting


@pytest.fixture
async def client() -> AsyncIterator[PrometheusClient]:
    async with aiohttp.ClientSession() as session:
        yield PrometheusClient(session)


async def ask(client: PrometheusClient, url: str, query: str = "up", *, secs: float = 5.0) -> tuple[Series, ...] | Skip:
    return await client.query(Prometheus(url), Path("/nonexistent"), query, NAMESPACE, secs=secs)


async def poll(call: Callable[[], Awaitable[object]], secs: float = 40.0) -> None:
    async with asyncio.timeout(secs):
        while not await call():
            await asyncio.sleep(0.2)


async def test_a_real_prometheus_is_read(client: PrometheusClient, alerting: Alerting) -> None:
    url = alerting.prometheus_url

    async def is_scraped() -> bool:
        return isinstance(found := await ask(client, url, "step_seconds"), tuple) and bool(found)

    await poll(is_scraped)
    answer = await ask(client, url, "step_seconds")
    assert isinstance(answer, tuple)
    (series,) = answer
    assert series.labels.items() >= {"__name__": "step_seconds", "pipeline": "a"}.items()
    assert series.value == alerting.exporter.step_secs
    assert await ask(client, url, "scalar(vector(1))") == (Series({}, 1.0),)
    assert await ask(client, url, "vector(1) / 0") == (Series({}, math.inf),)
    assert await ask(client, url, "no_such_metric") == ()
    (nothing,) = await ask(client, url, "vector(0) / 0")  # type: ignore[misc]  # not a Skip
    assert math.isnan(nothing.value)


@pytest.mark.parametrize(
    ("query", "said"),
    [("step_seconds{", "parse error"), ("step_seconds[1m]", "instant vector"), ('"text"', "instant vector"),
     ("step_seconds * on() group_left() vector(1) + on() {__name__=~'step.*|up'}", "")],
)  # fmt: skip
async def test_a_real_prometheus_refuses_a_query(
    client: PrometheusClient, alerting: Alerting, query: str, said: str
) -> None:
    async def is_ready() -> bool:
        """Some queries are refused only for what they find: both series are there."""
        found = await ask(client, alerting.prometheus_url, "{__name__=~'step.*|up'}")
        return isinstance(found, tuple) and len(found) > 1

    await poll(is_ready)
    answer = await ask(client, alerting.prometheus_url, query)
    assert isinstance(answer, Skip)
    assert answer.reason == "InvalidQuery"
    assert said in answer.message


async def test_a_threshold_in_a_real_prometheus_becomes_one_profile(alerting: Alerting, tmp_path: Path) -> None:
    settings = Settings(
        recording=Recording(min_free_bytes=1, min_coverage=0), prometheus=Prometheus(alerting.prometheus_url)
    )
    (tmp_path / "cluster").mkdir()
    with FakeCluster(tmp_path / "cluster") as cluster:
        add_pipeline(cluster)
        add_pipeline(cluster, "b")
        metric = {"prometheus": {"query": "step_seconds"}, "above": 1, "everySeconds": 1, "forSeconds": 1}
        raw = put_trigger(cluster, when={"metric": metric}, pipelines={"all": True})
        async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
            await operator.reach(lambda: raw_status(cluster).get("value") == "0.01 (a/0)")
            try:
                alerting.exporter.step_secs = 9.0
                await operator.reach(
                    lambda: [p.get("status", {}).get("phase") for p in operator.list_profiles()] == ["Succeeded"]
                )
                await asyncio.sleep(2)
                (profile,) = operator.list_profiles()
            finally:
                alerting.exporter.step_secs = 0.01
            assert profile["spec"]["pipeline"] == "a"
            assert (
                "step_seconds > 1 for 1 s: 9, since" in profile["metadata"]["annotations"]["samply.feldera.com/cause"]
            )
            await operator.reach(lambda: not raw_status(cluster).get("exceeding"))
        assert raw["kind"] == "SamplyTrigger"


def raw_status(cluster: FakeCluster) -> dict[str, object]:
    (raw,) = cluster.find("/samplytriggers/")
    return raw.get("status") or {}


@asynccontextmanager
async def serve(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/prefix/"
    finally:
        await runner.cleanup()


ODD = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}'
LONG = b'{"status":"success","data":{"resultType":"vector","result":[%s{}]}}' % (b"{}," * 10_000)
VECTOR = {"status": "success", "data": {"resultType": "vector", "result": []}}


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"<html>", "SourceUnreachable"),
        (200, b"{}", "SourceUnreachable"),
        (200, ODD, "SourceUnreachable"),
        (302, b"", "SourceUnreachable"),
        (400, b"<html>", "SourceUnreachable"),
        (401, b"", "SourceUnreachable"),
        (422, b'{"status":"error","errorType":"execution","error":"many-to-many"}', "InvalidQuery"),
        (503, b'{"status":"error","errorType":"timeout","error":"query timed out"}', "SourceUnreachable"),
        (200, b" " * 5_000_000, "InvalidQuery"),
        (200, LONG, "InvalidQuery"),
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_told(client: PrometheusClient, status: int, body: bytes, reason: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"})

    async with serve(answer) as url:
        found = await ask(client, url)
    assert isinstance(found, Skip)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("url", "is_valid"),
    [
        ("http://prometheus:9090/a@b", True),
        ("https://user:word@prometheus", False),
        ("http://user@prometheus/a", False),
    ],
)
def test_an_address_has_no_password(url: str, is_valid: bool) -> None:
    """It would be in each status that says that it does not answer."""
    with contextlib.nullcontext() if is_valid else pytest.raises(msgspec.ValidationError):
        msgspec.convert({"url": url}, Prometheus)


async def test_a_query_has_its_token_and_its_namespace(client: PrometheusClient, tmp_path: Path) -> None:
    """The token is read each time; without it nothing is sent."""
    asked: list[tuple[str, str | None, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path, request.headers.get("Authorization"), request.query["namespace"]))
        return web.json_response(VECTOR)

    async with serve(answer) as url:
        wanted = Prometheus(url, "prometheus-token")
        assert isinstance(await client.query(wanted, tmp_path, "up", "prod"), Skip)
        for token in ("one", "two\n"):
            (tmp_path / TOKEN).write_text(token)
            assert await client.query(wanted, tmp_path, "up", "prod") == ()
        assert await client.query(msgspec.structs.replace(wanted, secret_name=""), tmp_path, "up", "prod") == ()
    path = "/prefix/api/v1/query"
    assert asked == [(path, "Bearer one", "prod"), (path, "Bearer two", "prod"), (path, None, "prod")]


async def test_a_prometheus_that_hangs_is_not_waited_for(client: PrometheusClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with serve(answer) as url:
        found = await ask(client, url, secs=0.1)
    assert isinstance(found, Skip)
    assert "in time" in found.message
