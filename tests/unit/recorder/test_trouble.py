"""Recordings during failures: of sessions, the API server, rights, the disk."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from samply_operator.errors import (
    ExecFailed,
    KubeError,
    KubeForbidden,
    KubeNotFound,
    KubeUnavailable,
    StoreError,
    StoreFull,
)
from samply_operator.kube import objects
from samply_operator.recorder.pod import follow, script_calls
from samply_operator.rules import times
from samply_operator.settings import Recording, Retention, Settings
from samply_operator.store.volume import Volume
from support.fake_cluster import FakeCluster, no_fault
from support.operator_process import NAMESPACE, RECORDED, OperatorProcess, add_pipeline, ask

from .test_engine import POD, assert_nothing_left, count_starts

RECORD = script_calls.read_script("record.sh")


def fail(is_meant: Callable[[str, str], bool], error: KubeError, times: int = 10**9) -> Callable[[str, str], Any]:
    """A fault for the first `times` calls that are meant."""
    left = times

    def fault(verb: str, what: str) -> KubeError | None:
        nonlocal left
        if left > 0 and is_meant(verb, what):
            left -= 1
            return error
        return None

    return fault


@pytest.mark.parametrize("after_bytes", [0, 3, 60], ids=["before its first word", "within a word", "while it records"])
async def test_a_session_that_breaks_is_adopted(
    operator: OperatorProcess, cluster: FakeCluster, after_bytes: int
) -> None:
    """The pod continues; samply is started once, and the profile is collected as usual."""
    add_pipeline(cluster)
    cluster.cuts = [after_bytes]
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status
    assert status["startedAt"]
    await operator.reach_rest()
    assert count_starts(cluster) == 1
    assert_nothing_left(operator)


def find_state(pid: int) -> str:
    """Z: not reaped yet; on this machine the parent of orphans may be slow."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return ""


def kill_shells(folder: Path) -> None:
    """All processes in the recording's folder but samply: then nothing in the pod ends the recording."""
    samply = int((folder / "samply").read_text().split()[0])
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            pid = int(link.parent.name)
            if pid != samply and link.readlink() == folder:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("behaviour", "signals"), [({}, ["SIGINT"]), ({"write_secs": -1}, ["SIGINT"])], ids=["it writes", "it never ends"]
)
async def test_a_recording_whose_shell_was_killed_is_ended_all_the_same(
    operator: OperatorProcess,
    cluster: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: dict[str, Any],
    signals: list[str],
) -> None:
    """Else samply would grow for ever; what it wrote isn't known, so it is a failure."""
    monkeypatch.setattr(follow, "OVERDUE_SECS", 0.5)
    settings = operator.context.settings
    limits = msgspec.structs.replace(settings.recording, finish_deadline_secs=1)
    operator.change_context(settings=msgspec.structs.replace(settings, recording=limits))
    (container,) = add_pipeline(cluster, **behaviour)
    ask(cluster, durationSeconds=2)
    await operator.reach_phase("p-1", "Recording")
    (folder,) = container.folder.iterdir()
    await operator.reach((folder / "samply").exists)
    samply = int((folder / "samply").read_text().split()[0])
    kill_shells(folder)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == "NoProfileWritten"
    await operator.reach_rest()
    noted = (Path(container.path.partition(":")[0]) / "signals").read_text().splitlines()
    assert [line.split()[-1] for line in noted] == signals
    assert find_state(samply) in {"", "Z"}
    assert_nothing_left(operator)


