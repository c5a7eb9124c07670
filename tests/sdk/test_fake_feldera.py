"""Feldera's own SDK accepts the responses of the fake Feldera: pipelines, refusals, profiles."""

from __future__ import annotations

import hashlib

import pytest

from sdk import run
from support.fake_feldera import READER, FakeFeldera, make_pipeline_id


@pytest.fixture(autouse=True)
def sdk() -> None:
    run.need_sdk()


async def test_the_sdk_takes_it_for_feldera() -> None:
    async with FakeFeldera() as feldera:
        feldera.add(1, "orders", profile=b"profile")
        feldera.add(2, "billing", status="Stopped")
        listed, found, unknown, got, started = await run.run(
            feldera.url, "list:", "find:billing", "find:nothing", "get:orders", "start:orders:3", key=READER
        )
    assert listed == {"orders": make_pipeline_id(1), "billing": make_pipeline_id(2)}
    assert found == {"id": make_pipeline_id(2)}
    assert (unknown["status"], unknown["error_code"]) == (404, "UnknownPipelineName")
    assert got == {"sha256": hashlib.sha256(b"profile").hexdigest(), "size_bytes": 7}
    assert started == {"started": "orders"}
    assert feldera.started == [("orders", 0, 3)]


async def test_a_key_that_was_removed() -> None:
    async with FakeFeldera() as feldera:
        (refused,) = await run.run(feldera.url, "list:", key="apikey:revoked")
    assert refused["status"] == 401
