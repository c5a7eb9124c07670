"""Mode Pipeline: Feldera has the pipeline run samply on itself; its file is judged, stored and named like any other."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from samply_operator.feldera.client import FelderaClient
from samply_operator.kube import objects
from samply_operator.model.manifest import Manifest
from samply_operator.profiles.analysis import breakdown
from samply_operator.profiles.attribution import naming
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.format import reading
from samply_operator.recorder.feldera import pipeline_samply
from samply_operator.rules.recording.failures import REMEDIES
from samply_operator.settings import Settings
from samply_operator.store import durable
from samply_operator.store.durable import VOLUME
from support import circuit_recording
from support.fake_cluster import FakeCluster, Json
from support.fake_feldera import FakeFeldera, Pipeline, make_pipeline_id
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, add_pod, ask

from .conftest import SETTINGS, use_keys
from .test_engine import assert_nothing_left, count_starts

ID = make_pipeline_id(1)
POD = f"pipeline-{ID}-0"
MARKED = circuit_recording.make()
"""As an engine with markers hands it out; node nn2 took most."""


@pytest.fixture
async def feldera() -> AsyncIterator[FakeFeldera]:
    async with FakeFeldera() as feldera:
        feldera.add(
            1,
            "orders",
            profile=MARKED,
            graph=circuit_recording.GRAPH,
            circuit_profile=circuit_recording.CIRCUIT,
            ends_by_itself=True,
            cores=1.9,
        )
        yield feldera


@pytest.fixture
async def client(feldera: FakeFeldera) -> AsyncIterator[FelderaClient]:
    async with FelderaClient(feldera.url, answer_secs=1) as client:
        yield client


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    recording = msgspec.structs.replace(SETTINGS.recording, unreachable_secs=1)
    return use_keys(msgspec.structs.replace(SETTINGS, recording=recording), tmp_path / "keys")


@pytest.fixture
async def operator(
    cluster: FakeCluster, tmp_path: Path, settings: Settings, client: FelderaClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OperatorProcess]:
    monkeypatch.setattr(pipeline_samply, "POLL_SECS", 0.05)
    add_pipeline(cluster, ID)
    async with OperatorProcess(cluster, tmp_path / "data", settings, feldera=client) as operator:
        yield operator


def prefer(operator: OperatorProcess, **changes: Any) -> None:
    """Mode Auto asks Feldera first."""
    settings = operator.context.settings
    changed = msgspec.structs.replace(
        settings, feldera=msgspec.structs.replace(settings.feldera, prefer_own_samply=True), **changes
    )
    operator.change_context(settings=changed)


async def reach_end(operator: OperatorProcess, name: str = "p-1") -> Json:
    """The final status, once nothing is left over."""
    status = await operator.reach_phase(name, "Succeeded", "Failed", "Cancelled")
    await operator.reach_rest()
    assert_nothing_left(operator)
    return status


async def reach_failure(operator: OperatorProcess) -> tuple[str, str, str]:
    """Reason, message, remedy."""
    status = await reach_end(operator)
    assert status["phase"] == "Failed", status
    failure = status["failure"]
    assert failure["remedy"]
    return failure["reason"], failure["message"], failure["remedy"]


def read_manifest(operator: OperatorProcess, raw: Json) -> Manifest:
    manifest = operator.volume.read_manifest(raw["metadata"]["uid"])
    assert manifest is not None
    return manifest


def request(cluster: FakeCluster, name: str = "p-1", **spec: Any) -> Json:
    return ask(cluster, name, **{"pipeline": ID, "mode": "Pipeline"} | spec)


async def test_the_pipelines_own_file_is_stored_with_what_feldera_calls_its_operators(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    """Nothing is done in the pod; the markers are in the stored file, and the nodes have their names."""
    raw = request(cluster)
    status = await reach_end(operator)
    assert status["phase"] == "Succeeded", status
    assert feldera.started == [("orders", 0, 1)]
    assert count_starts(cluster, POD) == 0
    assert not any(verb == "exec" for verb, _ in cluster.calls)
    assert (status["target"]["mode"], status["target"]["samplyVersion"]) == ("Pipeline", "of Feldera 0.369.0")
    assert "warnings" not in status or not any("names" in text for text in status["warnings"]), status["warnings"]
    manifest = read_manifest(operator, raw)
    assert manifest.pipeline_id == ID
    path = operator.volume.root / "profiles" / manifest.id / "profile.json.gz"
    assert b"FelderaMarker" in gzip.decompress(path.read_bytes())
    kept = naming.find_stored_names(path)
    assert kept is not None
    assert (kept.program_version, kept.problem, list(kept.names)) == (1, "", ["nn2"])
    profile = reading.read(path)
    attribution = Choice("operator").build(profile)
    assert attribution is not None
    sums = breakdown.break_down(profile, attribution, by="operator", limit=1)
    assert "view totals" in str(sums.labels[0])


async def test_coverage_is_by_the_cpu_time_that_feldera_reports(
    operator: OperatorProcess, cluster: FakeCluster, orders: Pipeline
) -> None:
    raw = request(cluster)
    await reach_end(operator)
    quality = read_manifest(operator, raw).quality
    assert quality.cpu_secs == pytest.approx(1.9, rel=0.2)
    assert quality.samples is not None
    assert quality.coverage == pytest.approx(
        quality.samples * circuit_recording.STEP_US / 1e6 / quality.cpu_secs, abs=0.01
    )


async def test_a_file_that_came_back_blind_is_no_success(
    operator: OperatorProcess, cluster: FakeCluster, orders: Pipeline
) -> None:
    """A CPU limit hid samples: the verdict says so and names the mode that sees all of them. The file is kept."""
    orders.cores = 40.0
    pod = objects.pods(NAMESPACE, POD)
    cluster.objects[pod]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1"}}
    settings = operator.context.settings
    operator.change_context(
        settings=msgspec.structs.replace(
            settings, recording=msgspec.structs.replace(settings.recording, min_coverage=0.75)
        )
    )
    raw = request(cluster)
    reason, message, remedy = await reach_failure(operator)
    assert (reason, "of what was due" in message, "Ephemeral" in remedy) == ("LowCoverage", True, True)
    assert read_manifest(operator, raw).file is not None


async def test_without_feldera_s_stats_coverage_is_by_the_file_and_says_so(
    operator: OperatorProcess, cluster: FakeCluster, orders: Pipeline
) -> None:
    orders.cores = 0
    raw = request(cluster)
    await reach_end(operator)
    manifest = read_manifest(operator, raw)
    assert manifest.quality.cpu_secs
    assert any("by the CPU times in the file alone" in text for text in manifest.warnings)


async def test_a_wish_that_is_not_met_is_reported(operator: OperatorProcess, cluster: FakeCluster) -> None:
    raw = request(cluster, rateHz=99)
    await reach_end(operator)
    assert any("99 Hz were asked for" in text for text in read_manifest(operator, raw).warnings)


async def test_a_preflight_records_nothing(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    request(cluster, preflightOnly=True)
    assert (await reach_end(operator))["phase"] == "Succeeded"
    assert feldera.started == []


WRONG = [
    pytest.param({"is_profiling_enabled": False}, "PipelineSamplyFailed", "not enabled", id="not enabled"),
    pytest.param({"samply_problem": "samply: no such file"}, "PipelineSamplyFailed", "no such file", id="fails"),
    pytest.param({"status": "Stopped"}, "FelderaUnreachable", "not deployed", id="stopped"),
    pytest.param({"id": make_pipeline_id(7)}, "FelderaRefused", "no pipeline with the id", id="unknown"),
    pytest.param({"retry_after_secs": 9}, "AlreadyRecording", "runs samply on itself", id="in progress"),
    pytest.param({"profile": b"<html>login</html>"}, "PipelineSamplyFailed", "no profile", id="a page"),
    pytest.param({"profile": MARKED[:5000]}, "PipelineSamplyFailed", "no profile", id="half a file"),
]


@pytest.mark.parametrize(("change", "reason", "says"), WRONG)
async def test_a_failure_of_feldera_is_reported_with_its_remedy(
    change: dict[str, Any], reason: str, says: str, operator: OperatorProcess, cluster: FakeCluster, orders: Pipeline
) -> None:
    for name, value in change.items():
        setattr(orders, name, value)
    request(cluster)
    found, message, remedy = await reach_failure(operator)
    assert found == reason, message
    assert says in message
    assert remedy.startswith(REMEDIES[reason])


@pytest.mark.parametrize("bearer", ["", "apikey:revoked"])
async def test_a_key_that_is_refused_is_reported(
    bearer: str, operator: OperatorProcess, cluster: FakeCluster, settings: Settings
) -> None:
    for tenant in ("acme", "other"):
        (Path(settings.paths.feldera_keys) / tenant).write_text(bearer)
    request(cluster)
    reason, message, remedy = await reach_failure(operator)
    assert reason == "FelderaRefused", message
    assert "key" in remedy
    assert "revoked" not in message + remedy


async def test_without_an_address_of_feldera_s_the_mode_is_refused(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    operator.change_context(feldera=None)
    request(cluster)
    assert (await reach_failure(operator))[0] == "FelderaNotConfigured"


async def test_a_pipeline_that_is_not_feldera_s_is_reported(operator: OperatorProcess, cluster: FakeCluster) -> None:
    add_pipeline(cluster, "plain")
    request(cluster, pipeline="plain")
    assert (await reach_failure(operator))[0] == "FelderaNotConfigured"


async def test_feldera_may_be_away_for_a_while(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    raw = request(cluster, durationSeconds=2)
    await operator.reach_phase("p-1", "Recording")
    await feldera.stop()
    await operator.reach_phase("p-1", "Collecting")
    await feldera.start()
    assert (await reach_end(operator))["phase"] == "Succeeded"
    assert read_manifest(operator, raw).file is not None


@pytest.mark.parametrize("kind", ["away", "slow", "a page"])
async def test_feldera_that_does_not_come_back_ends_it(
    kind: str, operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    if kind == "away":
        await feldera.stop()
    elif kind == "slow":
        feldera.delay_secs = 5
    else:
        feldera.break_with = lambda: web.Response(text="<html>log in</html>", content_type="text/html")
    request(cluster)
    assert (await reach_failure(operator))[0] == "FelderaUnreachable"


# ------------------------------------------------------------------------------------------------------ never both


async def test_another_mode_waits_for_what_feldera_runs(
    operator: OperatorProcess, cluster: FakeCluster, orders: Pipeline
) -> None:
    """Somebody asked Feldera itself: two samplys never record one process."""
    orders.retry_after_secs = 9
    request(cluster, mode="InPlace")
    reason, _, remedy = await reach_failure(operator)
    assert (reason, count_starts(cluster, POD)) == ("AlreadyRecording", 0)
    assert "Feldera" in remedy


async def test_another_mode_does_without_a_feldera_that_does_not_answer(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    await feldera.stop()
    request(cluster, mode="InPlace")
    assert (await reach_end(operator))["phase"] == "Succeeded"
    assert count_starts(cluster, POD) == 1


async def test_auto_prefers_it_where_the_settings_say_so(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    request(cluster, "p-1", mode="Auto")
    assert (await reach_end(operator))["target"]["mode"] == "InPlace"
    prefer(operator)
    request(cluster, "p-2", mode="Auto")
    assert (await reach_end(operator, "p-2"))["target"]["mode"] == "Pipeline"
    assert len(feldera.started) == 1


async def test_auto_tries_another_mode_where_it_cannot_start(
    operator: OperatorProcess, cluster: FakeCluster, orders: Pipeline
) -> None:
    orders.is_profiling_enabled = False
    prefer(operator)
    raw = request(cluster, mode="Auto")
    status = await reach_end(operator)
    assert (status["phase"], status["target"]["mode"]) == ("Succeeded", "InPlace")
    assert "of Feldera" not in status["target"]["samplyVersion"]
    assert any("Mode Pipeline was tried first" in text for text in read_manifest(operator, raw).warnings)


async def test_auto_does_not_start_a_second_samply(
    operator: OperatorProcess, cluster: FakeCluster, orders: Pipeline
) -> None:
    orders.retry_after_secs = 9
    prefer(operator)
    request(cluster, mode="Auto")
    assert (await reach_failure(operator))[0] == "AlreadyRecording"
    assert count_starts(cluster, POD) == 0


async def test_auto_leaves_pipelines_alone_that_are_not_feldera_s(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    add_pipeline(cluster, "plain")
    prefer(operator)
    request(cluster, mode="Auto", pipeline="plain")
    assert (await reach_end(operator))["target"]["mode"] == "InPlace"


# -------------------------------------------------------------------------------------------------- ended, killed


async def test_a_cancelled_one_is_not_fetched(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    request(cluster, durationSeconds=60)
    await operator.reach_phase("p-1", "Recording")
    run = next(iter(operator.engine.runs.values()))
    run.stop("discard")
    assert (await reach_end(operator))["phase"] == "Cancelled"
    assert not any(verb == "exec" for verb, _ in cluster.calls)
    assert operator.volume.list_ids() == frozenset()
    request(cluster, "p-2", mode="InPlace")
    assert (await reach_end(operator, "p-2"))["failure"]["reason"] == "AlreadyRecording"


async def test_one_that_is_to_end_early_takes_its_time_and_says_so(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    raw = request(cluster, durationSeconds=2)
    await operator.reach_phase("p-1", "Recording")
    next(iter(operator.engine.runs.values())).stop("keep")
    assert (await reach_end(operator))["phase"] == "Succeeded"
    assert any("end early" in text for text in read_manifest(operator, raw).warnings)


@pytest.mark.parametrize("step", ["Launching", "Recording", "Collecting"])
async def test_a_killed_operator_continues_where_it_was(
    step: str, operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera, client: FelderaClient
) -> None:
    """Feldera is asked once, also if it had begun and the operator died before it knew."""
    settings, root, orders = operator.context.settings, operator.volume.root, feldera.pipelines[0]
    orders.ends_by_itself = step == "Collecting"
    raw = request(cluster)
    if step == "Launching":
        feldera.delay_secs = 0.3
        await operator.reach(lambda: feldera.started)
    else:
        await operator.reach_phase("p-1", step)
    await operator.__aexit__()
    feldera.delay_secs = 0
    async with OperatorProcess(cluster, root, settings, feldera=client) as successor:
        orders.ends_by_itself = True
        await asyncio.sleep(0.5)
        orders.retry_after_secs = None
        status = await reach_end(successor)
        assert status["phase"] == "Succeeded", status
        assert read_manifest(successor, raw).file is not None
    assert feldera.started == [("orders", 0, 1)]
    operator.cluster.watchers.append(operator._see)  # for the fixture


async def test_a_pod_that_was_replaced_meanwhile_is_reported(operator: OperatorProcess, cluster: FakeCluster) -> None:
    request(cluster)
    await operator.reach_phase("p-1", "Recording")
    add_pod(cluster, f"pipeline-{ID}", 0)
    assert (await reach_failure(operator))[0] in {"PodDeleted", "ContainerRestarted"}


# ------------------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"graph": None}, "no dataflow graph", id="no graph"),
        pytest.param({"graph": {"mir": {}}}, "another version", id="of another program"),
        pytest.param({"program_version": 2}, "started anew", id="changed meanwhile"),
    ],
)
async def test_a_profile_without_operator_names_is_kept(
    change: dict[str, Any], says: str, operator: OperatorProcess, cluster: FakeCluster, orders: Pipeline
) -> None:
    raw = request(cluster)
    await operator.reach_phase("p-1", "Recording")
    for name, value in change.items():
        setattr(orders, name, value)
    assert (await reach_end(operator))["phase"] == "Succeeded"
    manifest = read_manifest(operator, raw)
    assert any("no names that people know" in text and says in text for text in manifest.warnings), manifest.warnings
    kept = naming.find_stored_names(operator.volume.root / "profiles" / manifest.id / "profile.json.gz")
    assert kept is not None
    assert says in kept.problem


async def test_a_file_that_opens_after_its_recording_was_cancelled_is_closed(tmp_path: Path) -> None:
    opened: list[pipeline_samply._BoundedFile] = []

    class SlowFile(pipeline_samply._BoundedFile):
        def __init__(self, *arguments: Any) -> None:
            time.sleep(0.2)
            super().__init__(*arguments)
            opened.append(self)

    opening = partial(SlowFile, tmp_path / "profile", 1, VOLUME)
    task = asyncio.create_task(durable.open_in_thread(opening, SlowFile.close))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        while not (opened and opened[0].closed):
            await asyncio.sleep(0.01)
