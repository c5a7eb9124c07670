"""The events of a recording, and how its end is interpreted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.rules.recording import record_output
from samply_operator.rules.recording.record_output import Progress, RemoteFile, observe_all

SHA = "0123456789abcdef" * 4
STORY = [
    "recording 100000 500",
    "stopping 103000 790 timer",
    "exit 0",
    "lost 3",
    f"file profile.json.gz 1234 {SHA}",
    f"file profile.json.syms.json 99 {SHA}",
    "done",
]


def test_the_whole_story_is_understood() -> None:
    """Clocks in seconds, ticks as they are, both files."""
    progress = observe_all(STORY)
    assert progress == Progress(
        recording_at=1000.0, ticks_before=500, stopping_at=1030.0, ticks_after=790, stop_cause="timer", exit_code=0,
        files=(RemoteFile("profile.json.gz", 1234, SHA), RemoteFile("profile.json.syms.json", 99, SHA)),
        lost_events=3, is_done=True,
    )  # fmt: skip
    assert progress.cpu_secs == pytest.approx(2.9)
    assert record_output.judge(progress, "") is None


@pytest.mark.parametrize("count", range(len(STORY) + 1))
def test_it_is_done_only_at_its_end(count: int) -> None:
    """A story that was cut off is never taken for a whole one."""
    assert observe_all(STORY[:count]).is_done is (count == len(STORY))


@pytest.mark.parametrize(
    ("line", "fact", "value"),
    [
        ("continued", "was_stopped", True),
        ("deadline attach", "deadline", "attach"),
        ("deadline finish", "deadline", "finish"),
        ("stopping 5 6 keep", "stop_cause", "keep"),
        ("stopping 5 6 discard", "stop_cause", "discard"),
        ("exit 137", "exit_code", 137),
        ("lost 0", "lost_events", 0),
        ("recording 5", "recording_at", 0.05),
        ("recording 5", "ticks_before", None),
        ("stopping 5 timer", "stopping_at", 0.05),
        ("stopping 5 timer", "ticks_after", None),
        ("stopping 5  keep", "stop_cause", "keep"),
    ],
)
def test_an_event_is_understood(line: str, fact: str, value: object) -> None:
    """Ticks may be missing: then the process had gone when it was asked."""
    assert getattr(observe_all([line]), fact) == value


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "nonsense",
        "recording",
        "recording 1 2 3",
        "stopping 1",
        "stopping 1 2 3 4",
        "exit",
        "exit 0 1",
        "lost",
        "done done",
        "continued 1",
        f"file /etc/passwd 1 {SHA}",
        f"file ../profile.json.gz 1 {SHA}",
        f"file profile.json.gz -1 {SHA}",
        f"file profile.json.gz 1 {SHA[1:]}",
        f"file profile.json.gz 1 {SHA.upper()}",
        f"file profile.json.gz ² {SHA}",
        f"file profile.json.gz {'9' * 16} {SHA}",
        f"file profile.json.gz 1 {SHA} x",
    ],
)
def test_lines_that_make_no_sense_change_nothing(line: str) -> None:
    """A pod's output isn't trusted: no other file's name, no odd number."""
    assert record_output.observe(Progress(), line) == Progress()


@pytest.mark.parametrize("word", ["exit", "lost"])
@pytest.mark.parametrize("number", ["-1", "x", "²", "٣", "9" * 19, "1e3", "0x1"])
def test_a_number_that_is_none_is_unknown(word: str, number: str) -> None:
    """Never an exception."""
    progress = observe_all([f"{word} {number}"])
    assert (progress.exit_code, progress.lost_events) == (None, None)


WORDS = st.sampled_from(
    ["recording", "stopping", "exit", "lost", "deadline", "continued", "done", "file", "²", "1", "-"]
)
LINES = st.one_of(
    st.text(), st.lists(st.one_of(WORDS, st.integers().map(str), st.text(max_size=5)), max_size=5).map(" ".join)
)


