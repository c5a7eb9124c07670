"""Many pods: the resources that the operator and the API use, next to an API server of their own with fake pods.

Held are CPU time, memory and numbers of requests, which a busy machine changes little; what takes how long is in
bench/scale.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.scale import phases, processes, stored
from support.scale.control_plane import ControlPlane
from support.scale.fleet import Fleet, Writer
from support.scale.phases import Load, Numbers

pytestmark = [pytest.mark.cluster, pytest.mark.serial]

WRITES = 5
"""Of a waiting object's status in its life, at most, on average; beside those of its recording's own steps."""
REQUESTS = 40
"""For each object from its creation to its end, at most."""
GROWTH = 1.3
"""By which more of them may cost each one more: some are the same for all, such as those of the first lists."""


async def test_some_hundred_pods(plane: ControlPlane, writer: Writer, folder: Path) -> None:
    """All of their pipelines are shown; a change of one costs little, and the memory that it needs is small."""
    fleet = Fleet("some", pipelines=30, replicas=10)
    await fleet.create(writer)
    load = Load(per_sec=50, secs=4, rest_secs=2, window=1)
    with processes.installed(plane, folder, fleet.namespace) as install:
        found = await phases.measure_fleet(install, writer, fleet, load)
    assert found["cpu_ms_per_change"] < 5, found
    assert found["most_mib"] < 150, found
    assert found["api_most_mib"] < 100, found


def check_waiting(found: dict[int, Numbers]) -> None:
    """Few against many: if each end moved all that wait, one of many would cost as many times more."""
    few, many = (found[count]["requests"] / count for count in sorted(found))
    assert many <= GROWTH * few, found
    for count, numbers in found.items():
        assert numbers["unfinished"] == 0, found
        assert numbers["requests"] / count <= REQUESTS, found
        assert numbers["status_writes"] / count <= WRITES, found


async def test_objects_that_wait_cost_requests_in_their_number(
    plane: ControlPlane, writer: Writer, folder: Path
) -> None:
    """Two may be under way at once and 24 are asked for: each is written few times, however many wait with it."""
    fleet = Fleet("waiting", pipelines=3, replicas=8, has_nodes=False)
    await fleet.create(writer)
    check_waiting(await phases.measure_waiting(plane, folder, writer, fleet, [6, 24], limit_secs=60))


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_five_thousand_pods(plane: ControlPlane, writer: Writer, folder: Path) -> None:
    """In 500 pipelines, 200 of them restarting each second for two minutes."""
    fleet = Fleet("pipelines", pipelines=500, replicas=10)
    await fleet.create(writer)
    with processes.installed(plane, folder, fleet.namespace) as install:
        found = await phases.measure_fleet(install, writer, fleet, Load())
    print(found)
    assert found["rest_mib"] < 150, found
    assert found["most_mib"] < 200, found
    assert found["cores"] < 0.5, found
    assert found["cpu_ms_per_change"] < 2.5, found
    assert found["api_most_mib"] < 100, found


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_five_hundred_objects_that_wait(plane: ControlPlane, writer: Writer, folder: Path) -> None:
    fleet = Fleet("crowd", pipelines=50, replicas=10, has_nodes=False)
    await fleet.create(writer)
    check_waiting(await phases.measure_waiting(plane, folder, writer, fleet, [50, 500], limit_secs=300))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_ten_thousand_stored_profiles(plane: ControlPlane, writer: Writer, folder: Path, tmp_path: Path) -> None:
    """They are served within seconds of the start, and their number holds up nothing."""
    await stored.store(writer, tmp_path / "data", "stored", 10_000)
    found = phases.measure_stored(plane, folder, tmp_path / "data", "stored", "orders-0000")
    print(found)
    assert found["operator_mib"] < 180, found
    assert found["api_mib"] < 150, found
