"""`samply-operator profile …` on files."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from samply_operator import profiles
from samply_operator.cli import profile_commands
from samply_operator.profiles.output import whole_file
from samply_operator.profiles.worker import commands, jobs
from support import profile_maker
from support.profile_maker import Sample

PROGRAM = "import sys; from samply_operator.cli import profile_commands as cli; sys.exit(cli.main(sys.argv[1:]))"


def test_top_prints_a_table(baked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert profile_commands.main(["top", str(baked), "--limit", "2"]) == 0
    assert "sort_batch  [demo]" in capfd.readouterr().out


def test_top_prints_json(baked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert profile_commands.main(["top", str(baked), "--limit", "1", "-o", "json", "--from", "0.5", "--to", "1"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert 0 < summary["all_threads"]["samples"] < 465


def test_an_unknown_thread_is_answered_with_those_that_exist(baked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert profile_commands.main(["top", str(baked), "--thread", "none"]) == 1
    assert "demo (host 1 of 2), worker-0, worker-1" in capfd.readouterr().err


@pytest.mark.parametrize("format_", jobs.FORMATS)
def test_convert_writes_a_file(format_: jobs.Format, baked: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert profile_commands.main(["convert", str(baked), "--format", format_, "--out", str(out)]) == 0
    assert out.read_bytes() == b"".join(commands.run(jobs.Convert(profile=str(baked), format=format_)))


def test_diff_prints_and_draws(baked: Path, raw: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert profile_commands.main(["diff", str(raw), str(baked)]) == 0
    assert "sort_batch" in capfd.readouterr().out
    out = tmp_path / "diff.svg"
    assert profile_commands.main(["diff", str(raw), str(baked), "--format", "svg", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"<?xml")


def test_merge_prints_all_profiles(baked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert profile_commands.main(["merge", str(baked), str(baked)]) == 0
    assert "2 profiles: 930 samples" in capfd.readouterr().out


def test_check_tells_good_from_bad(baked: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json.gz"
    bad.write_bytes(baked.read_bytes()[:-20])
    assert profile_commands.main(["check", str(baked)]) == 0
    assert profile_commands.main(["check", str(baked), str(bad), "-o", "json"]) == 1
    out = capfd.readouterr().out
    verdicts = json.loads(out[out.index("[") :])
    assert [verdict["good"] for verdict in verdicts] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--max-unresolved", "50"], 1),
        (["--max-unresolved", "100"], 0),
        (["--min-samples", "465"], 0),
        (["--min-samples", "466"], 1),
    ],
)
def test_check_holds_a_file_to_what_is_asked(arguments: list[str], status: int, raw: Path) -> None:
    assert profile_commands.main(["check", str(raw), *arguments]) == status


def test_bake_writes_names(raw: Path, sidecar: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json.gz"
    assert profile_commands.main(["bake", str(raw), "--symbols", str(sidecar), "--out", str(out)]) == 0
    assert profiles.facts(profiles.read(out)).symbolicated


@pytest.mark.parametrize("how", ["same name", "symbolic link", "hard link", "through a folder"])
@pytest.mark.parametrize("command", ["convert", "diff", "bake"])
def test_what_is_read_is_never_overwritten(command: str, how: str, raw: Path, tmp_path: Path) -> None:
    copy = tmp_path / "p.json.gz"
    copy.write_bytes(raw.read_bytes())
    out = {"same name": copy, "through a folder": tmp_path / "x" / ".." / "p.json.gz"}.get(how, tmp_path / "link")
    (tmp_path / "x").mkdir()
    if how == "symbolic link":
        out.symlink_to(copy)
    elif how == "hard link":
        out.hardlink_to(copy)
    arguments = {"convert": [str(copy), "--format", "svg"], "diff": [str(raw), str(copy)], "bake": [str(copy)]}[command]
    assert profile_commands.main([command, *arguments, "--out", str(out)]) == 2
    assert copy.read_bytes() == raw.read_bytes()


def test_a_profile_as_the_sidecar_is_recognized(raw: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert profile_commands.main(["bake", str(raw), "--symbols", str(raw), "--out", out]) == 1
    said = capfd.readouterr().err
    assert said.startswith("The file with the symbols is a profile. Name the *.syms.json")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"<html>", "has an unknown form: .*Save both answers again.*dataflow_graph.*circuit_json_profile"),
        (b"{}", "mir is missing. Save both answers again"),
        (None, "No such file or directory. Name a file that you may read."),
    ],
)
def test_answers_that_name_nothing(
    answer: bytes | None, said: str, raw: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if answer is not None:
        (tmp_path / "answer").write_bytes(answer)
    paths = ["--dataflow", str(tmp_path / "answer"), "--circuit", str(tmp_path / "answer")]
    assert profile_commands.main(["name", str(raw), *paths]) == 1
    assert re.search(said, capfd.readouterr().err)


def test_bake_does_not_overwrite_the_symbols(raw: Path, sidecar: Path, tmp_path: Path) -> None:
    copy = tmp_path / "s.json"
    copy.write_bytes(sidecar.read_bytes())
    assert profile_commands.main(["bake", str(raw), "--symbols", str(copy), "--out", str(copy)]) == 2
    assert copy.read_bytes() == sidecar.read_bytes()


FAILING = {
    "no profile": ["convert", "BAD", "--format", "svg"],
    "no CPU times": ["convert", "NOCPU", "--format", "speedscope", "--measure", "cpu"],
    "no samples": ["convert", "EMPTY", "--format", "folded"],
    "diff": ["diff", "RAW", "EMPTY"],
    "diff as a graph": ["diff", "RAW", "BAD", "--format", "svg"],
    "bake": ["bake", "BAD"],
    "bake, whose symbols are broken": ["bake", "RAW", "--symbols", "BAD"],
}


@pytest.mark.parametrize("case", FAILING)
def test_a_file_is_replaced_whole_or_not_at_all(case: str, raw: Path, tmp_path: Path) -> None:
    """And nothing is left beside it."""
    (tmp_path / "bad").write_bytes(raw.read_bytes()[:-20])
    files = {
        "RAW": raw,
        "BAD": tmp_path / "bad",
        "EMPTY": profile_maker.save(profile_maker.build([]), tmp_path / "empty.json.gz"),
        "NOCPU": profile_maker.save(profile_maker.build([[Sample(("a",))]], has_cpu=False), tmp_path / "nocpu.json.gz"),
    }
    out = tmp_path / "out" / "kept"
    out.parent.mkdir()
    out.write_bytes(b"what was there")
    arguments = [str(files.get(each, each)) for each in FAILING[case]]
    assert profile_commands.main([*arguments, "--out", str(out)]) == 1
    assert out.read_bytes() == b"what was there"
    assert [each.name for each in out.parent.iterdir()] == ["kept"]


def test_a_file_that_fails_half_way_leaves_the_old_one(raw: Path, tmp_path: Path) -> None:
    """As on a full disk."""

    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "kept"
    out.write_bytes(b"what was there")
    with pytest.raises(whole_file.OutputError, match=rf"{out} can't be written: No space left.*Free some space"):
        whole_file.write(pieces(), out)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"what was there"]


def test_a_file_that_is_replaced_keeps_its_rights_and_a_link_stays_one(baked: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    assert profile_commands.main(["convert", str(baked), "--format", "folded", "--out", str(link)]) == 0
    assert link.is_symlink()
    assert target.read_bytes().startswith(b"demo")
    assert target.stat().st_mode & 0o777 == 0o640


def test_what_is_no_file_is_written_to_as_it_is(baked: Path) -> None:
    assert profile_commands.main(["convert", str(baked), "--format", "folded", "--out", os.devnull]) == 0
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("none/f", "there is no folder {}/none. Create it first."),
        ("file/f", "there is no folder {}/file. Create it first."),
        ("folder", "Is a directory. Name a file in it."),
        ("x" * 250 + "/" + "y" * 300, "File name too long. Give it a shorter name."),
    ],
    ids=["no folder", "a file in place of a folder", "a folder", "a long name"],
)
@pytest.mark.parametrize("command", ["convert", "diff", "bake"])
def test_an_output_that_cannot_be_written_is_named_as_the_user_did(
    command: str, place: str, why: str, baked: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / ("x" * 250)).mkdir()
    out = f"{tmp_path}/{place}"
    arguments = {"convert": [str(baked), "--format", "svg"], "diff": [str(baked)] * 2, "bake": [str(baked)]}[command]
    assert profile_commands.main([command, *arguments, "--out", out]) == 1
    assert capfd.readouterr().err == f"{out} can't be written: {why.format(tmp_path)}\n"


@pytest.mark.parametrize("command", ["convert", "bake"])
def test_a_full_disk_is_told_with_the_name_of_the_file(
    command: str, baked: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more = ["--format", "svg"] if command == "convert" else []
    assert profile_commands.main([command, str(baked), *more, "--out", "/dev/full"]) == 1
    assert "/dev/full can't be written: No space left on device. Free some space" in capfd.readouterr().err


COMMANDS = [
    ["top", "FILE"],
    ["top", "FILE", "-o", "json"],
    ["convert", "FILE", "--format", "folded"],
    ["convert", "FILE", "--format", "pprof"],
    ["diff", "FILE", "FILE"],
    ["diff", "FILE", "FILE", "--format", "svg"],
    ["merge", "FILE"],
    ["check", "FILE"],
    ["check", "FILE", "-o", "json"],
]


FORKING = """
import json, os, sys
from samply_operator.cli import profile_commands as cli
commands, folder, file = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
for number, arguments in enumerate(commands):
    if not os.fork():
        written = os.open(f"{folder}/{number}", os.O_WRONLY | os.O_CREAT)
        os.dup2(written, 2)
        os.close(written)
        sys.exit(cli.main([file if each == "FILE" else each for each in arguments]))
    print(os.waitstatus_to_exitcode(os.wait()[1]), file=sys.stderr)
