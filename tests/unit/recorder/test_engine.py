"""Whole recordings without a cluster: the engine over a fake API server, with the real scripts in real shells."""

from __future__ import annotations

import copy
import gzip
import signal
import subprocess
from pathlib import Path

import pytest

from samply_operator.errors import KubeNotFound, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.recorder.pod import script_calls
from samply_operator.settings import Recording, Settings
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, RECORDED, OperatorProcess, add_pipeline, add_pod, ask
from support.shells import put_samply

POD = "pipeline-a-0"


def assert_nothing_left(operator: OperatorProcess) -> None:
    """No file in any container, no stopped target, nothing in the journal or among the temporary files."""
    for container in operator.cluster.containers.values():
        assert list(container.folder.iterdir()) == []
        if container.target.poll() is None:
            assert Path(f"/proc/{container.target.pid}/stat").read_text().rpartition(") ")[2][0] in "SR"
    assert list((operator.volume.root / "journal").iterdir()) == []
    assert list((operator.volume.root / "tmp").iterdir()) == []


def count_starts(cluster: FakeCluster, pod: str = POD) -> int:
    noted = Path(cluster.containers[NAMESPACE, pod].path.partition(":")[0]) / "starts"
    return len(noted.read_text().splitlines()) if noted.exists() else 0


