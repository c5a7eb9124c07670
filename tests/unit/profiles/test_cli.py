"""`samply-operator profile …` on files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from samply_operator import profiles
from samply_operator.cli import profile_commands
from samply_operator.profiles.worker import jobs


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
    assert out.read_bytes() == b"".join(jobs.convert(jobs.Convert(profile=str(baked), format=format_)))


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


def test_bake_never_overwrites_what_it_reads(raw: Path, tmp_path: Path) -> None:
    copy = tmp_path / "p.json.gz"
    copy.write_bytes(raw.read_bytes())
    assert profile_commands.main(["bake", str(copy), "--out", str(copy)]) == 2
    assert copy.read_bytes() == raw.read_bytes()


def test_a_missing_file_is_one_line_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert profile_commands.main(["top", "/nonexistent"]) == 1
    assert capfd.readouterr().err.count("\n") == 1


def test_wrong_usage_is_status_2() -> None:
    with pytest.raises(SystemExit) as caught:
        profile_commands.main(["top"])
    assert caught.value.code == 2


@pytest.mark.parametrize("command", ["top", "convert", "diff", "merge", "check", "bake"])
def test_every_command_has_help(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        profile_commands.main([command, "--help"])
    assert caught.value.code == 0
    assert command in capfd.readouterr().out


def test_a_reader_that_goes_away_is_no_traceback(baked: Path) -> None:
    program = "import sys; from samply_operator.cli import profile_commands as cli; sys.exit(cli.main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", program, "convert", str(baked), "--format", "speedscope"],
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
