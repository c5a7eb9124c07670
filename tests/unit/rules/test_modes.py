"""Which mode is chosen, and the failures if none is possible."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from samply_operator.model.container import ContainerFacts
from samply_operator.model.profile import Failure
from samply_operator.rules.recording import failures, modes
from samply_operator.rules.recording.modes import Choice, Situation
from samply_operator.rules.recording.preflight import Finding, Verdict
from samply_operator.settings import BringOwn, Ephemeral, Settings

GO = Verdict()
NO_SAMPLY = Verdict((Finding("samply", "refuse", "SamplyNotFound", "No samply.", "Add it."),))
STOPPED = Verdict((Finding("process", "refuse", "TargetStopped", "Stopped.", "Continue it."),))
NO_SHELL = failures.build_failure("NoShell", "No sh.")
REFUSED = failures.build_failure("EphemeralRefused", "Pod Security says no.")

BOTH = Settings(bring_own=BringOwn(enabled=True))
EPHEMERAL = Settings()
BRING = Settings(ephemeral=Ephemeral(enabled=False), bring_own=BringOwn(enabled=True))
NEITHER = Settings(ephemeral=Ephemeral(enabled=False))
ELSEWHERE = Settings(ephemeral=Ephemeral(namespaces=("other",)))
BOTH_ARCHITECTURES = Settings(ephemeral=Ephemeral(architectures=("amd64", "arm64")), bring_own=BringOwn(enabled=True))

AUTO = Situation("Auto", "here", ContainerFacts(arch="x86_64"), GO, GO)


@pytest.fixture(autouse=True)
def operator_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run on."""
    monkeypatch.setattr(modes, "OPERATOR_MACHINE", "x86_64")


def test_an_operator_on_arm64_brings_its_samply_there_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "OPERATOR_MACHINE", "aarch64")
    asked = replace(AUTO, wanted="BringOwn", facts=ContainerFacts(arch="aarch64"))
    assert modes.choose(asked, BOTH) == Choice("BringOwn")
    refused = modes.choose(replace(asked, facts=AUTO.facts), BOTH)
    assert isinstance(refused, Failure)
    assert refused.reason == "UnsupportedArchitecture"


def test_samply_for_another_machine_is_cured_by_a_helper_for_both() -> None:
    refused = modes.choose(replace(AUTO, wanted="BringOwn", facts=ContainerFacts(arch="aarch64")), BOTH_ARCHITECTURES)
    assert isinstance(refused, Failure)
    said = modes.name_other_way(refused, "BringOwn", "here", "aarch64", BOTH_ARCHITECTURES)
    assert "Use mode Ephemeral" in said.remedy
    assert modes.name_other_way(refused, "BringOwn", "here", "aarch64", BOTH) == refused


@pytest.mark.parametrize(
    ("situation", "settings", "way"),
    [
        pytest.param(AUTO, BOTH, "InPlace", id="in place is good"),
        pytest.param(replace(AUTO, is_blind=True), BOTH, "Ephemeral", id="blind in place"),
        pytest.param(replace(AUTO, is_blind=True), BRING, "BringOwn", id="blind, no ephemeral"),
        pytest.param(replace(AUTO, is_blind=True), NEITHER, "InPlace", id="blind, nothing else allowed"),
        pytest.param(replace(AUTO, in_place=NO_SAMPLY), BOTH, "Ephemeral", id="no samply"),
        pytest.param(replace(AUTO, in_place=NO_SAMPLY), BRING, "BringOwn", id="no samply, no ephemeral"),
        pytest.param(replace(AUTO, in_place=NO_SAMPLY), ELSEWHERE, "SamplyNotFound", id="ephemeral is for others"),
        pytest.param(replace(AUTO, in_place=NO_SAMPLY), NEITHER, "SamplyNotFound", id="no way"),
        pytest.param(replace(AUTO, in_place=NO_SHELL, bring_own=NO_SHELL), BOTH, "Ephemeral", id="distroless"),
        pytest.param(replace(AUTO, in_place=NO_SHELL, bring_own=NO_SHELL), BRING, "NoShell", id="distroless, no way"),
        pytest.param(replace(AUTO, in_place=STOPPED), BOTH, "TargetStopped", id="what no way cures"),
        pytest.param(
            replace(AUTO, is_blind=True, ephemeral_failure=REFUSED), EPHEMERAL, "InPlace", id="refused: blind is left"
        ),
        pytest.param(
            replace(AUTO, in_place=NO_SAMPLY, ephemeral_failure=REFUSED), BOTH, "BringOwn", id="refused: bring our own"
        ),
        pytest.param(replace(AUTO, wanted="InPlace", is_blind=True), BOTH, "InPlace", id="asked for in place"),
        pytest.param(replace(AUTO, wanted="InPlace", in_place=NO_SAMPLY), BOTH, "SamplyNotFound", id="no samply there"),
        pytest.param(replace(AUTO, wanted="Ephemeral"), NEITHER, "ModeNotAllowed", id="ephemeral not allowed"),
        pytest.param(replace(AUTO, wanted="Ephemeral"), EPHEMERAL, "Ephemeral", id="asked for ephemeral"),
        pytest.param(
            replace(AUTO, wanted="Ephemeral", facts=ContainerFacts(arch="aarch64")), EPHEMERAL,
            "UnsupportedArchitecture", id="ARM"
        ),
        pytest.param(
            replace(AUTO, wanted="Ephemeral", facts=ContainerFacts(arch="aarch64")), BOTH_ARCHITECTURES,
            "Ephemeral", id="ARM, of which there is an image"
        ),
        pytest.param(
            replace(AUTO, wanted="BringOwn", facts=ContainerFacts(arch="aarch64")), BOTH_ARCHITECTURES,
            "UnsupportedArchitecture", id="ARM, not in the operator's image"
        ),
        pytest.param(replace(AUTO, wanted="BringOwn"), EPHEMERAL, "ModeNotAllowed", id="bring own not allowed"),
        pytest.param(replace(AUTO, wanted="BringOwn"), BRING, "BringOwn", id="asked for bring own"),
        pytest.param(
            replace(AUTO, wanted="BringOwn", facts=ContainerFacts(arch="x86_64", is_noexec=True, folder="/tmp")),
            BRING, "NoWritableFolder", id="nothing may run there",
        ),
    ],
)  # fmt: skip
def test_the_chosen_mode(situation: Situation, settings: Settings, way: str) -> None:
    """The least intrusive one that gives a complete result; otherwise the reason why there is none."""
    choice = modes.choose(situation, settings)
    assert (choice.way if isinstance(choice, Choice) else choice.reason) == way


