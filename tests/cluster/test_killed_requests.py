"""A POST whose operator is killed between creating the object and answering: the caller gets the id of that object.

Real processes beside an API server of their own (support/scale). A recording that goes on for a while keeps the only
place, so that what is asked for waits for its turn, as the answer does.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from samply_operator.kube import objects
from support.scale import fleet as fleets
from support.scale import processes
from support.scale.control_plane import ControlPlane
from support.scale.fleet import Fleet, Json, Writer
from support.scale.processes import Install

pytestmark = pytest.mark.cluster

RECORDING = {"mode": "InPlace", "maxConcurrent": 1}
START_SECS = 60
WAIT_SECS = 10
"""How long the operator may take until it answers that the object waits: it is killed before."""


async def list_profiles(writer: Writer, fleet: Fleet) -> list[Json]:
    found: list[Json] = (await writer.ask("GET", objects.samply_profiles(fleet.namespace)))["items"]
    return found


async def wait_begun(writer: Writer, fleet: Fleet) -> None:
    """Until the operator has written a status: what comes now waits."""
    while not all(item.get("status") for item in await list_profiles(writer, fleet)):
        await asyncio.sleep(0.05)


async def kill_before_the_answer(install: Install, writer: Writer, fleet: Fleet, known: int) -> None:
    while len(await list_profiles(writer, fleet)) == known:
        await asyncio.sleep(0.01)
    install.operator.popen.kill()
    await asyncio.to_thread(install.operator.popen.wait)


async def post(install: Install, pipeline: str, ordinal: str) -> tuple[int, str, str]:
    """Status, Location, body."""
    url = f"http://127.0.0.1:{install.port}/v0/pipelines/{pipeline}/samply_profile"
    query = {"ordinal": ordinal, "duration_secs": "1"}
    async with aiohttp.ClientSession() as session, session.post(url, params=query) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()


async def test_the_next_operator_answers_with_the_same_object(
    plane: ControlPlane, writer: Writer, folder: Path
) -> None:
    fleet = Fleet("killed", pipelines=1, replicas=2, has_nodes=False)
    await fleet.create(writer)
    (pipeline,) = fleet.names
    options = {"recording": RECORDING, "api": {"startWaitSecs": WAIT_SECS}}
    with processes.installed(plane, folder, fleet.namespace, **options) as install:
        await asyncio.to_thread(install.wait, "its pipeline", lambda: install.count_pipelines() == 1, START_SECS)
        await fleets.ask_for_profiles(writer, fleet, 1)
        await wait_begun(writer, fleet)
        asked = asyncio.create_task(post(install, pipeline, "1"))
        await kill_before_the_answer(install, writer, fleet, known=1)
        with install.replace_operator():
            status, location, body = await asked
    (made,) = (item for item in await list_profiles(writer, fleet) if item["spec"].get("ordinal") == 1)
    assert status == 202, body
    assert location == f"/v0/pipelines/{pipeline}/samply_profiles/{made['metadata']['uid']}"