async def test_a_recording_whose_shell_was_killed_before_its_start_fails(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in the pod reports when it records, or ends it."""
    monkeypatch.setattr(follow, "OVERDUE_SECS", 0.5)
    settings = operator.context.settings
    limits = msgspec.structs.replace(settings.recording, attach_deadline_secs=2)
    operator.change_context(settings=msgspec.structs.replace(settings, recording=limits))
    (container,) = add_pipeline(cluster, attach_secs=1)
    ask(cluster, durationSeconds=600)
    await operator.reach(lambda: list(container.folder.glob(".samply-operator-*/timer")))
    (folder,) = container.folder.iterdir()
    samply = int((folder / "samply").read_text().split()[0])
    kill_shells(folder)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == "SamplyFailed"
    await operator.reach_rest()
    assert find_state(samply) in {"", "Z"}
    assert find_state(container.target.pid) in {"S", "R"}
    assert_nothing_left(operator)


async def test_a_partial_copy_of_a_cancelled_recording_is_removed(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """From the volume, at once."""
    add_pipeline(cluster)
    copies = 0

    def cut(verb: str, what: str) -> ExecFailed | None:
        nonlocal copies
        copies += verb == "exec" and what.startswith("dd ")
        return ExecFailed("cut") if copies > 1 and what.startswith("dd ") else None

    cluster.fault = cut
    ask(cluster)
    await operator.reach(lambda: copies > 1)
    await cluster.delete(objects.samply_profiles(NAMESPACE, "p-1"))
    cluster.fault = lambda verb, what: None
    await operator.reach_rest()
    # Copied to the end just before, it was published, and is being removed.
    await operator.reach(lambda: not list((operator.volume.root / "tmp").iterdir()))
    assert_nothing_left(operator)


async def test_a_launch_that_never_reaches_the_pod_is_tried_again(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The folder isn't there, so nothing began."""
    add_pipeline(cluster)
    cluster.fault = fail(lambda verb, what: verb == "exec" and RECORD in what, ExecFailed("broken"), 2)
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status
    assert count_starts(cluster) == 1


async def test_an_api_server_that_is_away_meanwhile_costs_nothing(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Neither the profile nor its report."""
    add_pipeline(cluster)
    ask(cluster, durationSeconds=2)
    await operator.reach_phase("p-1", "Recording")
    until = time.monotonic() + 1.5
    cluster.fault = lambda verb, what: KubeUnavailable("away") if time.monotonic() < until else None
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status
    await operator.reach_rest()


def _is_over(operator: OperatorProcess) -> bool:
    """samply has written its file, whether or not anybody asked."""
    folders = [path for c in operator.cluster.containers.values() for path in c.folder.iterdir()]
    return all("done" in (folder / "events").read_text() for folder in folders)


async def sweep_later(operator: OperatorProcess, secs: float) -> None:
    """Sweep with the clock moved on, until nothing is left in the journal."""
    before = operator.change_context(now=lambda: time.time() + secs)
    async with asyncio.timeout(10):
        while list((operator.volume.root / "journal").iterdir()):
            await operator.engine.sweep()
            await asyncio.sleep(0.05)
    operator.change_context(now=before.now)


async def test_a_missing_right_differs_from_a_refusal_by_admission(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Each has its own cure."""
    add_pipeline(cluster)
    lacking = 'pods "p" is forbidden: User "u" cannot patch resource "pods/ephemeralcontainers" in API group ""'
    cluster.fault = fail(
        lambda verb, what: verb == "patch" and what.endswith("ephemeralcontainers"), KubeForbidden(lacking)
    )
    ask(cluster, mode="Ephemeral")
    assert (await operator.reach_phase("p-1", "Failed"))["failure"]["reason"] == "NotPermitted"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("dial tcp: connection refused", "pipeline-a-0 is unreachable; retrying for "),
        (
            'failed calling webhook "a.b": connection refused',
            "a webhook of the cluster does not answer; retrying for 60 s: ",
        ),
    ],
    ids=["the pod", "a webhook"],
)
async def test_one_that_cannot_begin_yet_says_why(
    said: str, told: str, operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """In its object and in an Event, while it is tried again; then it records as if nothing had been."""
    add_pipeline(cluster)
    cluster.fault = fail(lambda verb, _: verb == "exec", KubeUnavailable(said))
    ask(cluster)
    message: list[str] = []

    def is_reported() -> bool:
        status = operator.find_status("p-1")
        message[:] = [status.get("message", "")]
        return status.get("phase") == "Pending" and "connection refused" in message[0]

    await operator.reach(is_reported)
    assert message[0].startswith(told)
    assert "Unreachable" in operator.list_events("p-1")
    cluster.fault = lambda verb, what: None
    await operator.reach(lambda: "isn't reached" not in operator.find_status("p-1")["message"])
    await operator.reach_phase("p-1", "Succeeded")


async def test_one_that_is_deleted_while_its_stop_is_on_the_way_is_not_kept(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The pod is unreachable when it is to be stopped and kept; then the object is deleted. Once the pod is reachable
    again it gets the cancellation only: the weaker request was dropped."""
    add_pipeline(cluster)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    stop = script_calls.read_script("stop.sh")
    asked: list[str] = []

    def refuse(verb: str, what: str) -> KubeError | None:
        if verb == "exec" and stop in what:
            asked.append(what.rsplit(maxsplit=1)[-1])
            return KubeUnavailable("away")
        return None

    cluster.fault = refuse
    (run,) = operator.engine.runs.values()
    run.stop("keep")
    await operator.reach(lambda: asked)
    await cluster.delete(objects.samply_profiles(NAMESPACE, "p-1"))
    await operator.reach(lambda: "discard" in asked)
    cluster.fault = no_fault
    await operator.reach_rest()
    words = [what.split()[-1] for verb, what in cluster.calls if verb == "exec" and stop in what]
    assert asked[0] == "keep"
    assert words[-1] == "discard"
    assert not operator.volume.list_ids()
    assert_nothing_left(operator)


async def test_one_that_is_deleted_while_it_cannot_begin_ends_at_once(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Not after the pause, nor when the pod is reached again."""
    add_pipeline(cluster)
    cluster.fault = fail(lambda verb, _: verb == "exec", KubeUnavailable("dial tcp: connection refused"))
    ask(cluster)
    await operator.reach(lambda: any(run.trouble for run in operator.engine.runs.values()))
    (run,) = operator.engine.runs.values()
    run.stop("discard")
    await operator.reach(lambda: not operator.engine.runs, secs=3)
    assert run.phase == "Cancelled"


class TestUnreachable:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(recording=Recording(min_free_bytes=1, min_coverage=0, unreachable_secs=2, copy_deadline_secs=2))

    async def test_a_pod_that_cannot_be_reached_any_more_ends_it_after_the_time_for_that(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """And what is left in the pod is cleaned by a later sweep."""
        add_pipeline(cluster)
        ask(cluster, durationSeconds=2)
        await operator.reach_phase("p-1", "Recording")
        cluster.fault = fail(lambda verb, what: verb == "exec", ExecFailed("no route to the node"))
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert status["failure"]["reason"] in {"Unreachable", "TransferFailed"}
        await operator.reach(lambda: not operator.engine.runs)
        cluster.fault = lambda verb, what: None
        await operator.reach(lambda: _is_over(operator))
        await sweep_later(operator, 2 * operator.context.settings.recording.remote_ttl_secs)
        assert_nothing_left(operator)

    async def test_a_launch_that_never_works_ends_after_the_time_for_that(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """With pauses in between, and as unreachable."""
        add_pipeline(cluster)
        cluster.fault = fail(lambda verb, what: verb == "exec" and RECORD in what, ExecFailed("broken"))
        ask(cluster)
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert status["failure"]["reason"] == "Unreachable"
        assert sum(RECORD in what for _, what in cluster.calls) < 50

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            pytest.param(KubeForbidden("no exec for you"), "NotPermitted", id="no right to exec"),
            pytest.param(KubeNotFound("The container is not running"), "Unreachable", id="no such container"),
            pytest.param(KubeUnavailable("503"), "Unreachable", id="the API server is away"),
        ],
    )
    async def test_a_preflight_that_cannot_run_ends_it_with_a_reason(
        self, operator: OperatorProcess, cluster: FakeCluster, error: KubeError, reason: str
    ) -> None:
        """Never in silence."""
        add_pipeline(cluster)
        cluster.fault = fail(lambda verb, _: verb == "exec", error)
        ask(cluster)
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert status["failure"]["reason"] == reason


async def test_two_troubles_in_a_row_end_nothing(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """A kubelet that has just been restarted knows no container, and the API server is away when it is asked."""
    add_pipeline(cluster)
    missed: list[str] = []

    def fault(verb: str, what: str) -> KubeError | None:
        if verb == "exec" and not missed:
            missed.append("container")
            return KubeNotFound("container not found")
        if verb == "get" and what == objects.pods(NAMESPACE, POD) and missed == ["container"]:
            missed.append("pod")
            return KubeUnavailable("connection refused")
        return None

    cluster.fault = fault
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert (status["phase"], missed) == ("Succeeded", ["container", "pod"]), status


async def test_trouble_while_a_failure_is_looked_into_does_not_become_its_reason(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """What the pod said of it counts."""
    add_pipeline(cluster, no_file=True)
    missed: list[str] = []

    def fault(verb: str, what: str) -> KubeError | None:
        is_concluded = any(run.entry.step == "Collecting" for run in operator.engine.runs.values())
        if verb == "get" and what == objects.pods(NAMESPACE, POD) and is_concluded and not missed:
            missed.append(what)
            return KubeUnavailable("connection refused")
        return None

    cluster.fault = fault
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert (status["failure"]["reason"], len(missed)) == ("NoProfileWritten", 1)


async def test_a_container_without_a_shell_is_said_so(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Distroless images have none."""
    (container,) = add_pipeline(cluster)
    (Path(container.path.partition(":")[0]) / "sh").unlink()
    container.path = container.path.partition(":")[0]
    ask(cluster)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == "NoShell"


@pytest.mark.parametrize("cut_after", [None, 60], ids=["the session goes on", "the session breaks too"])
async def test_rights_that_are_taken_away_meanwhile_and_given_back_cost_nothing(
    operator: OperatorProcess, cluster: FakeCluster, cut_after: int | None
) -> None:
    """Neither while it records, nor when the profile is to be copied."""
    add_pipeline(cluster)
    cluster.cuts = [cut_after]
    ask(cluster, durationSeconds=2)
    await operator.reach_phase("p-1", "Recording")
    refused = []

    def refuse(verb: str, what: str) -> KubeError:
        refused.append(verb)
        return KubeForbidden('pods "p" is forbidden: User "u" cannot get resource "pods/exec" in API group ""')

    cluster.fault = refuse
    await operator.reach(lambda: refused.count("exec" if cut_after is None else "get") > 2)
    cluster.fault = no_fault
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status
    await operator.reach_rest()
    assert count_starts(cluster) == 1
    assert_nothing_left(operator)


async def test_a_copy_that_breaks_is_taken_up_again(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """The file is verified in the end."""
    add_pipeline(cluster)
    cluster.fault = fail(lambda verb, what: verb == "exec" and what.startswith("dd "), ExecFailed("cut"), 3)
    ask(cluster)
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"


async def test_a_status_that_cannot_be_written_at_first_is_written_later(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The recording doesn't wait for it, and the last word is right."""
    add_pipeline(cluster)
    cluster.fault = fail(lambda verb, what: verb == "patch" and "/status" in what, KubeUnavailable("away"), 4)
    ask(cluster)
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"
    await operator.reach_rest()


def fail_to_reserve(self: Volume, size_bytes: int) -> None:
    raise StoreFull(f"no room for {size_bytes} bytes")


class TestFullDisk:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(recording=Recording(min_free_bytes=1, min_coverage=0, remote_ttl_secs=100))

    async def test_a_profile_that_does_not_fit_stays_in_the_pod_for_its_time(
        self, operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is good and may still be wanted. Then it is removed."""
        monkeypatch.setattr(Volume, "reserve", fail_to_reserve)
        (container,) = add_pipeline(cluster)
        ask(cluster)
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert status["failure"]["reason"] == "StoreFull"
        await operator.reach(lambda: not operator.engine.runs)
        (folder,) = container.folder.iterdir()
        assert (folder / "profile.json.gz").exists()
        await operator.engine.sweep()
        assert (folder / "profile.json.gz").exists()
        await sweep_later(operator, 101)
        assert_nothing_left(operator)

    async def test_a_profile_whose_copies_never_match_stays_in_the_pod_for_its_time(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """After three whole copies; what was copied wrongly is nowhere on the volume."""
        (container,) = add_pipeline(cluster)
        program = Path(container.path.partition(":")[0]) / "dd"
        program.write_text("#!/bin/sh\n/bin/dd \"$@\" | tr 'a-f' 'b-g'\n")
        program.chmod(0o755)
        ask(cluster)
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert status["failure"]["reason"] == "TransferCorrupt"
        assert sum(what.startswith("dd ") for verb, what in cluster.calls if verb == "exec") == 3
        await operator.reach(lambda: not operator.engine.runs)
        (folder,) = container.folder.iterdir()
        await operator.engine.sweep()
        assert (folder / "profile.json.gz").exists()
        assert list((operator.volume.root / "tmp").iterdir()) == []
        await sweep_later(operator, 101)
        assert_nothing_left(operator)


async def test_a_journal_that_cannot_be_written_delays_the_recording(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing touches the pod without it; it begins as soon as it can be written."""
    write, failures = Volume.write_entry, [StoreError("input/output error")] * 2

    def write_or_fail(self: Volume, entry: Any) -> None:
        if failures:
            raise failures.pop()
        write(self, entry)

    monkeypatch.setattr(Volume, "write_entry", write_or_fail)
    add_pipeline(cluster)
    ask(cluster)
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"
    assert count_starts(cluster) == 1


async def test_a_journal_that_cannot_be_emptied_is_emptied_later(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recording has ended and its Lease is given back as always; the next one isn't held up."""
    remove, failures = Volume.remove_entry, [StoreError("input/output error")] * 3

    def remove_or_fail(self: Volume, profile_id: str) -> None:
        if failures:
            raise failures.pop()
        remove(self, profile_id)

    monkeypatch.setattr(Volume, "remove_entry", remove_or_fail)
    add_pipeline(cluster)
    ask(cluster)
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"
    await operator.reach(lambda: not operator.engine.runs)
    await sweep_later(operator, 0)
    assert not list(cluster.find("/leases/"))
    ask(cluster, "p-2")
    assert (await operator.reach_phase("p-2", "Succeeded", "Failed"))["phase"] == "Succeeded"
    await operator.reach_rest()
    assert_nothing_left(operator)


async def test_a_clock_that_is_set_forward_costs_no_recording(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the API server is unavailable: the wall clock does not determine how long."""
    add_pipeline(cluster)
    ask(cluster, durationSeconds=2)
    await operator.reach_phase("p-1", "Recording")
    left = 12

    def fault(verb: str, what: str) -> KubeError | None:
        nonlocal left
        left -= 1
        return KubeUnavailable("away") if left >= 0 else None

    cluster.fault = fault
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 7200 * (left < 6))
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status


class TestExpiry:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(retention=Retention(object_ttl_secs=60))

    async def test_an_object_without_a_profile_is_deleted_after_its_time(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """But not before, and not another object of the same name."""
        old = times.format_time(time.time() - 61)
        ask(cluster, "old")
        ask(cluster, "new")
        for name, finished in (("old", old), ("new", times.format_time(time.time()))):
            await operator.reach_phase(name, "Failed")
            raw = cluster.objects[objects.samply_profiles(NAMESPACE, name)]
            raw["status"]["finishedAt"] = finished
            cluster.put(objects.samply_profiles(NAMESPACE, name), raw)
        await operator.engine.sweep()
        assert [raw["metadata"]["name"] for raw in operator.list_profiles()] == ["new"]


class TestCoverage:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(recording=Recording(min_free_bytes=1, min_coverage=0.75))

    async def test_a_recording_that_missed_most_is_no_success_but_its_file_is_kept(
        self, operator: OperatorProcess, cluster: FakeCluster, tmp_path: Path
    ) -> None:
        """It can be fetched by its id; it is never the last good one."""
        add_pipeline(cluster, is_busy=True, profile=str(make_sparse(tmp_path)), sidecar="", symbol_flag="")
        raw = ask(cluster, durationSeconds=3)
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert status["failure"]["reason"] == "LowCoverage"
        assert status["profile"]["samples"] == 30
        await operator.reach_rest()
        manifest = operator.volume.read_manifest(raw["metadata"]["uid"])
        assert manifest is not None
        assert manifest.outcome == "Failed"
        assert manifest.file is not None
        with operator.volume.open_profile(manifest.id, size_bytes=manifest.file.size_bytes):
            pass


def make_sparse(folder: Path) -> Path:
    """The real recording with ten samples of each of its three threads: what a blind samply writes."""
    profile = json.loads(gzip.decompress(Path(str(RECORDED["profile"])).read_bytes()))
    for thread in profile["threads"]:
        columns = thread["samples"]
        thread["samples"] = {k: v[:10] if isinstance(v, list) else v for k, v in columns.items()} | {"length": 10}
    path = folder / "sparse.json.gz"
    path.write_bytes(gzip.compress(json.dumps(profile).encode()))
    return path