def test_auto_says_why() -> None:
    """The object must show why a container was added to the pod."""
    choice = modes.choose(replace(AUTO, in_place=NO_SAMPLY), BOTH)
    assert choice == Choice("Ephemeral", "No samply.")


def test_both_reasons_are_reported_where_neither_mode_is_possible() -> None:
    """Each with its cure."""
    failure = modes.choose(replace(AUTO, in_place=NO_SAMPLY, ephemeral_failure=REFUSED), EPHEMERAL)
    assert isinstance(failure, Failure)
    assert failure.reason == "SamplyNotFound"
    assert "Pod Security says no." in failure.message
    assert "Add it." in failure.remedy
    assert "ServiceAccount" in failure.remedy


@pytest.mark.parametrize(
    ("situation", "settings", "words", "cure"),
    [
        pytest.param(
            replace(AUTO, in_place=NO_SAMPLY), ELSEWHERE, "is not allowed in here", "config.ephemeral", id="not allowed"
        ),
        pytest.param(
            replace(AUTO, in_place=NO_SAMPLY, facts=ContainerFacts(arch="aarch64")), EPHEMERAL,
            "the node is aarch64", "for this architecture", id="another architecture"
        ),
    ],
)  # fmt: skip
def test_a_failure_explains_why_the_other_mode_is_unavailable(
    situation: Situation, settings: Settings, words: str, cure: str
) -> None:
    """Not only what the image lacks."""
    failure = modes.choose(situation, settings)
    assert isinstance(failure, Failure)
    assert failure.reason == "SamplyNotFound"
    assert words in failure.message
    assert failure.remedy.startswith("Add it. Or: ")
    assert cure in failure.remedy
    assert "spec.mode" not in failure.remedy


def test_a_shared_reason_is_given_once() -> None:
    """For example a node without memory."""
    both = Failure("NodeMemory", "The node has none left.", "Ask again.")
    failure = modes.choose(replace(AUTO, in_place=both, ephemeral_failure=both), EPHEMERAL)
    assert failure == replace(both, message="The node has none left. Mode Ephemeral would not change that.")


def test_a_blind_recording_says_why_there_was_no_better_one() -> None:
    """Ephemeral was tried, and refused."""
    choice = modes.choose(replace(AUTO, is_blind=True, ephemeral_failure=REFUSED), EPHEMERAL)
    assert choice == Choice("InPlace", "a CPU limit hides samples there, but mode Ephemeral: Pod Security says no.")


@pytest.mark.parametrize(
    ("wanted", "reason", "settings", "words"),
    [
        pytest.param("InPlace", "PerfEventParanoid", EPHEMERAL, "Use mode Ephemeral", id="another way is open"),
        pytest.param("BringOwn", "NoShell", EPHEMERAL, "Use mode Ephemeral", id="also of a brought samply"),
        pytest.param("InPlace", "SamplyNotFound", ELSEWHERE, "Allow mode Ephemeral", id="it would have to be allowed"),
        pytest.param("InPlace", "TightMemory", EPHEMERAL, "", id="what another way lacks as well"),
        pytest.param("Ephemeral", "PerfNotPermitted", EPHEMERAL, "", id="it was this way"),
        pytest.param("", "NoShell", EPHEMERAL, "", id="it may be any way"),
    ],
)
def test_a_failure_of_an_explicit_mode_names_the_other_mode(
    wanted: str, reason: str, settings: Settings, words: str
) -> None:
    """A new image, or root on the node, is not needed if mode Ephemeral works. It is mentioned once."""
    failure = failures.build_failure(reason, "It can't be.")
    told = modes.name_other_way(failure, wanted, "here", "x86_64", settings)
    assert told.remedy.startswith(failure.remedy)
    assert words in told.remedy
    assert (told == failure) == (words == "")
    assert modes.name_other_way(told, wanted, "here", "x86_64", settings) == told
    assert modes.name_other_way(failure, wanted, "here", "aarch64", settings) == failure


def test_mode_ephemeral_is_named_on_arm64_too_if_its_image_is_for_that() -> None:
    failure = failures.build_failure("SamplyNotFound", "It isn't.")
    told = modes.name_other_way(failure, "InPlace", "here", "aarch64", BOTH_ARCHITECTURES)
    assert "spec.mode" in told.remedy


def test_settings_are_as_documented() -> None:
    """Ephemeral on, bring our own off."""
    assert msgspec.to_builtins(Settings().bring_own) == {"enabled": False}
    assert Settings().ephemeral.enabled
