"""Stored profiles are compared with earlier ones: in a child, once, also after a restart, and it is said why not."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from samply_operator.errors import KubeUnavailable, StoreUnavailable
from samply_operator.kube import objects
from samply_operator.profiles.attribution.naming import NodeName, NodeNames
from samply_operator.profiles.worker import bounded
from samply_operator.recorder.storage import comparisons
from samply_operator.settings import Settings
from samply_operator.store import layout
from samply_operator.store.volume import Volume
from support import marker_maker, profile_maker
from support.fake_cluster import FakeCluster, Json
from support.marker_maker import evaluate
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask, put_trigger
from support.profile_maker import Sample

pytestmark = pytest.mark.timeout(400)

LAST = {"baseline": "Last"}
LONG_SECS = 120.0
"""A recording and a comparison start several processes."""


def write_profile(path: Path, *, sort: int, hash_: int, other: str = "hash", **changes: Any) -> str:
    """A profile with so many samples of two functions, in two operators."""
    samples = [*([Sample(("main", "sort"))] * sort), *([Sample(("main", other))] * hash_)]
    document = profile_maker.build([samples], **changes)
    evaluated = [evaluate(1, sort + 0.5, "Sort nn2"), evaluate(sort + 0.5, sort + hash_ + 1, "Map nn3")]
    marker_maker.add(document, 0, evaluated)
    return str(profile_maker.save(document, path))


class Pod:
    """One pod, where samply writes what the test says."""

    def __init__(self, cluster: FakeCluster, tmp_path: Path) -> None:
        self._folder = tmp_path
        add_pipeline(cluster, profile="", sidecar="")
        (self._behaviour,) = cluster.root.glob("bin-*/behaviour")

    def write(self, name: str, **changes: Any) -> None:
        """What the next recordings find."""
        self.use(write_profile(self._folder / name, **changes))

    def use(self, path: str) -> None:
        known = json.loads(self._behaviour.read_text())
        self._behaviour.write_text(json.dumps(known | {"profile": path}))


@pytest.fixture
def pod(cluster: FakeCluster, tmp_path: Path) -> Pod:
    return Pod(cluster, tmp_path)


async def record(operator: OperatorProcess, name: str, **spec: Any) -> Json:
    """The status once it is stored, and compared if that was asked for."""
    ask(operator.cluster, name, **spec)
    status = await operator.reach_phase(name, "Succeeded")
    if "comparison" in spec:
        await operator.reach(lambda: operator.find_status(name).get("comparison"), LONG_SECS)
        status = operator.find_status(name)
    await operator.reach_rest()
    return status


def find_uid(operator: OperatorProcess, name: str) -> str:
    uid: str = operator.cluster.objects[objects.samply_profiles(NAMESPACE, name)]["metadata"]["uid"]
    return uid


def find_condition(status: Json) -> tuple[str, str]:
    (found,) = (each for each in status["conditions"] if each["type"] == "Compared")
    return found["status"], found["reason"]


async def test_functions_groups_and_operators_that_changed_are_in_the_status(
    operator: OperatorProcess, pod: Pod
) -> None:
    pod.write("before.json.gz", sort=300, hash_=700)
    await record(operator, "p-1")
    pod.write("after.json.gz", sort=800, hash_=200)
    status = await record(operator, "p-2", comparison=LAST | {"regressedAbove": 10})
    found = status["comparison"]
    first, second = (find_uid(operator, name) for name in ("p-1", "p-2"))
    assert (found["reason"], found["measure"]) == ("Regressed", "cpu")
    assert (found["baseline"]["name"], found["baseline"]["id"]) == ("p-1", first)
    points = {each["name"]: round(each["points"]) for each in found["functions"]}
    assert points == {"sort": 50, "hash": -50}
    assert {each["name"]: round(each["points"]) for each in found["operators"]}.keys() >= {"Sort nn2", "Map nn3"}
    assert found["path"] == f"/v0/pipelines/a/diff?before={first}&after={second}"
    assert find_condition(status) == ("True", "Regressed")
    await operator.reach(lambda: "Regressed" in operator.list_events("p-2"))
    assert list((operator.volume.root / "tmp").iterdir()) == []


async def test_of_another_build_operators_and_nameless_functions_prove_nothing(
    operator: OperatorProcess, pod: Pod
) -> None:
    """Both have other numbers there."""
    pod.write("before.json.gz", sort=300, hash_=700, other="fun_1a2b")
    await record(operator, "p-1")
    pod.write("after.json.gz", sort=300, hash_=700, other="fun_1a2c", build_id="B0")
    found = (await record(operator, "p-2", comparison=LAST | {"regressedAbove": 10}))["comparison"]
    assert found["reason"] == "Compared"
    assert [*found.get("functions", ()), *found.get("operators", ())] == []
    assert any("Different builds of app" in note for note in found["notes"])
    assert any("Operators are not compared" in note for note in found["notes"])


async def test_names_of_one_profile_only_make_no_other_operators(operator: OperatorProcess, pod: Pod) -> None:
    pod.write("before.json.gz", sort=300, hash_=700)
    await record(operator, "p-1")
    (folder,) = operator.volume.root.glob("profiles/*")
    names = NodeNames({"nn2": NodeName("Sort", "sort", "is", view="totals")})
    (folder / layout.OPERATORS_FILE).write_bytes(msgspec.json.encode(names))
    pod.write("after.json.gz", sort=300, hash_=700)
    found = (await record(operator, "p-2", comparison=LAST | {"regressedAbove": 10}))["comparison"]
    assert (found["reason"], found.get("operators", [])) == ("Compared", [])


async def test_a_manifest_that_comes_later_is_compared_then(
    operator: OperatorProcess, pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was in another pod's spool."""
    pod.write("before.json.gz", sort=30, hash_=70)
    await record(operator, "p-1")
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr(Volume, "read_manifest", lambda self, profile_id: asked.append(profile_id))
        ask(operator.cluster, "p-2", comparison=LAST)
        await operator.reach(lambda: find_uid(operator, "p-2") in asked and operator.engine.comparisons.queue.is_idle)
        await operator.reach_phase("p-2", "Succeeded")
        await operator.reach_rest()
    assert "comparison" not in operator.find_status("p-2")
    await operator.engine.sweep()
    await operator.reach(lambda: operator.find_status("p-2").get("comparison"), LONG_SECS)


