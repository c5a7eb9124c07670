"""`kubectl samply doctor` from outside: its requests to kubectl, and its conclusions from the output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from samply_operator.errors import KubeError, KubeForbidden
from samply_operator.model.check import Check, Report
from samply_operator.plugin import doctor, main, service
from samply_operator.plugin.doctor import Doctor
from samply_operator.plugin.service import Place
from samply_operator.settings import Ephemeral, Settings

PLACE = Place("tools", "so", 80, selector={"app.kubernetes.io/instance": "so"})
READY = {
    "metadata": {"namespace": "tools", "name": "so-1"},
    "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "profiles"}}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
PIPELINE = {"metadata": {"namespace": "tools", "name": "p-0"}, "spec": {"nodeName": "node-1"}}
INSIDE = Report("Warning", (Check("Names", "Warning", "By id.", "Label it."),))


@dataclass
class Kubectl:
    """Answers as a healthy cluster; `faults` are raised for commands that hold a word."""

    pods: list[dict[str, Any]] = field(default_factory=lambda: [READY])
    claim: str = "Bound"
    probe: dict[str, Any] = field(default_factory=lambda: {"phase": "Succeeded"})
    paranoid: str = "1"
    said: str = msgspec.json.encode(INSIDE).decode()
    faults: dict[str, KubeError] = field(default_factory=dict)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    created: list[Mapping[str, Any]] = field(default_factory=list)

    def run(self, *arguments: str, body: Mapping[str, Any] | None = None, is_exit_code_ignored: bool = False) -> str:
        self.calls.append(arguments)
        for word, error in self.faults.items():
            if word in arguments:
                raise error
        if body is not None:
            self.created.append(body)
        return self.said if "exec" in arguments else f"{self.paranoid}\n"

    def get(self, *arguments: str) -> dict[str, Any]:
        self.calls.append(arguments)
        match arguments[2:]:
            case ["pods", "-l", "app.kubernetes.io/instance=so"]:
                return {"items": self.pods}
            case ["deployments", "-l", _]:
                return {"items": []}
            case ["pods", "-l", _, _]:
                return {"items": [PIPELINE]}
            case ["persistentvolumeclaim", name]:
                return {"metadata": {"name": name}, "spec": {}, "status": {"phase": self.claim}}
            case ["configmap", "so"]:
                config = Settings(ephemeral=Ephemeral(image="r/samply:1"))
                return {"data": {"settings.json": msgspec.json.encode(config).decode()}}
            case ["pod", _]:
                return {"status": self.probe}
        raise AssertionError(arguments)


def examine(kubectl: Kubectl, *, is_probing: bool = True, ask: Any = None) -> dict[str, Check]:
    """By area; of several the last one."""
    report = Doctor(kubectl, PLACE, ask, is_probing=is_probing).examine()  # type: ignore[arg-type]
    return {check.area: check for check in report.checks}


def test_a_healthy_installation() -> None:
    """The pod, its claim, what the operator says itself, and one node; the probe does not stay."""
    kubectl = Kubectl()
    found = examine(kubectl)
    assert {area: check.status for area, check in found.items()} == {
        "Operator": "Passed", "Volume": "Passed", "Names": "Warning", "HelperImage": "Passed", "Kernel": "Passed",
    }  # fmt: skip
    (probe,) = kubectl.created
    assert probe["spec"]["nodeName"] == "node-1"
    assert probe["spec"]["containers"][0]["image"] == "r/samply:1"
    assert ("delete", "pod", probe["metadata"]["name"]) in [call[2:5] for call in kubectl.calls]


def test_no_pod_is_started_where_that_is_not_wanted() -> None:
    kubectl = Kubectl()
    assert "HelperImage" not in examine(kubectl, is_probing=False)
    assert kubectl.created == []


def test_an_operator_that_does_not_run_is_not_asked() -> None:
    kubectl = Kubectl(pods=[], claim="Pending")
    found = examine(kubectl, is_probing=False)
    assert found["Operator"].status == "Failed"
    assert not any("exec" in call for call in kubectl.calls)


def test_a_claim_that_waits() -> None:
    assert examine(Kubectl(claim="Pending"), is_probing=False)["Volume"].status == "Failed"


def test_over_http_nothing_is_executed() -> None:
    kubectl = Kubectl()
    assert examine(kubectl, is_probing=False, ask=lambda: INSIDE)["Names"].status == "Warning"
    assert not any("exec" in call for call in kubectl.calls)


@pytest.mark.parametrize("said", ["", "no JSON", "{}"])
def test_an_operator_without_useful_output(said: str) -> None:
    """An older one does not have the command."""
    check = examine(Kubectl(said=said), is_probing=False)["Operator"]
    assert (check.status, bool(check.remedy)) == ("Unknown", True)


def test_without_the_right_to_start_pods_other_checks_still_run() -> None:
    found = examine(Kubectl(faults={"create": KubeForbidden("pods is forbidden")}))
    assert (found["HelperImage"].status, "--no-probe" in found["HelperImage"].remedy) == ("Unknown", True)
    assert found["Names"].status == "Warning"


def test_a_node_without_the_image_or_with_a_kernel_that_refuses() -> None:
    waiting = {"reason": "ErrImagePull", "message": "not found"}
    stuck = Kubectl(probe={"containerStatuses": [{"name": "probe", "state": {"waiting": waiting}}]})
    assert examine(stuck)["HelperImage"].status == "Failed"
    assert any("delete" in call for call in stuck.calls), "the probe is removed"
    assert examine(Kubectl(paranoid="4"))["Kernel"].status == "Warning"
    assert examine(Kubectl(paranoid="?"))["Kernel"].status == "Unknown"


def test_a_node_that_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PULL_SECS", 0.0)
    assert examine(Kubectl(probe={"phase": "Pending"}))["HelperImage"].status == "Unknown"


@pytest.mark.parametrize(("status", "code"), [("Passed", 0), ("Warning", 0), ("Unknown", 0), ("Failed", 1)])
@pytest.mark.parametrize("output", ["text", "json"])
def test_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str, code: int, output: str
) -> None:
    """Its exit status says whether something failed; each cure is shown."""
    check = Check("Rights", status, "It may not.", "Grant it.")  # type: ignore[arg-type]
    monkeypatch.setattr(Doctor, "examine", lambda _: Report(status, (check,)))  # type: ignore[arg-type]
    monkeypatch.setattr(service, "find_service", lambda *_: PLACE)
    assert main.main(["doctor", "-n", "tools", "-o", output]) == code
    said = capsys.readouterr().out
    assert "It may not." in said
    if output == "json":
        assert json.loads(said)["status"] == status
    else:
        assert ("cure: Grant it." in said) == (status != "Passed")