async def test_a_profile_is_recorded_stored_and_reported(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """From the object to the file."""
    (container,) = add_pipeline(cluster, is_busy=True)
    raw = ask(cluster, durationSeconds=2)
    status = await operator.reach_phase("p-1", "Recording")
    assert status["target"]["pod"] == POD
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status
    await operator.reach_rest()
    manifest = operator.volume.read_manifest(raw["metadata"]["uid"])
    assert manifest is not None
    assert manifest.file is not None
    assert (status["profile"]["sha256"], status["profile"]["samples"]) == (manifest.file.sha256, 465)
    with operator.volume.open_profile(manifest.id) as file:
        assert b'"symbolicated":true' in gzip.decompress(file.read())
    assert (manifest.target.pid, manifest.target.pod) == (container.target.pid, POD)
    assert manifest.quality.cpu_secs
    assert {path.name for path in (operator.volume.root / "profiles" / manifest.id).iterdir()} == {
        "manifest.json", "profile.json.gz"
    }  # fmt: skip
    assert operator.list_events("p-1") == operator.list_events(POD) == ["Recording", "Stored"]
    assert_nothing_left(operator)


@pytest.mark.parametrize(
    ("behaviour", "paranoid"),
    [
        pytest.param({"version": "samply 0.13.1", "symbol_flag": "--unstable-presymbolicate"}, "1", id="0.13.1"),
        pytest.param({"version": "samply 0.13.2", "symbol_flag": "--presymbolicate"}, "2", id="Feldera's fork"),
        pytest.param({"version": "samply 0.13.1", "symbol_flag": "--presymbolicate"}, "2", id="upstream's main"),
    ],
)
async def test_each_samply_is_driven_by_what_it_offers(
    operator: OperatorProcess, cluster: FakeCluster, behaviour: dict[str, object], paranoid: str
) -> None:
    """Not by its version; the newer ones ask the kernel, whatever its setting is. They refuse each other's flag."""
    (container,) = add_pipeline(cluster, **behaviour)
    container.facts["paranoid"] = paranoid
    raw = ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status
    await operator.reach_rest()
    manifest = operator.volume.read_manifest(raw["metadata"]["uid"])
    assert manifest is not None
    assert f"samply {manifest.target.samply_version}" == behaviour["version"]
    assert_nothing_left(operator)


async def test_the_status_says_which_libraries_have_no_names(operator: OperatorProcess, cluster: FakeCluster) -> None:
    add_pipeline(cluster, is_busy=True)
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    shares = status["profile"]["unresolvedByLibrary"]
    assert set(shares) == {"libc.so.6"}
    assert 0 < shares["libc.so.6"] <= 100


async def test_what_samply_wrote_is_kept_where_that_is_wanted(cluster: FakeCluster, tmp_path: Path) -> None:
    """Both files, as they were."""
    settings = Settings(recording=Recording(min_free_bytes=1, min_coverage=0, keep_raw=True))
    async with OperatorProcess(cluster, tmp_path / "kept", settings) as operator:
        add_pipeline(cluster, is_busy=True)
        raw = ask(cluster)
        await operator.reach_phase("p-1", "Succeeded", "Failed")
        await operator.reach_rest()
        with operator.volume.open_extra(raw["metadata"]["uid"], "raw.json.gz") as file:
            assert b'"symbolicated":false' in gzip.decompress(file.read())
        with operator.volume.open_extra(raw["metadata"]["uid"], "raw.syms.json") as file:
            assert file.read().startswith(b'{"string_table"')


async def test_an_idle_pipeline_is_a_success_that_says_so(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Few samples are what was due."""
    add_pipeline(cluster)
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert (status["phase"], status["profile"]["verdict"]) == ("Succeeded", "Idle")


async def test_what_preflight_finds_ends_it_before_samply_is_started(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """With the reason and its cure."""
    (container,) = add_pipeline(cluster)
    container.facts["paranoid"] = "2"
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == "PerfEventParanoid"
    assert "sysctl" in status["failure"]["remedy"]
    await operator.reach_rest()
    assert count_starts(cluster) == 0
    assert operator.list_events("p-1") == ["PerfEventParanoid"]
    assert_nothing_left(operator)


@pytest.mark.parametrize(("paranoid", "phase"), [("1", "Succeeded"), ("2", "Failed")])
async def test_a_preflight_alone_records_nothing_and_is_no_attempt(
    operator: OperatorProcess, cluster: FakeCluster, paranoid: str, phase: str
) -> None:
    """It ends as it would go, and leaves no manifest."""
    (container,) = add_pipeline(cluster)
    container.facts["paranoid"] = paranoid
    ask(cluster, preflightOnly=True)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == phase
    await operator.reach_rest()
    assert count_starts(cluster) == 0
    assert operator.volume.list_ids() == frozenset()
    assert_nothing_left(operator)


async def test_a_refusal_of_samply_is_reported_in_its_words(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """A failure leaves a manifest, so that it can be reported after a restart; and nothing in the pod."""
    add_pipeline(cluster, refuses="Failed to start profiling: Operation not permitted (os error 1)")
    raw = ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == "PerfNotPermitted"
    assert "os error 1" in status["failure"]["log"]
    await operator.reach_rest()
    manifest = operator.volume.read_manifest(raw["metadata"]["uid"])
    assert manifest is not None
    assert manifest.failure is not None
    assert (manifest.outcome, manifest.failure.reason) == ("Failed", "PerfNotPermitted")
    assert_nothing_left(operator)


NO_ADMIN = f"{(1 << 41) - 1 & ~(1 << 21):016x}"
UBUNTU = {"paranoid": "4", "kernel": "Linux version 6.8.0-1021-azure (buildd@x) #23-Ubuntu SMP", "capeff": NO_ADMIN}


@pytest.mark.parametrize("refuses", ["", "Failed to start profiling: Permission denied (os error 13)"])
async def test_an_ubuntu_kernel_decides_itself_whether_perfmon_is_enough(
    refuses: str, operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Whatever it decides, the result has the warning, and a refusal the setting that cures it."""
    (container,) = add_pipeline(cluster, refuses=refuses, symbol_flag="--presymbolicate")
    container.facts |= UBUNTU | {"flags": "--pid --save-only --rate --duration --output --presymbolicate"}
    ask(cluster, mode="InPlace")
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    (finding,) = status["preflight"]["findings"]
    assert (finding["reason"], finding["severity"]) == ("PerfMayBeRestricted", "warn")
    if refuses:
        assert status["failure"]["reason"] == "PerfNotPermitted"
        assert "sysctl kernel.perf_event_paranoid=2" in status["failure"]["remedy"]
        assert "Use mode Ephemeral" not in status["failure"]["remedy"]  # its container has no more than PERFMON
    else:
        assert status["phase"] == "Succeeded", status
        assert finding["message"] in status["warnings"]
    await operator.reach_rest()
    assert_nothing_left(operator)


async def test_a_stop_ends_it_early_and_keeps_what_was_recorded(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The annotation, whenever it comes."""
    add_pipeline(cluster)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    path = objects.samply_profiles(NAMESPACE, "p-1")
    await cluster.patch(path, {"metadata": {"annotations": {names.STOP: "keep"}}})
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status
    await operator.reach_rest()
    assert_nothing_left(operator)


async def test_a_stop_that_was_there_from_the_beginning_gives_a_short_profile(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """It isn't forgotten before the recording runs."""
    add_pipeline(cluster)
    ask(cluster, durationSeconds=600, annotations={names.STOP: "keep"})
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"


async def test_deleting_the_object_cancels_the_recording(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """At once; nothing is kept, the pipeline continues."""
    add_pipeline(cluster, write_secs=600)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    await cluster.delete(objects.samply_profiles(NAMESPACE, "p-1"))
    await operator.reach_rest()
    assert operator.volume.list_ids() == frozenset()
    assert_nothing_left(operator)


async def test_deleting_the_object_before_it_records_cancels_it_too(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Even during the attach."""
    add_pipeline(cluster, attach_secs=0.5)
    ask(cluster, durationSeconds=600)
    await operator.reach(lambda: operator.engine.runs)
    await cluster.delete(objects.samply_profiles(NAMESPACE, "p-1"))
    await operator.reach_rest()
    assert operator.volume.list_ids() == frozenset()
    assert_nothing_left(operator)


async def test_deleting_the_object_of_a_stored_profile_removes_its_file(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Its deletion was seen."""
    add_pipeline(cluster)
    ask(cluster)
    await operator.reach_phase("p-1", "Succeeded")
    await operator.reach_rest()
    assert len(operator.volume.list_ids()) == 1
    await cluster.delete(objects.samply_profiles(NAMESPACE, "p-1"))
    await operator.reach(lambda: not operator.volume.list_ids())


async def test_of_two_at_the_same_time_one_is_admitted(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """The other one is refused and names the first."""
    add_pipeline(cluster)
    for name in ("p-1", "p-2", "p-3"):
        ask(cluster, name)
    statuses = [await operator.reach_phase(name, "Succeeded", "Failed") for name in ("p-1", "p-2", "p-3")]
    assert sorted(status["phase"] for status in statuses) == ["Failed", "Failed", "Succeeded"]
    refused = [status["failure"] for status in statuses if status["phase"] == "Failed"]
    assert [failure["reason"] for failure in refused] == ["AlreadyRecording"] * 2
    assert count_starts(cluster) == 1


async def test_a_preflight_that_takes_long_keeps_no_recording_from_its_target(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Such as one whose pod wasn't reached for a while. That samply stops the process while it attaches is not reported
    as a stopped process."""
    add_pipeline(cluster, attach_secs=2)
    cluster.fault = lambda verb, what: KubeUnavailable("away") if verb == "exec" else None
    ask(cluster, "p-1", preflightOnly=True)
    await operator.reach(lambda: any(run.trouble for run in operator.engine.runs.values()))
    ask(cluster, "p-2")
    await operator.reach(lambda: len(operator.engine.runs) == 2)
    cluster.fault = lambda verb, what: None
    for name in ("p-1", "p-2"):
        status = await operator.reach_phase(name, "Succeeded", "Failed")
        assert status["phase"] == "Succeeded", status
    assert count_starts(cluster) == 1


async def test_ordinals_are_recorded_side_by_side(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """They are different targets."""
    add_pipeline(cluster, ordinals=2)
    ask(cluster, "p-1", ordinal=0)
    ask(cluster, "p-2", ordinal=1)
    await operator.reach(lambda: len(operator.engine.runs) == 2)
    for name in ("p-1", "p-2"):
        assert (await operator.reach_phase(name, "Succeeded", "Failed"))["phase"] == "Succeeded"


class TestLimited:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(recording=Recording(min_free_bytes=1, max_concurrent=1, min_coverage=0))

    async def test_beyond_the_limit_it_waits_and_says_so(self, operator: OperatorProcess, cluster: FakeCluster) -> None:
        """And begins as soon as another one has ended."""
        add_pipeline(cluster, ordinals=2)
        ask(cluster, "p-1", ordinal=0, durationSeconds=2)
        await operator.reach_phase("p-1", "Recording")
        ask(cluster, "p-2", ordinal=1)
        status = await operator.reach_phase("p-2", "Pending")
        assert status["conditions"][0]["reason"] == "Waiting"
        assert (await operator.reach_phase("p-2", "Succeeded", "Failed"))["phase"] == "Succeeded"
        assert operator.find_status("p-1")["phase"] == "Succeeded"

    async def test_of_several_that_wait_the_oldest_is_first(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """Whatever their names and the order of their events."""
        add_pipeline(cluster, ordinals=4)
        ask(cluster, "p-1", ordinal=0, durationSeconds=2)
        await operator.reach_phase("p-1", "Recording")
        for ordinal, (name, second) in enumerate([("a-third", 3), ("b-first", 1), ("c-second", 2)], 1):
            raw = ask(cluster, name, ordinal=ordinal)
            raw["metadata"]["creationTimestamp"] = f"2027-01-15T08:00:0{second}Z"
            cluster.put(objects.samply_profiles(NAMESPACE, name), raw)
            await operator.reach_phase(name, "Pending")
        for name in ("a-third", "b-first", "c-second"):
            assert (await operator.reach_phase(name, "Succeeded", "Failed"))["phase"] == "Succeeded"
        began = {name: operator.find_status(name)["startedAt"] for name in ("b-first", "c-second", "a-third")}
        assert sorted(began, key=lambda name: began[name]) == ["b-first", "c-second", "a-third"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"pipeline": "b"}, "UnknownPipeline"),
        ({"ordinal": 5}, "UnknownOrdinal"),
        ({"container": "x"}, "UnknownContainer"),
    ],
)
async def test_unresolvable_requests_are_refused(
    operator: OperatorProcess, cluster: FakeCluster, spec: dict[str, object], reason: str
) -> None:
    """A refusal is not an attempt: no manifest, but an Event with the remedy."""
    add_pipeline(cluster)
    ask(cluster, **spec)
    status = await operator.reach_phase("p-1", "Failed")
    assert status["failure"]["reason"] == reason
    assert {c["type"]: c["status"] for c in status["conditions"]}["Finished"] == "True"
    await operator.reach(lambda: operator.list_events("p-1") == [reason])
    assert operator.volume.list_ids() == frozenset()


async def test_an_object_that_ended_is_left_alone(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """However often it is looked at."""
    add_pipeline(cluster)
    ask(cluster)
    await operator.reach_phase("p-1", "Succeeded")
    await operator.reach_rest()
    before = cluster.objects[objects.samply_profiles(NAMESPACE, "p-1")]
    await operator.engine.sweep()
    await operator.engine.reconcile((NAMESPACE, "p-1"))
    assert cluster.objects[objects.samply_profiles(NAMESPACE, "p-1")] == before
    assert count_starts(cluster) == 1


async def test_a_missing_final_status_is_written_later(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """As for an object from a backup: the manifest is used, and nothing is recorded again."""
    add_pipeline(cluster)
    raw = ask(cluster)
    told = await operator.reach_phase("p-1", "Succeeded")
    await operator.reach_rest()
    cluster.put(objects.samply_profiles(NAMESPACE, "p-1"), raw | {"status": {}})
    status = await operator.reach_phase("p-1", "Succeeded")
    assert status["profile"] == told["profile"]
    assert count_starts(cluster) == 1


async def test_a_container_that_restarts_meanwhile_ends_it_with_that_reason(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Not with a guess."""
    add_pipeline(cluster, no_file=True)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    pod = cluster.objects[objects.pods(NAMESPACE, POD)]
    pod["status"]["containerStatuses"][0]["containerID"] = "containerd://another"
    cluster.put(objects.pods(NAMESPACE, POD), pod)
    cluster.containers[NAMESPACE, POD].target.send_signal(signal.SIGKILL)
    cluster.containers[NAMESPACE, POD].target.wait()
    status = await operator.reach_phase("p-1", "Failed", "Succeeded")
    assert status["failure"]["reason"] == "ContainerRestarted"


async def test_leftovers_in_a_pod_volume_are_removed_after_a_container_restart(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """An emptyDir outlives its containers. No other Lease waits for the cleaning."""
    (container,) = add_pipeline(cluster, no_file=True)
    path = objects.pods(NAMESPACE, POD)
    pod = cluster.objects[path]
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "room", "mountPath": str(container.folder)}]
    cluster.put(path, pod)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    is_down = True
    script = script_calls.read_script("clean.sh")
    cluster.fault = lambda verb, what: KubeNotFound("back-off") if is_down and script in what else None
    pod = cluster.objects[path]
    pod["status"]["containerStatuses"][0]["containerID"] = "containerd://another"
    cluster.put(path, pod)
    container.target.send_signal(signal.SIGKILL)
    container.target.wait()
    await operator.reach_phase("p-1", "Failed", "Succeeded")
    await operator.reach(lambda: not operator.engine.runs and not list(cluster.find("/leases/")))
    await operator.engine.sweep()
    assert list(container.folder.iterdir())
    is_down = False
    await operator.engine.sweep()
    assert_nothing_left(operator)
    assert not list(container.folder.iterdir())


def restart(cluster: FakeCluster, **state: object) -> None:
    """Its process is another one; the folder is the same, as where a launch came just after it."""
    container = cluster.containers[NAMESPACE, POD]
    container.target.send_signal(signal.SIGKILL)
    container.target.wait()
    container.target = cluster.spawn("sleep", "600", stdin=subprocess.DEVNULL)
    path = objects.pods(NAMESPACE, POD)
    pod = copy.deepcopy(cluster.objects[path])
    pod["status"]["containerStatuses"][0] |= {"containerID": f"containerd://{container.target.pid}"} | state
    cluster.put(path, pod)


async def test_a_container_that_restarts_before_anything_was_done_in_it_is_simply_recorded(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Between its admission and the preflight."""
    (container,) = add_pipeline(cluster)
    restarts: list[str] = []

    def fault(verb: str, what: str) -> None:
        if verb == "create done" and "/leases" in what and not restarts:
            restarts.append(what)
            restart(cluster)

    cluster.fault = fault
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert (status["phase"], len(restarts)) == ("Succeeded", 1), status
    pid = container.target.pid
    assert (status["target"]["containerId"], status["target"]["pid"]) == (f"containerd://{pid}", pid)
    await operator.reach_rest()
    assert_nothing_left(operator)


@pytest.mark.parametrize(
    ("script", "phase"), [("preflight.sh", "Succeeded"), ("record.sh", "Failed")], ids=["preflight", "launch"]
)
async def test_what_reached_a_container_that_had_just_restarted_is_cleaned_there(
    operator: OperatorProcess, cluster: FakeCluster, script: str, phase: str
) -> None:
    """No volume keeps the folder: the launch itself came after the restart, for the old process or the new one."""
    add_pipeline(cluster)
    restarts: list[str] = []
    text = script_calls.read_script(script)

    def fault(verb: str, what: str) -> None:
        if verb == "exec" and text in what and not restarts:
            restarts.append(what)
            restart(cluster)

    cluster.fault = fault
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert (status["phase"], len(restarts)) == (phase, 1), status
    assert status.get("failure", {}).get("reason") == ("ContainerRestarted" if phase == "Failed" else None)
    await operator.reach_rest()
    assert_nothing_left(operator)
    clean = script_calls.read_script("clean.sh")
    assert sum(verb == "exec" and clean in what for verb, what in cluster.calls) == 1


async def test_in_a_container_that_runs_no_more_nothing_is_to_be_cleaned(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """What was in it is gone, and its journal entry doesn't wait for it to run again."""
    add_pipeline(cluster, no_file=True)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    restart(cluster, state={"waiting": {"reason": "CrashLoopBackOff"}})
    assert (await operator.reach_phase("p-1", "Failed", "Succeeded"))["failure"]["reason"] == "ContainerRestarted"
    await operator.reach_rest()
    clean = script_calls.read_script("clean.sh")
    assert not any(verb == "exec" and clean in what for verb, what in cluster.calls)


async def test_a_pod_that_is_replaced_meanwhile_ends_it_with_that_reason(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """And its successor can be profiled at once."""
    add_pipeline(cluster, no_file=True)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    old = cluster.containers[NAMESPACE, POD]
    add_pod(cluster, "pipeline-a", 0)
    old.target.send_signal(signal.SIGKILL)
    old.target.wait()
    status = await operator.reach_phase("p-1", "Failed", "Succeeded")
    assert status["failure"]["reason"] == "PodDeleted"
    ask(cluster, "p-2")
    assert (await operator.reach_phase("p-2", "Succeeded", "Failed"))["phase"] == "Succeeded"


async def test_the_next_recording_of_the_same_target_works(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Also after a failure; each has its own file."""
    (container,) = add_pipeline(cluster, refuses="Operation not permitted")
    ask(cluster, "p-1")
    await operator.reach_phase("p-1", "Failed")
    await operator.reach_rest()
    put_samply(Path(container.path.partition(":")[0]), **RECORDED)
    ask(cluster, "p-2")
    assert (await operator.reach_phase("p-2", "Succeeded", "Failed"))["phase"] == "Succeeded"
    await operator.reach_rest()
    assert len(operator.volume.list_ids()) == 2
    assert_nothing_left(operator)


async def test_taking_the_volume_makes_the_api_reread_it(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """An earlier process may have stored a profile after the api, which starts at the same time, had read all."""
    assert operator.changes.store_generation == 1
