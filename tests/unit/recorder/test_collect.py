"""From the pod to the volume: copies while pods end and restart, and what is reported of a bad profile."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from samply_operator.errors import KubeDenied, KubeError, KubeNotFound, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.measures import OPERATOR
from samply_operator.model.container import Process
from samply_operator.model.manifest import StoredFile
from samply_operator.model.profile import parse_object
from samply_operator.profiles import ProfileFacts
from samply_operator.recorder.pod import collect
from samply_operator.recorder.pod.finish import Finished
from samply_operator.rules import times
from samply_operator.rules.recording import failures, final_status, preflight, preflight_output
from samply_operator.rules.recording.preflight_estimates import Plan
from samply_operator.rules.recording.record_output import Progress
from samply_operator.settings import Recording, Settings
from support.fake_cluster import Container, FakeCluster
from support.operator_process import NAMESPACE, PROFILES, RECORDED, OperatorProcess, add_pipeline, ask
from support.samples import make_entry

from .test_engine import assert_nothing_left

POD = objects.pods(NAMESPACE, "pipeline-a-0")
AWAY = KubeNotFound('The container doesn\'t run: container not found ("pipeline")')


def is_copy(verb: str, what: str) -> bool:
    return verb == "exec" and what.startswith("dd ")


def break_copies(act: Callable[[], KubeError | None], times: int = 10**9) -> Callable[[str, str], KubeError | None]:
    """The first copies meet this."""
    left = times

    def fault(verb: str, what: str) -> KubeError | None:
        nonlocal left
        if not is_copy(verb, what) or left <= 0:
            return None
        left -= 1
        return act()

    return fault


@pytest.mark.parametrize("times", [1, 4])
async def test_a_container_that_is_not_found_for_a_moment_costs_nothing(
    operator: OperatorProcess, cluster: FakeCluster, times: int
) -> None:
    """A kubelet that has just been restarted reports this of running containers."""
    add_pipeline(cluster)
    cluster.fault = break_copies(lambda: AWAY, times)
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status
    await operator.reach_rest()
    assert_nothing_left(operator)


async def test_the_copy_is_retried_if_the_containers_state_is_unknown(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The API server is unavailable while the container isn't found."""
    add_pipeline(cluster)
    is_broken = break_copies(lambda: AWAY, 2)
    cluster.fault = lambda verb, what: (
        (
            KubeUnavailable("503")
            if (verb, what) == ("get", POD) and any(is_copy(*c) for c in cluster.calls[-3:])
            else None
        )
        or is_broken(verb, what)
    )
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status