@given(st.lists(LINES), st.text())
def test_any_story_ends_in_a_verdict(lines: list[str], log: str) -> None:
    """Garbage is judged like all else, and its log is safe to print."""
    failure = record_output.judge(observe_all(lines), log)
    assert failure is None or (failure.remedy and (failure.log + failure.message).replace("\n", "").replace("\t", "")
                               .isprintable())  # fmt: skip


@given(st.lists(LINES), st.integers(min_value=0, max_value=7))
def test_garbage_between_the_events_does_no_harm(garbage: list[str], place: int) -> None:
    """Unless it is an event itself."""
    known = ("recording", "stopping", "exit", "lost", "deadline", "continued", "done", "file")
    lines = [line for line in garbage if not line.startswith(known)]
    assert observe_all([*STORY[:place], *lines, *STORY[place:]]) == observe_all(STORY)


def test_the_last_word_on_a_file_counts() -> None:
    """The same event twice is one file."""
    files = observe_all([*STORY, f"file profile.json.gz 77 {SHA}"]).files
    assert [f.size_bytes for f in files] == [99, 77]


@pytest.mark.parametrize(("before", "after", "secs"), [(5, 105, 1.0), (5, 5, 0.0), (9, 5, 0.0)])
def test_cpu_time_is_never_negative(before: int, after: int, secs: float) -> None:
    """A stop right at the start may be noted in the wrong order."""
    assert observe_all([f"recording 1 {before}", f"stopping 2 {after} timer"]).cpu_secs == secs


def test_cpu_time_is_unknown_when_one_reading_is_missing() -> None:
    """Such as when the process ended by itself."""
    assert observe_all(["recording 1 5"]).cpu_secs is None


RAN = ["recording 1 5", "stopping 2 6 timer"]
PARANOID = (
    "'/proc/sys/kernel/perf_event_paranoid' is currently set to 2.\n"
    "In order for samply to work with a non-root user, this level needs to be set to 1 or lower.\n"
)


@pytest.mark.parametrize(
    ("lines", "log", "reason"),
    [
        pytest.param(["exit 1"], PARANOID, "PerfEventParanoid", id="paranoid"),
        pytest.param(
            ["exit 1"], "Operation not permitted (os error 1)", "PerfNotPermitted", id="EPERM"
        ),
        pytest.param(["exit 1"], "Permission denied (os error 13)", "PerfNotPermitted", id="EACCES"),
        pytest.param(
            ["exit 1"], "Failed to start profiling: mmap failed: Operation not permitted", "LockedMemory", id="mlock"
        ),
        pytest.param(["exit 1"], "Too many open files (os error 24)", "OpenFiles", id="too many fds"),
        pytest.param(
            ["exit 1"], "1000000 is over /proc/sys/kernel/perf_event_max_sample_rate", "RateTooHigh", id="rate"
        ),
        pytest.param(["exit 1"], "No such process (os error 3)", "ProcessNotFound", id="no process"),
        pytest.param([*RAN, "exit 1"], "No space left on device (os error 28)", "TooLittleSpace", id="disk full"),
        pytest.param(["deadline attach", "exit 137"], "", "AttachTimeout", id="never attached"),
        pytest.param([*RAN, "deadline finish", "exit 137"], "", "FinishTimeout", id="never finished"),
        pytest.param([*RAN, "exit 137"], "", "SamplyKilled", id="SIGKILL"),
        pytest.param(["exit 137"], "", "SamplyKilled", id="SIGKILL before it recorded"),
        pytest.param([*RAN, "exit 139"], "", "SamplyKilled", id="SIGSEGV"),
        pytest.param([*RAN, "exit 134"], "", "SamplyKilled", id="SIGABRT"),
        pytest.param(["exit 127"], "sh: /usr/bin/samply: not found", "SamplyNotFound", id="samply vanished"),
        pytest.param(["exit 2"], "error: unexpected argument '--x'", "SamplyFailed", id="wrong usage"),
        pytest.param(["exit 0"], "", "SamplyFailed", id="ended before it recorded"),
        pytest.param([], "", "SamplyFailed", id="nothing known at all"),
        pytest.param(["recording 1 5", "exit 0"], "", "TargetEnded", id="process ended, no file"),
        pytest.param([*RAN, "exit 0"], "", "NoProfileWritten", id="stopped, no file"),
        pytest.param([f"file profile.json.gz 1 {SHA}", "exit 0"], "", "SamplyFailed", id="file, no recording"),
        pytest.param([*RAN, f"file {record_output.SIDECAR} 1 {SHA}"], "", "NoProfileWritten", id="sidecar alone"),
    ],
)  # fmt: skip
def test_a_recording_without_a_profile_has_a_reason(lines: list[str], log: str, reason: str) -> None:
    """What samply said wins over its exit code; a deadline wins over both."""
    failure = record_output.judge(observe_all(lines), log)
    assert failure is not None
    assert failure.reason == reason
    assert failure.remedy
    assert failure.log == log


