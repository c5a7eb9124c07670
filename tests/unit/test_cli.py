"""The command line: exit codes and output; the programs behind it have their own tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import samply_operator
from samply_operator.cli import main, store_commands
from samply_operator.settings import Bucket, Settings, Storage
from samply_operator.store import moving


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "samply_operator.cli", *arguments],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **(environment or {})},
    )  # fmt: skip


def test_its_version_is_the_packages() -> None:
    """As an installed program says it."""
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"samply-operator {samply_operator.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["operator", "--nonsense"],
        ["heartbeat", "--max-age", "x"],
        ["heartbeat", "--max-age", "nan"],
        ["heartbeat", "--max-age", "inf"],
        ["key", "new", "ci", "--namespaces", "a", "--days", "0"],
        ["key", "new", "ci", "--namespaces", "a", "--days", "3651"],
    ],
)
def test_wrong_usage_is_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the usage on stderr."""
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    assert caught.value.code == 2
    assert "usage: samply-operator" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["operator", "api"])
def test_wrong_settings_end_it_with_one_line_that_names_the_key(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not with a traceback."""
    path = tmp_path / "settings.json"
    path.write_text('{"recording": {"rateHz": "fast"}}')
    assert main.main([command, "--settings", str(path)]) == 1
    written = capsys.readouterr().err
    assert written.startswith("samply-operator: settings: ")
    assert "$.recording.rateHz" in written
    assert written.count("\n") == 1


def test_a_pattern_without_its_group_ends_the_operator_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At start, not at the first pod."""
    path = tmp_path / "settings.json"
    path.write_text('{"targets": {"namePattern": "(x"}, "logLevel": "ERROR"}')
    result = run("operator", "--settings", str(path))
    assert result.returncode == 1
    assert "config.targets.namePattern" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "foo://x/y"], "foo://x/y: the text has another form. A URL is s3://NAME/PREFIX/CLUSTER"),
        (["--from", "s3://profiles/Team"], "s3://profiles/Team: the text has another form. A URL is s3://"),
        (["--from", "s3://prod-1"], "s3://prod-1: the last part is the cluster's folder"),
        (["--from", "/data"], "One of --from and --to must be a folder"),
        (["--from", "s3://profiles/a", "--endpoint", "x"], "--endpoint x: the text has another form. A URL is s3://"),
        (["--from", "s3://profiles/a", "--credentials", "/none"], "--credentials /none: there is no such folder."),
    ],
)
def test_a_copy_that_is_refused_leaves_nothing_behind(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["store", "copy", *arguments, "--to", str(tmp_path / "volume")]) == 2
    assert capsys.readouterr().err.startswith(f"samply-operator: {said}")
    assert not (tmp_path / "volume").exists()


def test_the_history_of_a_cluster_that_is_only_read_can_be_copied(tmp_path: Path) -> None:
    config = Settings(storage=Storage(bucket=Bucket(url="s3://profiles", read_clusters=("prod-2",))))
    arguments = ["copy", "--from", "s3://profiles/prod-2", "--to", str(tmp_path / "volume")]
    way = store_commands._build_way(store_commands.build_parser().parse_args(arguments), config)
    assert isinstance(way, moving.Download)


@pytest.fixture
def heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "heartbeat"
    (tmp_path / "settings.json").write_text(json.dumps({"paths": {"heartbeat": str(path)}}))
    monkeypatch.setenv("SAMPLY_OPERATOR_SETTINGS", str(tmp_path / "settings.json"))
    return path


@pytest.mark.parametrize(("age_secs", "code"), [(None, 1), (0, 0), (50, 0), (70, 1), (-100, 0)])
def test_the_probe_fails_when_the_loop_has_not_beaten_lately(
    heartbeat: Path, capsys: pytest.CaptureFixture[str], age_secs: float | None, code: int
) -> None:
    """No file: it never beat."""
    if age_secs is not None:
        heartbeat.touch()
        os.utime(heartbeat, times=(time.time() - age_secs,) * 2)
    assert main.main(["heartbeat"]) == code
    assert ("heartbeat" in (said := capsys.readouterr().err)) is bool(code)
    assert ("see its log" in said) is bool(code)


def test_the_probe_needs_neither_kopf_nor_the_client() -> None:
    """It runs every few seconds in a small container."""
    text = "import sys; from samply_operator.cli import main; main.main(['heartbeat']); print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()  # fmt: skip
    assert not {"kopf", "aiohttp", "kubernetes"} & set(loaded)