async def test_a_pod_deleted_during_the_copy_is_the_reason(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Not as a copy that failed."""
    add_pipeline(cluster)

    def delete() -> KubeError:
        if POD in cluster.objects:
            cluster.remove(POD)
        return KubeNotFound('pods "pipeline-a-0" not found')

    cluster.fault = break_copies(delete)
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == "PodDeleted"


@pytest.mark.parametrize("is_found", [False, True], ids=["it isn't there yet", "its successor has no such file"])
async def test_a_container_restarted_during_the_copy_is_the_reason(
    operator: OperatorProcess, cluster: FakeCluster, is_found: bool
) -> None:
    """Whether the session finds nothing, or a container that knows nothing of the file."""
    (container,) = add_pipeline(cluster)

    def restart() -> KubeError | None:
        raw = cluster.objects[POD]
        raw["status"]["containerStatuses"][0]["containerID"] = "containerd://another"
        for path in container.folder.glob(".samply*/profile*"):
            path.unlink()
        return None if is_found else AWAY

    cluster.fault = break_copies(restart)
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == "ContainerRestarted"


class TestDeadline:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(recording=Recording(min_free_bytes=1, min_coverage=0, copy_deadline_secs=1))

    async def test_a_policy_that_refuses_the_copy_is_the_reason(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """And the file is kept as well."""
        (container,) = add_pipeline(cluster)
        cluster.fault = break_copies(lambda: KubeDenied("closed for lunch"))
        ask(cluster)
        failure = (await operator.reach_phase("p-1", "Succeeded", "Failed"))["failure"]
        assert (failure["reason"], "closed for lunch" in failure["message"]) == ("AdmissionRefused", True)
        await operator.reach(lambda: not operator.engine.runs)
        assert list(container.folder.glob(".samply*/profile.json.gz"))

    async def test_a_container_that_runs_and_is_never_found_ends_it_at_the_deadline(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """Then the file is kept in the pod for its time to live."""
        (container,) = add_pipeline(cluster)
        cluster.fault = break_copies(lambda: AWAY)
        ask(cluster)
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert status["failure"]["reason"] == "TransferFailed"
        assert "container not found" in status["failure"]["message"]
        await operator.reach(lambda: not operator.engine.runs)
        assert list(container.folder.glob(".samply*/profile.json.gz"))


async def test_a_profile_that_cannot_be_read_is_stored_and_not_called_good(
    operator: OperatorProcess, cluster: FakeCluster, tmp_path: Path
) -> None:
    """Its verdict is a word, its file is what samply wrote, and it is the ordinal's last good one: nothing is lost."""
    written = tmp_path / "odd.json.gz"
    written.write_bytes(gzip.compress(b'{"meta": "of another age"}'))
    add_pipeline(cluster, profile=str(written), sidecar="")
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert (status["phase"], status["profile"]["verdict"]) == ("Succeeded", "Unread")
    assert {c["type"]: c["reason"] for c in status["conditions"]}["Stored"] == "Unread"
    assert any("as samply wrote it" in warning for warning in status["warnings"])
    with operator.volume.open_profile(status["profile"]["id"]) as stored:
        assert stored.readall() == written.read_bytes()
    await operator.reach(lambda: operator.engine.retention.catalog.find_last_good(NAMESPACE, "a", 0))


WHOLE = (PROFILES / "demo-v55.json.gz").read_bytes()


@pytest.mark.parametrize(
    "data",
    [WHOLE[:-200], WHOLE[: len(WHOLE) // 2] + b"\0" * 5000, b"", b"\x1f", b"\0" * 900, WHOLE[:-8] + b"\0" * 8],
    ids=["cut off", "broken", "empty", "one byte", "zeros", "a wrong sum"],
)
async def test_half_a_file_is_no_profile(
    operator: OperatorProcess, cluster: FakeCluster, tmp_path: Path, data: bytes
) -> None:
    """It never hides the last good one, whatever let samply end while it wrote."""
    written = tmp_path / "half.json.gz"
    written.write_bytes(data)
    add_pipeline(cluster, profile=str(written))
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == "NoProfileWritten"
    await operator.reach_rest()
    assert_nothing_left(operator)


async def test_half_a_sidecar_costs_the_names_alone(
    operator: OperatorProcess, cluster: FakeCluster, tmp_path: Path
) -> None:
    """The profile was there before it, with all its samples; their number is known."""
    written = tmp_path / "half.syms.json"
    sidecar = (PROFILES / "demo-v55.syms.json").read_bytes()
    written.write_bytes(sidecar[: len(sidecar) // 2])
    add_pipeline(cluster, sidecar=str(written))
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert (status["phase"], status["profile"]["verdict"]) == ("Succeeded", "Idle"), status  # it was counted
    assert status["profile"]["samples"] > 0
    assert any(warning.startswith("Without names: ") for warning in status["warnings"])


@pytest.mark.parametrize("cpu_ticks", [None, 0, 1000], ids=["unknown", "idle", "busy"])
def test_what_could_not_be_read_has_one_verdict(operator: OperatorProcess, cpu_ticks: int | None) -> None:
    """However much the process did."""
    progress = Progress(ticks_before=0, ticks_after=cpu_ticks)
    finished = Finished(Path("x"), StoredFile(1, "ab" * 32), None, ())
    assert collect.build_manifest(operator.context, make_entry(), progress, finished).quality.verdict == "Unread"


FILE = StoredFile(1, "ab" * 32)
EMPTY = ProfileFacts(
    version=55, product="", samples=0, empty_samples=0, threads=1, symbolicated=False, interval_ms=1.0, duration_ms=0,
    started_at_ms=0, cpu_ms=None, unresolved_percent=None, unresolved_by_lib=(), raw_bytes=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "quota_cpus", "words"),
    [
        ("InPlace", 2.0, "use mode Ephemeral"),
        ("InPlace", None, failures.REMEDIES["EmptyProfile"]),
        ("BringOwn", 2.0, failures.REMEDIES["EmptyProfile"]),
    ],
    ids=["its samply was blind", "it saw all", "it sees all under any limit"],
)
def test_an_empty_profile_has_numbers_and_the_cure(
    operator: OperatorProcess, mode: str, quota_cpus: float | None, words: str
) -> None:
    """The warning of preflight is the cause; the CPU time shows that the process was not idle. Nothing is kept."""
    seen = replace(preflight_output.parse_facts(""), online_cpus=8, allowed_cpus=8, quota_cpus=quota_cpus)
    process = Process(7, 1, "S", 4, 900, 1, 1, "pipeline")
    verdict = preflight.decide(seen, Plan(process, 30, 1000, 0))
    assert ("BlindCpus" in {finding.reason for finding in verdict.findings}) == (quota_cpus is not None)
    entry = make_entry(mode=mode, warnings=verdict.warnings)
    progress = Progress(ticks_before=0, ticks_after=1000, lost_events=0)
    manifest = collect.build_manifest(operator.context, entry, progress, Finished(Path("x"), FILE, EMPTY, ()))
    assert manifest.failure is not None
    assert manifest.failure.reason == "EmptyProfile"
    assert "10.00 s of CPU time" in manifest.failure.message
    assert words in manifest.failure.remedy
    assert (manifest.outcome, manifest.file) == ("Failed", None)
    quality = manifest.quality
    assert (quality.samples, quality.coverage, quality.cpu_secs) == (0, 0.0, 10.0)


@pytest.mark.parametrize(
    ("within", "share", "warns"),
    [
        pytest.param((("7", 10_000),), 1.0, False, id="all of the window"),
        pytest.param((("7", 8000),), 0.8, False, id="what came before and after it can't hide what is missing"),
        pytest.param((), 1.0, True, id="another clock: all count, and an excess is reported"),
    ],
)
def test_coverage_is_of_the_time_in_which_cpu_time_was_measured(
    operator: OperatorProcess, within: tuple[tuple[str, int], ...], share: float, warns: bool
) -> None:
    """A busy machine reads the CPU time late, and lets the SIGINT wait: samples go on being taken meanwhile."""
    progress = Progress(recording_at=100.0, ticks_before=50, stopping_at=110.0, ticks_after=1050)
    facts = replace(EMPTY, samples=13_300, samples_by_pid=(("7", 13_300),), within_by_pid=within)
    manifest = collect.build_manifest(operator.context, make_entry(), progress, Finished(Path("x"), FILE, facts, ()))
    assert (manifest.quality.samples, manifest.quality.coverage) == (13_300, share)
    assert (collect.EXCESS in manifest.warnings) == warns


@pytest.mark.parametrize(
    ("marks", "sampling", "finishing"),
    [
        pytest.param((1_000_000, 3_500_000, 3_600_000), 2.5, 0.1, id="to the end"),
        pytest.param((1_000_000, 3_500_000), 2.5, None, id="its end isn't known"),
        pytest.param((1_000_000,), None, None, id="nor when sampling ended"),
        pytest.param((5, 1, 1), 0.0, 0.0, id="another cgroup counts now"),
    ],
)
def test_throttling_by_the_cpu_limit_is_reported(
    operator: OperatorProcess, marks: tuple[int, ...], sampling: float | None, finishing: float | None
) -> None:
    """During sampling, and while samply wrote the file."""
    progress = Progress(ticks_before=0, ticks_after=1000, throttled_usecs=marks)
    quality = collect.build_manifest(
        operator.context, make_entry(), progress, Finished(Path("x"), FILE, EMPTY, ())
    ).quality
    assert (quality.throttled_secs, quality.throttled_finishing_secs) == (sampling, finishing)


async def test_the_object_of_an_empty_profile_has_its_numbers(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """They are all that is left of it; the object has its time to live as any failed one."""
    (container,) = add_pipeline(cluster, is_busy=True)
    take_nothing(container, operator.volume.root)
    before = count_recordings()
    raw = ask(cluster, durationSeconds=4)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == "EmptyProfile"
    assert (status["profile"]["samples"], status["profile"]["coverage"]) == (0, 0.0)
    assert status["profile"]["cpuSeconds"] > 0
    assert "id" not in status["profile"]
    assert (status["target"]["mode"], status["target"]["pod"]) == ("InPlace", "pipeline-a-0")
    await operator.reach_rest()
    (manifest,) = operator.volume.read_manifests().items
    assert (manifest.id, manifest.file, manifest.quality.samples) == (raw["metadata"]["uid"], None, 0)
    assert count_recordings() == before + 1
    shown = parse_object(cluster.objects[objects.samply_profiles(NAMESPACE, "p-1")])
    assert final_status.is_expired(shown, times.parse_time(status["finishedAt"]) + 11, 10)


def take_nothing(container: Container, folder: Path) -> None:
    """samply writes a profile without a sample."""
    profile = json.loads(gzip.decompress(Path(str(RECORDED["profile"])).read_bytes()))
    for thread in profile["threads"]:
        columns = thread["samples"]
        thread["samples"] = {k: [] if isinstance(v, list) else v for k, v in columns.items()} | {"length": 0}
    path = folder / "empty.json.gz"
    path.write_bytes(gzip.compress(json.dumps(profile).encode()))
    behaviour = RECORDED | {"profile": str(path), "sidecar": "", "symbol_flag": ""}
    (Path(container.path.partition(":")[0]) / "behaviour").write_text(json.dumps(behaviour))


def count_recordings() -> float:
    """Those whose coverage was measured."""
    return OPERATOR.get_sample_value("samply_operator_coverage_ratio_count", {"mode": "InPlace"}) or 0.0
