"""One release and one pipeline for all tests that do not modify them; the pods are checked after each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cluster import pipelines, release
from cluster.node import Node
from cluster.pipelines import Pipeline
from cluster.release import Install, Service
from support.needs import lack
from support.scale import control_plane
from support.scale.control_plane import ControlPlane
from support.scale.fleet import Writer

DEFINITION = Path(__file__).parents[2] / "manifests" / "crd.yaml"


@pytest.fixture(scope="session")
def install() -> Iterator[Install]:
    """It records with the samply of the pipeline's image, unless an object says otherwise."""
    with release.installed("main", config={"recording": {"mode": "InPlace"}}) as found:
        yield found


@pytest.fixture(scope="session")
def pipeline(install: Install) -> Pipeline:
    """Two ordinals with samply and the rights that it needs."""
    started = pipelines.start(install.namespace, "demo")
    started.wait_ready()
    return started


@pytest.fixture
def service(install: Install) -> Iterator[Service]:
    with install.open() as opened:
        yield opened


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    with release.fresh_namespace("node") as namespace:
        found = Node(namespace)
        found.start()
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    """One whose path is short enough for a unix socket in it."""
    made = Path(tempfile.mkdtemp(prefix="test-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """An API server without nodes, beside the cluster."""
    if missing := control_plane.find_missing():
        if not Node.is_native():
            pytest.skip(f"the cluster is kind's, and hack/native/build has not made {', '.join(missing)}")
        lack(", ".join(missing), "hack/native/build")
    with tempfile.TemporaryDirectory() as made, control_plane.running(Path(made)) as found:
        yield found


@pytest.fixture
async def writer(plane: ControlPlane) -> AsyncIterator[Writer]:
    """Writes to `plane`, which knows SamplyProfiles."""
    async with Writer(plane.url) as made:
        await made.apply_definition(DEFINITION)
        yield made


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did: its pipelines' pods hold nothing but the pipeline when it has ended."""
    yield
    running = [(each, ordinal) for each in _find_pipelines(request.node) for ordinal in each.list_running()]
    with ThreadPoolExecutor() as threads:
        for looked in [threads.submit(each.wait_untouched, ordinal) for each, ordinal in running]:
            looked.result()


def _find_pipelines(item: Any) -> list[Pipeline]:
    values = getattr(item, "funcargs", {}).values()
    return [value for value in values if isinstance(value, Pipeline)]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """What a person would look at first, under each failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    found = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Install)]
    if report.failed:
        report.sections += [("cluster", install.dump()) for install in found]
