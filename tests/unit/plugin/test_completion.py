"""The suggestions for a shell's completion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from samply_operator.plugin import completion, main

COMMANDS = main.build_commands()[1]
NAMES = ["orders", "profile-1"]


def suggest(*words: str) -> list[str]:
    return completion.suggest(list(words), COMMANDS, lambda flags: NAMES)[0]


@pytest.mark.parametrize("words", [[""], ["-n", "feldera", ""]], ids=["first", "behind a flag"])
def test_every_command_is_suggested(words: list[str]) -> None:
    assert suggest(*words) == sorted(COMMANDS)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["re"], ["record"]),
        (["top", "or"], ["orders"]),
        (["diff", "orders", ""], NAMES),
        (["record", "--mo"], ["--mode"]),
        (["record", "--mode", "E"], ["Ephemeral"]),
        (["record", "--attach", "C"], ["CircuitProfile"]),
        (["top", "-o", ""], ["json", "text"]),
        (["export", "--li"], ["--limit"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["get", "orders", "-O", ""], []),
        (["nonsense", "x"], []),
    ],
)
def test_what_comes_next(words: list[str], found: list[str]) -> None:
    assert suggest(*words) == found


def test_names_come_from_the_cluster_and_namespace_that_the_line_says() -> None:
    asked: list[list[str]] = []

    def look(flags: list[str]) -> list[str]:
        asked.append(flags)
        return NAMES

    completion.suggest(["top", "-n", "feldera", "--context=far", "--limit", "3", ""], COMMANDS, look)
    assert asked == [["-n", "feldera", "--context=far"]]


def test_every_command_has_its_work() -> None:
    for command in COMMANDS.keys() - {"completion"}:
        assert hasattr(main.Plugin, f"run_{command}")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with the program that the scripts ask, and a kubectl without a cluster."""
    program = tmp_path / "kubectl_complete-samply"
    program.write_text(
        f"#!{sys.executable}\nfrom samply_operator.plugin import main\nraise SystemExit(main.complete())\n"
    )
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'orders profile-1'\n")
    for each in (program, kubectl):
        each.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def test_kubectl_is_answered_as_it_expects(path: str) -> None:
    """Suggestions, then the directive: no names of files."""
    done = subprocess.run(
        ["kubectl_complete-samply", "top", "o"], env={"PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "orders\n:4\n"


LINES = {
    "bash": "COMP_WORDS=(kubectl-samply top o); COMP_CWORD=2; _kubectl_samply; echo ${COMPREPLY[@]}",
    "zsh": "words=(kubectl-samply top o); CURRENT=3; compadd() { echo $found }; _kubectl_samply",
    "fish": "complete -C 'kubectl-samply top o'",
}


@pytest.mark.parametrize("shell", completion.SCRIPTS)
def test_the_script_of_each_shell_works_in_it(shell: str, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} isn't installed")
    assert main.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    if shell == "zsh":
        script = "compdef() { : }\n" + script
    done = subprocess.run(
        [shell, "-c", f"{script}\n{LINES[shell]}"], env={"PATH": path, "HOME": "/nonexistent"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["orders"], done.stderr
