"""Feldera's own Python SDK works with this service: start, get, errors, retries."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from samply_operator import errors
from samply_operator.control.messages import StartReply, StartRequest
from sdk import run
from support.fake_operator import KEY, make_pipeline, make_recording
from support.service import Service, make_id, serving

PROFILE = (Path(__file__).parents[1] / "data" / "profiles" / "demo-v55.json.gz").read_bytes()


@pytest.fixture(autouse=True)
def sdk() -> None:
    run.need_sdk()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    with tempfile.TemporaryDirectory(prefix="so-") as folder:
        async with serving(Path(folder)) as service:
            service.operator.pipelines = (make_pipeline("orders"),)
            await service.settle()
            yield service


def start(service: Service, *refusals: errors.SamplyOperatorError) -> None:
    """Refuse as often as is said, then start, then say that one runs."""
    left = list(refusals)

    def answer(request: StartRequest) -> StartReply:
        if left:
            raise left.pop(0)
        if service.operator.recordings:
            raise errors.ProfilingInProgress("One runs.", details={"retry_after_secs": 30, "profile": make_id(9)})
        service.operator.recordings = (make_recording(make_id(9), request.pipeline),)
        service.operator.push()
        return StartReply(make_id(9), "feldera", "r", "Recording")

    service.operator.answer = answer


async def use_sdk(service: Service, *steps: str, tenant: str = "") -> list[dict[str, Any]]:
    """With a key that may do everything; the SDK sends it as a bearer."""
    return await run.run(f"http://127.0.0.1:{service.port}", *steps, key=KEY, tenant=tenant)


async def test_start_and_get(service: Service) -> None:
    """The bytes are those that were stored."""
    service.put(1, PROFILE)
    await service.settle()
    start(service)
    began, again, got = await use_sdk(service, "start:orders:45", "start:orders:45", "get:orders")
    assert began == {"started": "orders"}
    assert (again["status"], again["error_code"]) == (409, "SamplyProfilingInProgress")
    assert got == {"sha256": hashlib.sha256(PROFILE).hexdigest(), "size_bytes": len(PROFILE)}
    assert [call.duration_secs for call in service.operator.started] == [45, 45]


async def test_errors_arrive_as_errors_of_the_sdk(service: Service) -> None:
    """With status, code and message."""
    start(service)
    none, unknown, long = await use_sdk(service, "get:orders", "get:other", "start:orders:3601")
    assert (none["status"], none["error_code"]) == (400, "NoSamplyProfile")
    assert "POST /v0/pipelines/orders/samply_profile" in none["message"]
    assert (unknown["status"], unknown["error_code"]) == (404, "UnknownPipelineName")
    assert (long["status"], long["error_code"]) == (400, "InvalidParam")


async def test_the_sdk_retries_retryable_errors(service: Service) -> None:
    """A 503 and a 429 end after a while; the user's script never sees them."""
    start(service, errors.PipelineUnreachable("No way."), errors.TooManyRequests("Enough."))
    assert await use_sdk(service, "start:orders:1") == [{"started": "orders"}]
    assert len(service.operator.started) == 3


async def test_permanent_errors_are_raised_at_once(service: Service) -> None:
    """A right that the operator lacks: after a 502 the SDK would retry for minutes."""
    start(service, errors.KubeForbidden("The operator may not make SamplyProfiles here."))
    began = time.monotonic()
    (refused,) = await use_sdk(service, "start:orders:1")
    assert (refused["status"], refused["error_code"]) == (500, "KubernetesForbidden")
    assert time.monotonic() - began < 20


async def test_the_tenant_is_accepted_and_ignored(service: Service) -> None:
    """And so is a name for it that isn't known here."""
    service.put(1, PROFILE)
    await service.settle()
    (got,) = await use_sdk(service, "get:orders", tenant="acme")
    assert got["size_bytes"] == len(PROFILE)


async def test_nothing_the_sdk_does_is_logged_as_an_error(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.put(1, PROFILE)
    await service.settle()
    with caplog.at_level(logging.WARNING):
        await use_sdk(service, "get:orders", "get:other")
    assert caplog.records == []


@pytest.mark.parametrize("key", ["", "apikey:of-feldera", KEY[:-1] + "x"], ids=["none", "Feldera's", "another"])
async def test_a_key_that_is_not_of_this_service(service: Service, key: str) -> None:
    """The client can be made: its first request reveals nothing. Everything else is 401."""
    service.put(1, PROFILE)
    await service.settle()
    url = f"http://127.0.0.1:{service.port}"
    for refused in await run.run(url, "get:orders", "start:orders:1", key=key):
        assert (refused["status"], refused["error_code"]) == (401, "Unauthenticated")
    assert service.operator.started == []