def test_a_profile_that_was_written_counts_whatever_else_went_wrong() -> None:
    """The process ended by itself, samply grumbled and exited with 1, but the file is there."""
    lines = ["recording 1 5", "exit 1", f"file profile.json.gz 10 {SHA}", "done"]
    assert record_output.judge(observe_all(lines), "Permission denied") is None


def test_what_samply_said_last_is_in_the_message_without_control_characters() -> None:
    """It ends up in a terminal."""
    failure = record_output.judge(Progress(exit_code=1), "first\n\x1b[31mOperation not permitted\x07\n\n")
    assert failure is not None
    assert failure.message == "samply could not record: [31mOperation not permitted"
    assert "\x1b" not in failure.log


@pytest.mark.parametrize(("text", "secs"), [("0", 0.0), ("123", 1.23), ("", None), ("-1", None), ("1.5", None)])
def test_a_clock_is_centiseconds(text: str, secs: float | None) -> None:
    """Anything else is unknown."""
    assert record_output.parse_clock(text) == secs


@pytest.mark.parametrize(
    ("lines", "log", "reason"),
    [
        pytest.param(["deadline memory", "exit 137"], "", "MemoryNear", id="it took too much"),
        pytest.param(["deadline finish", "exit 137"], "", "FinishTimeout", id="it took too long"),
        pytest.param(["exit 137"], "", "SamplyKilled", id="killed externally"),
        pytest.param(["exit 134"], "memory allocation of 9 bytes failed", "MemoryNear", id="the kernel refused it"),
        pytest.param(["exit 101"], "No space left on device (os error 28)", "TooLittleSpace", id="the disk was full"),
        pytest.param(["exit 0"], "", "NoProfileWritten", id="unknown cause"),
    ],
)
def test_half_a_file_has_the_reason_of_what_ended_samply(lines: list[str], log: str, reason: str) -> None:
    """Whether it is half is found out after the copy: samply writes the profile before it reads the symbols."""
    progress = observe_all([*RAN, f"file {record_output.PROFILE} 1 {SHA}", *lines])
    assert record_output.judge(progress, log) is None
    assert record_output.judge_half(progress, log).reason == reason
    assert record_output.was_killed(progress) is (reason not in {"TooLittleSpace", "NoProfileWritten"})


def test_a_deadline_that_came_too_late_changes_nothing() -> None:
    """It had just ended, as it should."""
    assert not record_output.was_killed(observe_all([*RAN, "deadline memory", "exit 0"]))


def test_a_process_that_was_left_stopped_is_reported_with_the_failure() -> None:
    """So that the reason why the pipeline did not run can be found."""
    failure = record_output.judge(observe_all(["deadline attach", "continued", "exit 137"]), "")
    assert failure is not None
    assert failure.reason == "AttachTimeout"
    assert failure.message.endswith(record_output.CONTINUED)
