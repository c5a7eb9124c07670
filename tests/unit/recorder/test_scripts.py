"""The scripts that run in a pipeline's container, run for real in each shell, with a stand-in for samply.

They run as they are sent: without comments and indentation. All of them run at the same time, once, since they mostly
wait; each test then tells how its piece went.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from samply_operator.recorder.pod import script_calls
from samply_operator.rules.recording import record_output
from samply_operator.rules.recording.record_output import Progress
from support import needs, shells
from support.fake_cluster import FakeCluster
from support.stage import OWN_END_SECS, PIECES, Key, Stage, piece, play_all


def find_stoppings(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("stopping")]


# -------------------------------------------------------------------------------------------------------------- pieces


@piece()
async def the_timer_ends_it_with_one_sigint(stage: Stage) -> None:
    code, lines = await stage.record(secs=1)
    progress = stage.progress()
    assert code == 0
    assert lines == stage.events()
    assert stage.signals() == ["SIGINT"]
    assert (progress.stop_cause, progress.exit_code, progress.lost_events, progress.is_done) == ("timer", 0, 0, True)
    assert progress.recording_at is not None
    assert progress.stopping_at is not None
    assert 0.99 <= progress.stopping_at - progress.recording_at < 3
    assert progress.ticks_before is not None
    assert progress.cpu_secs is not None
    assert not progress.was_stopped
    assert record_output.judge(progress, stage.log()) is None
    assert [file.name for file in progress.files] == [record_output.PROFILE, record_output.SIDECAR]
    for file in progress.files:
        data = (stage.folder / file.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size_bytes, file.sha256)
    assert stage.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in stage.folder.iterdir()} == {0}
    await stage.reach(lambda: not stage.find_processes(), OWN_END_SECS)


@piece()
async def an_early_stop_keeps_the_profile(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach_event("recording")
    await stage.stop("keep")
    await task
    progress = stage.progress()
    assert stage.signals() == ["SIGINT"]
    assert (progress.stop_cause, progress.is_done) == ("keep", True)
    assert progress.cpu_secs is not None
    assert [line.split()[0] for line in stage.events()].count("throttled") == 3
    assert progress.find_file(record_output.PROFILE)


@piece(write_secs=0.6)
async def an_early_stop_and_the_timer_at_the_same_time_are_one_sigint(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=1))
    await stage.reach_event("recording")
    await asyncio.gather(*(_stop_later(stage, 0.8 + 0.05 * n) for n in range(6)))
    await task
    assert stage.signals() == ["SIGINT"]
    assert len(find_stoppings(stage.events())) == 1
    assert stage.progress().find_file(record_output.PROFILE)
    await stage.stop("keep")
    assert len(find_stoppings(stage.events())) == 1


async def _stop_later(stage: Stage, secs: float) -> None:
    await asyncio.sleep(secs)
    await stage.stop("keep")


@piece(attach_secs=2.5)
async def an_early_stop_during_the_attach_waits_for_its_end(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach(lambda: stage.state() == "T")
    await stage.stop("keep")
    await task
    assert stage.signals() == ["SIGINT"]
    assert stage.progress().find_file(record_output.PROFILE)
    assert stage.progress().recording_at is not None


@piece(write_secs=600)
async def a_discard_ends_it_at_once(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach_event("recording")
    await stage.stop("discard")
    await asyncio.wait_for(task, OWN_END_SECS)
    assert stage.progress().stop_cause == "discard"
    assert stage.progress().is_done
    assert not stage.progress().files


@piece()
async def a_folder_is_used_once(stage: Stage) -> None:
    first = asyncio.create_task(stage.record(secs=1))
    await stage.reach_event("recording")
    assert await stage.record(secs=1) == (script_calls.FOLDER_EXISTS, [])
    assert (await first)[0] == 0
    before = stage.events()
    assert stage.progress().find_file(record_output.PROFILE)
    assert await stage.record(secs=1) == (script_calls.FOLDER_EXISTS, [])
    assert stage.events() == before
    assert stage.signals() == ["SIGINT"]


@piece()
async def a_folder_that_cannot_be_made_is_reported(stage: Stage) -> None:
    stage.change(folder=str(stage.folder / "below" / "what is not there"))
    assert await stage.record(secs=1) == (script_calls.FOLDER_REFUSED, [])
    await stage.reach_sleep()


@piece()
async def a_target_that_ends_meanwhile_still_gives_a_profile(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=1))
    await stage.reach_event("recording")
    _kill_target(stage)
    code, _ = await task
    assert code == 0
    assert stage.signals() == []
    assert not find_stoppings(stage.events())
    assert stage.progress().find_file(record_output.PROFILE)
    assert record_output.judge(stage.progress(), "") is None


@piece(write_secs=1.0)
async def an_early_stop_after_the_target_ended_does_not_lose_the_file(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach_event("recording")
    _kill_target(stage)
    await asyncio.sleep(0.2)
    await stage.stop("keep")
    await task
    assert stage.progress().find_file(record_output.PROFILE)


@piece(write_secs=1.0)
async def an_early_stop_while_the_target_is_a_zombie_does_not_lose_the_file(stage: Stage) -> None:
    """A zombie still has a PID."""
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach_event("recording")
    stage.container.target.kill()
    await stage.reach(lambda: stage.state() == "Z")
    await asyncio.sleep(0.2)
    await stage.stop("keep")
    await task
    assert stage.signals() == []
    assert stage.progress().find_file(record_output.PROFILE)
    stage.container.target.wait()


def _kill_target(stage: Stage) -> None:
    stage.container.target.kill()
    stage.container.target.wait()


@piece(no_file=True)
async def a_target_that_ends_without_a_profile_is_reported(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach_event("recording")
    _kill_target(stage)
    await task
    failure = record_output.judge(stage.progress(), stage.log())
    assert failure is not None
    assert failure.reason == "TargetEnded"


@piece(refuses="'/proc/sys/kernel/perf_event_paranoid' is currently set to 2.")
async def a_samply_that_refuses_is_quoted(stage: Stage) -> None:
    code, _ = await stage.record(secs=1)
    failure = record_output.judge(stage.progress(), stage.log())
    assert code == 0
    assert failure is not None
    assert (failure.reason, stage.progress().exit_code) == ("PerfEventParanoid", 1)
    assert "currently set to 2" in failure.message


@piece()
async def a_missing_samply_is_reported(stage: Stage) -> None:
    stage.change(samply="/no/such/samply")
    await stage.record(secs=1)
    failure = record_output.judge(stage.progress(), stage.log())
    assert failure is not None
    assert (failure.reason, stage.progress().exit_code) == ("SamplyNotFound", 127)


@piece(attach_secs=-1)
async def a_target_left_stopped_by_an_attach_that_never_ends_is_continued(stage: Stage) -> None:
    stage.limits = msgspec.structs.replace(stage.limits, attach_deadline_secs=5)
    await stage.record(secs=1)
    progress = stage.progress()
    failure = record_output.judge(progress, stage.log())
    assert failure is not None
    assert (failure.reason, progress.deadline, progress.was_stopped) == ("AttachTimeout", "attach", True)
    await stage.reach_sleep()


@piece(attach_secs=-1)
async def a_target_left_stopped_by_a_samply_that_was_killed_is_continued(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach(lambda: stage.state() == "T")
    os.kill(_find_samply(stage), signal.SIGKILL)
    await asyncio.wait_for(task, OWN_END_SECS)
    failure = record_output.judge(stage.progress(), stage.log())
    assert failure is not None
    assert (failure.reason, stage.progress().was_stopped) == ("SamplyKilled", True)
    await stage.reach_sleep()


def _find_samply(stage: Stage) -> int:
    return int((stage.folder / "samply").read_text().split()[0])


@piece()
async def a_samply_that_is_killed_while_it_records_ends_it(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach_event("recording")
    os.kill(_find_samply(stage), signal.SIGKILL)
    await asyncio.wait_for(task, OWN_END_SECS)
    failure = record_output.judge(stage.progress(), stage.log())
    assert failure is not None
    assert failure.reason == "SamplyKilled"
    assert not find_stoppings(stage.events())


@piece(write_secs=-1)
async def a_samply_that_never_writes_is_ended_at_the_deadline(stage: Stage) -> None:
    stage.limits = msgspec.structs.replace(stage.limits, finish_deadline_secs=1)
    await stage.record(secs=1)
    failure = record_output.judge(stage.progress(), stage.log())
    assert failure is not None
    assert (failure.reason, stage.progress().deadline) == ("FinishTimeout", "finish")


@piece(lost=17)
async def lost_events_are_reported(stage: Stage) -> None:
    await stage.record(secs=1)
    assert stage.progress().lost_events == 17


@piece()
async def a_disconnected_reader_changes_nothing(stage: Stage) -> None:
    stage.change(duration_secs=1)
    async with script_calls.record(stage.cluster, stage.entry, stage.limits, 0) as session:  # type: ignore[arg-type]
        await session.read()
    await stage.reach_event("done")
    progress = stage.progress()
    assert (progress.stop_cause, progress.exit_code) == ("timer", 0)
    assert progress.find_file(record_output.PROFILE)
    words = [line.split()[0] for line in stage.events()]
    assert all(words.count(word) == 1 for word in ("recording", "stopping", "exit", "lost", "done"))
    await stage.reach(lambda: not stage.find_processes(), OWN_END_SECS)


@piece()
async def a_hang_up_changes_nothing(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=1))
    await stage.reach_event("recording")
    shell = int((stage.folder / "shell").read_text().split()[0])
    os.kill(shell, signal.SIGHUP)
    os.kill(shell, signal.SIGPIPE)
    await task
    assert stage.progress().find_file(record_output.PROFILE)


@piece()
async def a_look_reports_the_progress(stage: Stage) -> None:
    assert await stage.look() == script_calls.Observation(False, False, None, Progress(), "")
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach_event("recording")
    sight = await stage.look()
    assert (sight.has_folder, sight.is_alive, sight.progress.is_done) == (True, True, False)
    assert sight.clock is not None
    assert sight.progress.recording_at is not None
    assert 0 <= sight.clock - sight.progress.recording_at < 20
    assert "Recording process" in sight.log
    await stage.stop("keep")
    await task
    await stage.reach(lambda: not stage.find_processes(), OWN_END_SECS)
    sight = await stage.look()
    assert (sight.has_folder, sight.is_alive, sight.progress) == (True, False, stage.progress())


@piece(write_secs=600)
async def a_cleaning_in_the_middle_leaves_nothing(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach_event("recording")
    processes = stage.find_processes()
    assert len(processes) >= 3
    await stage.clean()
    await asyncio.wait_for(task, OWN_END_SECS)
    assert not stage.folder.exists()
    await stage.reach(lambda: not stage.find_processes(), OWN_END_SECS)
    await stage.reach_sleep()


@piece()
async def an_externally_removed_folder_ends_samply_too(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach_event("recording")
    samply = _find_samply(stage)
    shutil.rmtree(stage.folder)
    await asyncio.wait_for(task, OWN_END_SECS)
    assert stage.state(samply) == ""


@piece(lost=3)
async def a_shell_that_is_killed_while_it_records_costs_nothing(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=2))
    await stage.reach_event("recording")
    shell = int((stage.folder / "shell").read_text().split()[0])
    os.kill(shell, signal.SIGKILL)
    await stage.reach(lambda: stage.state(shell) in {"", "Z"})
    assert (await stage.look()).is_alive
    await stage.reach_event("done")
    await task
    progress = stage.progress()
    assert stage.signals() == ["SIGINT"]
    assert (progress.stop_cause, progress.exit_code, progress.lost_events) == ("timer", None, 3)
    assert [file.name for file in progress.files] == [record_output.PROFILE, record_output.SIDECAR]
    assert record_output.judge(progress, stage.log()) is None
    await stage.reach(lambda: not stage.find_processes(), OWN_END_SECS)


@piece(attach_secs=-1)
async def a_shell_that_is_killed_during_the_attach_leaves_no_stopped_target(stage: Stage) -> None:
    stage.limits = msgspec.structs.replace(stage.limits, attach_deadline_secs=3)
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach(lambda: stage.state() == "T")
    os.kill(int((stage.folder / "shell").read_text().split()[0]), signal.SIGKILL)
    await stage.reach_event("done")
    await task
    failure = record_output.judge(stage.progress(), stage.log())
    assert failure is not None
    assert (failure.reason, stage.progress().was_stopped) == ("AttachTimeout", True)
    assert stage.state() == "S"


@piece()
async def a_process_that_took_over_the_number_is_not_recorded(stage: Stage) -> None:
    stage.change(pid_started=stage.entry.pid_started - 1)
    await stage.record(secs=600)
    failure = record_output.judge(stage.progress(), stage.log())
    assert failure is not None
    assert (failure.reason, stage.progress().is_done) == ("ProcessNotFound", True)
    assert not (stage.bin / "starts").exists()


@piece(attach_secs=-1)
async def a_cleaning_during_the_attach_continues_the_target(stage: Stage) -> None:
    task = asyncio.create_task(stage.record(secs=600))
    await stage.reach(lambda: stage.state() == "T")
    await stage.clean()
    assert stage.state() in {"S", "R"}
    await asyncio.wait_for(task, OWN_END_SECS)


@piece()
async def an_unfetched_recording_is_removed_after_its_time(stage: Stage) -> None:
    stage.keep_secs = 2
    code, lines = await stage.record(secs=1)
    assert (code, lines[-1]) == (0, "done")
    assert not stage.folder.exists()
    await stage.reach_sleep()


@piece()
async def a_cleaned_recording_keeps_no_shell(stage: Stage) -> None:
    stage.keep_secs = 600
    task = asyncio.create_task(stage.record(secs=1))
    await stage.reach_event("done")
    assert stage.find_processes()
    await stage.clean()
    assert (await asyncio.wait_for(task, OWN_END_SECS))[0] == 0
    assert not stage.find_processes()
    await stage.reach_sleep()


@piece(refuses="mmap failed: Operation not permitted")
async def files_of_the_next_attempt_are_kept(stage: Stage) -> None:
    stage.keep_secs = 600
    task = asyncio.create_task(stage.record(secs=1))
    await stage.reach_event("done")
    await stage.clean()
    shutil.copy(stage.entry.samply, f"{stage.folder}.bin")
    stage.folder.mkdir()
    await asyncio.wait_for(task, OWN_END_SECS)
    beside = [path.name for path in stage.folder.parent.iterdir()]
    assert {stage.folder.name, f"{stage.folder.name}.bin"} <= {*beside}


@piece()
async def a_copied_samply_is_removed_once_it_records(stage: Stage) -> None:
    brought = Path(f"{stage.folder}.bin")
    shutil.copy(stage.entry.samply, brought)
    stage.change(samply=str(brought))
    task = asyncio.create_task(stage.record(secs=1))
    await stage.reach_event("recording")
    await stage.reach(lambda: not brought.exists())
    assert (await task)[0] == 0
    assert stage.progress().find_file(record_output.PROFILE)


@piece()
async def processes_that_only_have_the_number_of_an_earlier_one_are_left_alone(stage: Stage) -> None:
    other = stage.cluster.spawn("sleep", "600")
    stage.folder.mkdir()
    for name in ("samply", "shell"):
        (stage.folder / name).write_text(f"{other.pid} 12345\n")
    (stage.folder / "err").write_text("Recording process with PID 1 until Ctrl+C...\n")
    assert not (await stage.look()).is_alive
    await stage.stop("keep")
    await stage.stop("discard")
    await stage.clean()
    assert other.poll() is None
    assert stage.state(other.pid) == "S"


@piece()
async def a_cleaning_or_a_stop_of_nothing_does_nothing(stage: Stage) -> None:
    await stage.stop("keep")
    await stage.clean()
    await stage.reach_sleep()


@piece()
async def a_cleaning_removes_the_copied_samply_of_a_recording_that_never_began(stage: Stage) -> None:
    left = [stage.folder.with_name(f"{stage.folder.name}{end}") for end in (".bin", ".bin.part.77", "2.bin")]
    for path in left:
        path.write_text("an ELF")
    await stage.clean()
    assert [path for path in left if path.exists()] == left[2:]
    left[2].unlink()


@piece()
async def a_samply_that_takes_more_memory_than_is_safe_is_ended(stage: Stage) -> None:
    stage.change(memory_cap=1024 * 1024)
    await asyncio.wait_for(stage.record(secs=600), 20)
    failure = record_output.judge(stage.progress(), stage.log())
    assert failure is not None
    assert (failure.reason, stage.progress().deadline) == ("MemoryNear", "memory")


@piece(memory_mib=900)
async def a_samply_that_grows_too_fast_for_a_look_is_refused_by_the_kernel(stage: Stage) -> None:
    stage.change(memory_cap=60 * 1024 * 1024)
    await asyncio.wait_for(stage.record(secs=600), 20)
    progress = stage.progress()
    failure = record_output.judge(progress, stage.log())
    assert failure is not None
    assert (failure.reason, progress.deadline, progress.stop_cause) == ("MemoryNear", "", "")


@piece()
async def the_preflight_prints_what_the_rule_reads_and_leaves_nothing(stage: Stage) -> None:
    client: Any = stage.cluster
    facts = await script_calls.gather_facts(client, stage.entry)
    assert (facts.samply, facts.version) == (stage.entry.samply, "0.13.1")
    assert {"--pid", "--save-only", "--unstable-presymbolicate"} <= facts.flags
    assert not {"--presymbolicate", "--ignore-exit-code"} & facts.flags
    assert facts.folder == str(stage.container.folder)
    assert facts.free_bytes
    assert facts.arch
    assert [process.pid for process in facts.processes] == [stage.target]
    assert not list(stage.container.folder.iterdir())


# --------------------------------------------------------------------------------------------------------------- tests


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Key, BaseException | None]]:
    """How each piece went in each shell."""
    with FakeCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield asyncio.run(play_all(cluster))


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("shell", shells.NAMES)
def test_in(shell: str, name: str, played: dict[Key, BaseException | None]) -> None:
    """The name of each piece states what it checks; the same holds in every shell."""
    if (shell, name) not in played:
        needs.need(shell)
    outcome = played[shell, name]
    if outcome is not None:
        raise outcome


@pytest.mark.parametrize(
    "name", sorted(path.name for path in (Path(script_calls.__file__).parent / "scripts").glob("*.sh"))
)
def test_a_script_fits_into_the_request_that_carries_it(name: str) -> None:
    """It travels in the URL, percent-encoded: 8 KiB are safe with every proxy."""
    command = script_calls.build_command(
        name, "/dev/shm/.samply-operator-" + "x" * 36, "--presymbolicate", *["1" * 8] * 10
    )
    text = script_calls.read_script(name)
    assert len(urlencode([("command", word) for word in command])) < 8192
    assert "\n#" not in text
    assert not text.startswith("#")


@pytest.mark.parametrize(("life", "unused"), [("2", "600"), ("600", "2")], ids=["its time is over", "unused"])
async def test_the_timer_of_an_ephemeral_container_ends_it(tmp_path: Path, life: str, unused: str) -> None:
    """Whatever happened to the operator."""
    command = script_calls.build_command("hold.sh", life, unused)
    command[2] = command[2].replace("/tmp/", f"{tmp_path}/")
    began = asyncio.get_running_loop().time()
    process = await asyncio.create_subprocess_exec(*command)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert asyncio.get_running_loop().time() - began > 0.9


async def test_one_in_use_stays_for_its_time_and_ends_when_asked(tmp_path: Path) -> None:
    """Used is where a recording has its folder."""
    (tmp_path / ".samply-operator-x").mkdir()
    command = script_calls.build_command("hold.sh", "600", "1")
    command[2] = command[2].replace("/tmp/", f"{tmp_path}/")
    process = await asyncio.create_subprocess_exec(*command)
    await asyncio.sleep(3)
    assert process.returncode is None
    (tmp_path / "released").touch()
    assert await asyncio.wait_for(process.wait(), 30) == 0