"""
"""Every one of COMMANDS, each in a process of its own that has imported the program already."""


@pytest.fixture(scope="module", params=["&-", "/dev/full"])
def refused(
    request: pytest.FixtureRequest, baked_once: bytes, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[tuple[int, str]]]:
    """Where stdout goes, and the status of each command with what it wrote to stderr."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "file").write_bytes(baked_once)
    shell = ["sh", "-c", f'exec "$@" >{request.param}', "sh", sys.executable, "-W", "ignore", "-c", FORKING]
    done = subprocess.run(
        [*shell, json.dumps(COMMANDS), str(folder), str(folder / "file")], capture_output=True, text=True, check=True
    )
    statuses = map(int, done.stderr.split())
    return request.param, [(status, (folder / str(number)).read_text()) for number, status in enumerate(statuses)]


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=lambda number: " ".join(COMMANDS[number]))
def test_stdout_that_takes_nothing_is_one_line_on_stderr(
    number: int, refused: tuple[str, list[tuple[int, str]]]
) -> None:
    to, outcomes = refused
    status, written = outcomes[number]
    said = {"&-": "The output is closed. Name a file", "/dev/full": "The output can't be written: No space left"}
    assert status == 1
    assert written.startswith(said[to])
    assert written.count("\n") == 1


def test_what_would_be_ignored_is_refused(baked: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Options that have no effect beside another one."""
    (tmp_path / "own.toml").write_text("[[group]]\nname = 'sorting'\nfunction = ['^sort_']\n")
    both = ["diff", str(baked), str(baked)]
    for arguments in (
        [*both, "--format", "svg", "-o", "json"],
        [*both, "--format", "svg", "--limit", "3"],
        ["top", str(baked), "--rules", str(tmp_path / "own.toml")],
        ["convert", str(baked), "--format", "folded", "--rules", str(tmp_path / "own.toml")],
    ):
        assert profile_commands.main(arguments) == 2
        found = capfd.readouterr()
        assert "has no effect beside" in found.err
        assert found.out == ""


def test_threads_are_listed_below_each_group(baked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain = profile_commands.main(["top", str(baked), "--by", "group"])
    table = capfd.readouterr().out
    assert (plain, "thread worker-0" in table) == (0, False)
    assert profile_commands.main(["top", str(baked), "--by", "group", "--per-thread"]) == 0
    lines = [line.split() for line in capfd.readouterr().out.splitlines() if " thread worker-" in line]
    assert {line[3] for line in lines} == {"worker-0", "worker-1"}
    assert {float(line[0]) for line in lines} <= set(range(101))
    assert all(line[-1] == "ms" and float(line[-2]) > 0 for line in lines)


def test_a_missing_file_is_one_line_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert profile_commands.main(["top", "/nonexistent"]) == 1
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["top"], "required"),
        (["top", "f", "--limit", "0"], "a whole number, 1 or more"),
        (["top", "f", "--coverage", "nan"], "a number from 0 to 1"),
        (["top", "f", "--coverage", "95"], "a number from 0 to 1"),
        (["top", "f", "--lost-events", "-1"], "a whole number, 0 or more"),
        (["top", "f", "--from", "inf"], "a number from 0 to 1000000"),
        (["top", "f", "--to", "-1"], "a number from 0 to 1000000"),
        (["check", "f", "--max-unresolved", "nan"], "a number from 0 to 100"),
        (["check", "f", "--max-unresolved", "inf"], "a number from 0 to 100"),
        (["check", "f", "--max-unresolved", "101"], "a number from 0 to 100"),
        (["check", "f", "--max-unresolved", "-0.1"], "a number from 0 to 100"),
        (["check", "f", "--min-samples", "1.5"], "a whole number, 1 or more"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_wrong_usage_is_status_2(arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        profile_commands.main(arguments)
    assert caught.value.code == 2
    assert said in capfd.readouterr().err


def test_a_range_that_ends_before_it_begins_is_refused(baked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert profile_commands.main(["top", str(baked), "--from", "5", "--to", "2"]) == 2
    assert capfd.readouterr().err == "--to 2 is before --from 5. Give a later end.\n"


@pytest.mark.parametrize("command", ["top", "convert", "diff", "merge", "check", "bake"])
def test_every_command_has_help(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        profile_commands.main([command, "--help"])
    assert caught.value.code == 0
    assert command in capfd.readouterr().out


def test_a_reader_that_goes_away_is_no_traceback(baked: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "convert", str(baked), "--format", "speedscope"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_by_group_and_own_rules(baked: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also where a file of rules is no good, or the profile has no markers."""
    rules = tmp_path / "own.toml"
    rules.write_text("[[group]]\nname = 'sorting'\nfunction = ['^sort_']\n")
    assert profile_commands.main(["top", str(baked), "--by", "group", "--rules", str(rules)]) == 0
    assert "  sorting\n" in capfd.readouterr().out
    assert (
        profile_commands.main(["convert", str(baked), "--by", "group", "--rules", str(rules), "--format", "folded"])
        == 0
    )
    assert ";sorting;" in capfd.readouterr().out
    assert profile_commands.main(["diff", str(baked), str(baked), "--by", "group"]) == 0
    assert "(no rule matches)  [outside]" in capfd.readouterr().out
    rules.write_text("group = 1")
    assert profile_commands.main(["top", str(baked), "--by", "group", "--rules", str(rules)]) == 1
    assert "the rules can't be used" in capfd.readouterr().err
    assert profile_commands.main(["top", str(baked), "--by", "operator"]) == 1
    assert "has no markers of operators" in capfd.readouterr().err