async def test_a_comparison_that_waits_long_is_not_stuck(
    operator: OperatorProcess, pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for all recordings that are finished; the liveness probe must not end the process meanwhile."""
    pod.write("before.json.gz", sort=30, hash_=70)
    await record(operator, "p-1")
    began = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        began.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(bounded, "diff_kinds", hang)
    ask(operator.cluster, "p-2", comparison=LAST)
    await asyncio.wait_for(began.wait(), LONG_SECS)
    later = time.monotonic() + 3600
    monkeypatch.setattr(operator.engine.activity, "_now", lambda: later)
    assert "comparisons" not in " ".join(operator.engine.activity.find_stuck())


async def test_a_trigger_compares_by_itself_and_a_regression_is_told_there_too(
    operator: OperatorProcess, cluster: FakeCluster, pod: Pod
) -> None:
    """End to end: from the trigger to its Event."""
    pod.write("before.json.gz", sort=300, hash_=700)
    template = {"durationSeconds": 1, "mode": "InPlace", "comparison": LAST | {"regressedAbove": 10}}
    now = 1_800_000_000.25
    operator.change_context(now=lambda: now)
    put_trigger(cluster, template=template)

    def list_reasons() -> list[str]:
        return [(raw.get("status", {}).get("comparison") or {}).get("reason", "") for raw in operator.list_profiles()]

    await operator.reach(lambda: list_reasons() == ["NoBaseline"], LONG_SECS)
    await operator.reach_rest()
    pod.write("after.json.gz", sort=800, hash_=200)
    now += 10
    operator.triggers.queue.put((NAMESPACE, "t-1"))
    await operator.reach(lambda: sorted(list_reasons()) == ["NoBaseline", "Regressed"], LONG_SECS)
    await operator.reach(lambda: "Regressed" in operator.list_events("t-1"))
    events = [raw for raw in cluster.find("/events/") if raw["involvedObject"]["name"] == "t-1"]
    (event,) = (raw for raw in events if raw["reason"] == "Regressed")
    assert "+50.0 points" in event["message"]
    assert "/console/compare?" in event["message"]


async def test_without_the_wish_nothing_is_compared(operator: OperatorProcess, pod: Pod) -> None:
    pod.write("before.json.gz", sort=30, hash_=70)
    for name, spec in (("p-1", {}), ("p-2", {}), ("p-3", {"comparison": {"baseline": "None"}})):
        ask(operator.cluster, name, **spec)
        await operator.reach_phase(name, "Succeeded")
        await operator.reach_rest()
    assert operator.engine.comparisons.queue.is_idle
    assert [raw["status"].get("comparison") for raw in operator.list_profiles()] == [None] * 3


async def test_a_profile_of_another_unit_is_told_and_the_recording_stands(operator: OperatorProcess, pod: Pod) -> None:
    pod.write("before.json.gz", sort=30, hash_=70, weight_type="bytes")
    await record(operator, "p-1")
    pod.write("after.json.gz", sort=30, hash_=70)
    status = await record(operator, "p-2", comparison=LAST)
    assert status["phase"] == "Succeeded"
    assert find_condition(status) == ("False", "NotComparable")
    assert "counts bytes" in status["comparison"]["message"]


async def test_a_damaged_baseline_is_told_and_the_recording_stands(operator: OperatorProcess, pod: Pod) -> None:
    pod.write("before.json.gz", sort=30, hash_=70)
    await record(operator, "p-1")
    (path,) = operator.volume.root.glob("profiles/*/profile.json.gz")
    path.write_bytes(gzip.compress(b'{"meta": 5}'))
    status = await record(operator, "p-2", comparison=LAST)
    assert find_condition(status) == ("False", "BaselineUnreadable")
    assert status["comparison"]["message"].startswith("p-1 cannot be read:")


async def test_a_baseline_whose_file_is_lost_is_told(operator: OperatorProcess, pod: Pod) -> None:
    pod.write("before.json.gz", sort=30, hash_=70)
    await record(operator, "p-1")
    (path,) = operator.volume.root.glob("profiles/*/profile.json.gz")
    path.unlink()
    status = await record(operator, "p-2", comparison=LAST)
    assert find_condition(status) == ("False", "BaselineUnreadable")


async def test_a_restart_before_the_comparison_finishes_it(
    cluster: FakeCluster, tmp_path: Path, settings: Settings, pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stored and reported, and the process ended while it compared."""
    pod.write("before.json.gz", sort=30, hash_=70)
    began = 0

    async def hang(*_: object, **__: object) -> None:
        nonlocal began
        began += 1
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(bounded, "diff_kinds", hang)
        async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
            await record(operator, "p-1")
            ask(cluster, "p-2", comparison=LAST)
            await operator.reach(lambda: began)
    assert "comparison" not in operator.find_status("p-2")
    async with OperatorProcess(cluster, tmp_path / "data", settings) as successor:
        await successor.reach(lambda: successor.find_status("p-2").get("comparison"), LONG_SECS)
        assert find_condition(successor.find_status("p-2")) == ("True", "Compared")


async def test_a_store_that_stays_away_is_told(
    operator: OperatorProcess, pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "TRIES", 2)
    pod.write("before.json.gz", sort=30, hash_=70)
    await record(operator, "p-1")

    def away(self: Volume, *_: object) -> Path:
        raise StoreUnavailable("the bucket does not answer")

    monkeypatch.setattr(Volume, "fetch_profile", away)
    status = await record(operator, "p-2", comparison=LAST)
    assert find_condition(status) == ("False", "ComparisonFailed")
    assert "does not answer" in status["comparison"]["message"]


async def test_what_cannot_be_written_is_written_later_and_not_computed_again(
    operator: OperatorProcess, pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.write("before.json.gz", sort=30, hash_=70)
    await record(operator, "p-1")
    fetches, refusals = [], 0
    fetch = Volume.fetch_profile

    def count(self: Volume, manifest: Any, folder: Path) -> Path:
        fetches.append(manifest.name)
        return fetch(self, manifest, folder)

    def fault(verb: str, what: str) -> BaseException | None:
        nonlocal refusals
        if verb == "patch" and what.endswith("p-2/status") and fetches:
            refusals += 1
            return KubeUnavailable("away") if refusals < 3 else None
        return None

    monkeypatch.setattr(Volume, "fetch_profile", count)
    operator.cluster.fault = fault
    await record(operator, "p-2", comparison=LAST)
    assert fetches == ["p-1", "p-2"]
