"""Every reason has a remedy; text from pods is cleaned and truncated."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import samply_operator
from samply_operator.errors import RecordingFailed
from samply_operator.model.profile import Failure
from samply_operator.recorder import run
from samply_operator.rules.recording import failures, record_output

SOURCE = Path(samply_operator.__file__).parent
CALLS = {"build_failure": 0, "fail": 0, "_fail": 0, "_refuse": 0, "_forbid": 1}
"""Functions with a reason among their arguments, and which one it is."""


def walk_calls() -> Iterator[tuple[str, ast.expr]]:
    # profiles/ has reasons of its own, which never reach an object.
    folders = ("rules", "recorder", "control", "controller", "discovery")
    for path in sorted(path for folder in folders for path in (SOURCE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in CALLS and len(node.args) > CALLS[name]:
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", node.args[CALLS[name]]


REASONS = {
    where: argument.value
    for where, argument in walk_calls()
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and argument.value.isidentifier()
}


def test_the_walk_finds_what_it_should() -> None:
    """Guards the next test against passing without any reasons."""
    assert len(REASONS) > 30
    assert {"SamplyNotFound", "AlreadyRecording", "TransferFailed", "TargetEnded", "Lost"} <= set(REASONS.values())


@pytest.mark.parametrize(
    "reason", sorted({*REASONS.values(), *(r for _, r in record_output._SAYINGS), *run.KEEPS_REMOTE})
)
def test_every_reason_in_the_source_has_a_cure(reason: str) -> None:
    """Otherwise the failure would be reported as a defect of the operator."""
    assert failures.REMEDIES.get(reason), f"{reason}: {[where for where, r in REASONS.items() if r == reason]}"


@pytest.mark.parametrize("reason", failures.REMEDIES)
def test_every_cure_is_a_sentence(reason: str) -> None:
    """It is shown after the message, to people."""
    remedy = failures.REMEDIES[reason]
    assert remedy.endswith(".")
    assert reason.isidentifier()
    assert reason[0].isupper()


def test_a_reason_without_a_cure_is_a_defect_that_shows_at_once() -> None:
    """No empty remedy by accident."""
    with pytest.raises(KeyError):
        failures.build_failure("NoSuchReason", "x")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain é ✓", "plain é ✓"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2Jgone\x07\x00\r", "[2Jgone"),
        ("right\u202eto left", "rightto left"),
        ("\ud800lone", "lone"),
        ("c1\x9b31m", "c131m"),
    ],
)
def test_control_characters_are_taken_out(text: str, cleaned: str) -> None:
    """Lines and tabs stay."""
    assert failures.clean_text(text) == cleaned


@given(st.text(), st.text())
def test_a_failure_is_always_fit_to_print_and_bounded(message: str, log: str) -> None:
    """Whatever a pod put into its message or its log."""
    failure = failures.build_failure("SamplyFailed", message * 50, log=log * 500)
    assert len(failure.message) <= 1024
    assert len(failure.log) <= 4096
    assert all(c in "\n\t" or c.isprintable() for c in failure.message + failure.log)


def test_of_a_long_log_the_end_is_kept() -> None:
    """That is where samply says why."""
    assert failures.build_failure("SamplyFailed", "x", log="a" * 5000 + "the end").log.endswith("the end")


def test_a_failure_survives_being_raised() -> None:
    """What is raised inside the recorder is what the object says."""
    failure = failures.build_failure("PodDeleted", "gone", log="log")
    with pytest.raises(RecordingFailed) as caught:
        failures.raise_failure(failure)
    assert failures.failure_of(caught.value) == failure == Failure("PodDeleted", "gone", failure.remedy, "log")
    assert caught.value.details == {"reason": "PodDeleted", "remedy": failure.remedy, "log": "log"}
