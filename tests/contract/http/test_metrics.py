"""The metrics for Prometheus, and the id of a request in responses, logs and on the socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from samply_operator import errors
from samply_operator.api import app_keys
from samply_operator.api.routes import metrics
from samply_operator.api.server.listener import HttpListener
from samply_operator.control.messages import StartReply, StartRequest
from support.fake_operator import make_pipeline

from .conftest import Answer, Service

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
async def numbers(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpListener]:
    """The port of the metrics, which are gathered anew each time."""
    monkeypatch.setattr(metrics, "KEEP_SECS", 0.0)
    app = metrics.build_app(service.listener.app[app_keys.OPERATOR], service.state)
    async with HttpListener(
        app, "127.0.0.1", 0, drain_secs=0, connection_limits=metrics.build_connection_limits()
    ) as listener:
        yield listener


async def scrape(service: Service, listener: HttpListener) -> Samples:
    async with service.session.get(f"http://127.0.0.1:{listener.port}/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await response.text()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


ROUTE = "/v0/pipelines/{pipeline_name}/samply_profile"


async def test_requests_are_counted_by_their_routes_template(service: Service, numbers: HttpListener) -> None:
    service.put(1, b"x" * 1000, pipeline="secret-name")
    await service.settle()
    before = await scrape(service, numbers)
    await service.get("/v0/pipelines/secret-name/samply_profile")
    await service.ask("HEAD", "/v0/pipelines/secret-name/samply_profile")
    await service.get("/nothing/here/secret-path")
    await service.ask("BREW", "/nothing")
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    after = await scrape(service, numbers)
    writer.close()

    def grown(name: str, **labels: str) -> float:
        key = name, tuple(sorted(labels.items()))
        return after.get(key, 0) - before.get(key, 0)

    total = "samply_operator_http_requests_total"
    assert grown(total, route=ROUTE, method="GET", status="200") == 1
    assert grown(total, route=ROUTE, method="HEAD", status="200") == 1
    assert grown(total, route="other", method="GET", status="404") == 1
    assert grown("samply_operator_http_sent_bytes_total", route=ROUTE) == 1000
    assert grown("samply_operator_http_request_duration_seconds_count", route=ROUTE) == 2
    assert after["samply_operator_operator_connected", ()] == 1
    assert after["samply_operator_http_connections", ()] >= 1
    assert "secret" not in str(after.keys())


async def test_decisions_of_authentication_are_counted(service: Service, numbers: HttpListener) -> None:
    """Accepted callers, rejected ones, and those that the operator forbids an action."""
    service.operator.pipelines = (make_pipeline("orders"),)
    service.put(1)
    await service.settle()

    def refuse(request: StartRequest) -> StartReply:
        raise errors.Forbidden("You may not.", details={"verb": "create", "namespace": "feldera"})

    service.operator.answer = refuse
    before = await scrape(service, numbers)
    path = "/v0/pipelines/orders/samply_profile"
    assert (await service.get(path)).status == 200
    assert (await service.get(path, Authorization="Bearer samply_no_0123")).status == 401
    assert (await service.post(path)).status == 403
    after = await scrape(service, numbers)

    def grown(**labels: str) -> float:
        key = "samply_operator_auth_decisions_total", tuple(sorted(labels.items()))
        return after.get(key, 0) - before.get(key, 0)

    assert sum(grown(way=way, outcome="allowed") for way in ("api-key", "kubernetes")) == 2
    assert sum(grown(way=way, outcome="forbidden") for way in ("api-key", "kubernetes")) == 1
    assert grown(way="none", outcome="unauthenticated") == 1


async def test_the_operators_metrics_follow_those_of_the_api(service: Service, numbers: HttpListener) -> None:
    service.operator.metrics = b"# TYPE samply_operator_synced gauge\nsamply_operator_synced 1.0\n"
    assert (await scrape(service, numbers))["samply_operator_synced", ()] == 1


async def test_without_the_operator_only_the_api_metrics_are_returned(service: Service, numbers: HttpListener) -> None:
    await service.send_away()
    found = await scrape(service, numbers)
    assert found["samply_operator_operator_connected", ()] == 0
    assert ("samply_operator_synced", ()) not in found


async def test_the_public_port_has_no_metrics(service: Service) -> None:
    (await service.get("/metrics")).assert_error(404, "UnknownRoute")


async def test_the_port_of_the_metrics_has_nothing_else(service: Service, numbers: HttpListener) -> None:
    async with service.session.get(f"http://127.0.0.1:{numbers.port}/v0/config") as response:
        assert response.status == 404


async def test_probes_are_answered_there_too(service: Service, numbers: HttpListener) -> None:
    for path in ("/healthz", "/readyz"):
        async with service.bare.get(f"http://127.0.0.1:{numbers.port}{path}") as response:
            assert response.status == 200
    service.state.is_closing = True
    async with service.bare.get(f"http://127.0.0.1:{numbers.port}/readyz") as response:
        assert response.status == 503


async def test_a_flood_of_scrapes_gathers_once_a_second(
    service: Service, numbers: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And most of it is refused; the kubelet's probes aren't."""
    monkeypatch.setattr(metrics, "KEEP_SECS", 60.0)
    gathered = []
    genuine = service.client.get_metrics

    async def gather() -> bytes:
        gathered.append(1)
        return await genuine()

    monkeypatch.setattr(service.client, "get_metrics", gather)

    async def ask(path: str) -> int:
        async with service.bare.get(f"http://127.0.0.1:{numbers.port}{path}") as response:
            return response.status

    statuses = [status for _ in range(10) for status in await asyncio.gather(*(ask("/metrics") for _ in range(10)))]
    assert len(gathered) == 1
    assert set(statuses) == {200, 429}
    assert await ask("/healthz") == 200


async def test_one_client_takes_not_all_connections_of_that_port(service: Service, numbers: HttpListener) -> None:
    held = [await asyncio.open_connection("127.0.0.1", numbers.port, local_addr=("127.0.0.2", 0)) for _ in range(40)]
    async with service.bare.get(f"http://127.0.0.1:{numbers.port}/healthz") as response:
        assert response.status == 200
    for _, writer in held:
        writer.close()


async def test_the_request_id_of_a_proxy_is_passed_on(service: Service) -> None:
    """Into the header, the error's body, and over the socket."""
    answer = await service.ask("POST", "/v0/pipelines/orders/samply_profile", X_Request_Id="from-a-proxy-2")
    assert answer.headers["X-Request-Id"] == "from-a-proxy-2"
    assert answer.read_json()["details"]["request_id"] == "from-a-proxy-2"
    assert service.operator.request_ids == ["from-a-proxy-2"]


async def test_requests_side_by_side_keep_their_own_ids(service: Service) -> None:
    answers: list[Answer] = await asyncio.gather(*(service.get(f"/nothing/{number}") for number in range(20)))
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert len(set(ids)) == 20
    assert [answer.read_json()["details"]["request_id"] for answer in answers] == ids


async def test_bad_http_on_a_connection_does_not_take_the_last_requests_id(service: Service) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\nX-Request-Id: the-first-one\r\n\r\n")
    await reader.readuntil(b"}}")
    writer.write(b"nonsense\r\n\r\n")
    _, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert json.loads(body)["details"]["request_id"] not in ("", "the-first-one")
