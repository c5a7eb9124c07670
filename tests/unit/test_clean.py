"""hack/clean, in a folder of its own, over a `docker` and a `hack/cluster` that are scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "hack" / "clean"
CLUSTER = """\
#!/bin/sh
echo "cluster $* with $(ls "$SAMPLY_CLUSTER_STATE" 2>/dev/null)" >> "$LOG"
"""
DOCKER = """\
#!/bin/sh
echo "docker $*" >> "$LOG"
case "$*" in
    "ps "*) cat others ;;
    "image ls"*) printf '%s\\n' samply-operator:dev debian:trixie-slim samply-test-bare:dev my-samply-test:dev ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("hack", "operator", "tests", "bench", "tools", "cache"):
        (tmp_path / folder).mkdir()
    for name in ("clean", "common.sh"):
        shutil.copy2(SCRIPT.parent / name, tmp_path / "hack" / name)
    for path, script in (("hack/cluster", CLUSTER), ("tools/docker", DOCKER)):
        (tmp_path / path).write_text(script)
        (tmp_path / path).chmod(0o755)
    (tmp_path / "others").touch()
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SAMPLY_OPERATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SAMPLY_CLUSTER_STATE", str(tmp_path / "state"))
    return tmp_path


def clean(machine: Path, *arguments: str) -> list[str]:
    """The calls that it made."""
    subprocess.run([machine / "hack" / "clean", *arguments], check=True, capture_output=True)
    return (machine / "log").read_text().splitlines()


def test_a_native_cluster_beside_kind_is_stopped_first(machine: Path) -> None:
    """Its folder goes only then."""
    (machine / "state" / "pids").mkdir(parents=True)
    calls = [call for call in clean(machine) if call.startswith("cluster")]
    assert calls == ["cluster down with pids", "cluster --provider native down with pids"]
    assert not (machine / "state").exists()


def test_without_a_native_cluster(machine: Path) -> None:
    assert [call for call in clean(machine) if call.startswith("cluster")] == ["cluster down with "]


@pytest.mark.parametrize(("others", "removed"), [("", 1), ("0123456789ab\n", 0)])
def test_the_network_of_kind(machine: Path, others: str, removed: int) -> None:
    """It goes unless another cluster of kind uses it."""
    (machine / "others").write_text(others)
    assert clean(machine).count("docker network rm kind") == removed


def test_all_images(machine: Path) -> None:
    calls = clean(machine, "--all")
    assert calls[-1] == "docker image rm --force samply-operator:dev samply-test-bare:dev"
    assert not (machine / "cache").exists()
