"""`kubectl samply doctor`: checks an installation from outside with the user's kubectl, and from inside with the
operator.

Outside: does the pod run, is its claim bound, do the pipelines' nodes get the helper's image, and what does their
kernel allow? The last two start a short-lived pod on each node. Inside: see doctor/examination.py.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from samply_operator import settings as settings_
from samply_operator.errors import KubeError, KubeForbidden, SamplyOperatorError
from samply_operator.model.check import Check, Report
from samply_operator.plugin.kubectl import Kubectl
from samply_operator.plugin.service import Place
from samply_operator.rules.installation import checks, releases
from samply_operator.settings import Settings

MAX_NODES = 3
"""Maximum number of checked nodes."""
PULL_SECS = 60.0
POLL_SECS = 0.5
MARKS = {"Passed": "ok", "Warning": "warning", "Failed": "FAILED", "Unknown": "unknown"}

Json = dict[str, Any]


class Doctor:
    """`place` is the release's Service. `ask` returns the operator's own checks over HTTP; None: use exec."""

    def __init__(self, kubectl: Kubectl, place: Place, ask: Callable[[], Report] | None, *, is_probing: bool) -> None:
        self._kubectl = kubectl
        self._place = place
        self._ask = ask
        self._is_probing = is_probing

    def examine(self) -> Report:
        outside = list(self._check_release())
        inside: Sequence[Check] = ()
        if not any(check.status == "Failed" for check in outside):
            inside = self._examine_inside()
        return checks.build_report([*outside, *inside, *self._probe()])

    def _get(self, *arguments: str, namespace: str = "") -> Json:
        return self._kubectl.get("--namespace", namespace or self._place.namespace, *arguments)

    def _check_release(self) -> Iterator[Check]:
        """Its pod and its claim."""
        selector = ",".join(f"{key}={value}" for key, value in self._place.selector.items())
        pods = self._get("pods", "-l", selector)["items"]
        yield releases.judge_pods(pods, () if pods else self._get("deployments", "-l", selector)["items"])
        names = releases.list_claims(pods)
        yield from (releases.judge_claim(self._get("persistentvolumeclaim", name)) for name in names)

    def _examine_inside(self) -> Sequence[Check]:
        if self._ask is not None:
            return self._ask().checks
        where = ("--namespace", self._place.namespace, "exec", f"deployment/{self._place.name}", "-c", "operator", "--")
        try:
            said = self._kubectl.run(*where, "samply-operator", "doctor", is_exit_code_ignored=True)
            return msgspec.json.decode(said, type=Report).checks
        except (KubeError, msgspec.MsgspecError) as error:
            remedy = "It needs `create` on pods/exec there; or ask over HTTP: --service-account NAME, or --token."
            return (
                Check(
                    "Operator", "Unknown", f"The operator cannot be asked: {getattr(error, 'message', error)}", remedy
                ),
            )

    # ------------------------------------------------------------------------------------------------- on the nodes

    def _probe(self) -> Iterator[Check]:
        if not self._is_probing:
            return
        try:
            config = self._read_settings()
            for pod in self._choose_pods(config):
                yield from self._probe_node(pod, config.ephemeral.image)
        except KubeForbidden as error:
            remedy = "It needs `create` on pods in the pipelines' namespaces; --no-probe leaves this out."
            yield Check("HelperImage", "Unknown", f"No node can be tried: {error.message}", remedy)
        except SamplyOperatorError as error:
            yield Check("HelperImage", "Unknown", f"No node can be tried: {error.message}", error.remedy)

    def _read_settings(self) -> Settings:
        return settings_.parse(self._get("configmap", self._place.name)["data"]["settings.json"].encode())

    def _choose_pods(self, config: Settings) -> list[Json]:
        """One pod of a pipeline on each of a few nodes."""
        targets = config.targets
        places = [("--all-namespaces",)] if targets.cluster_wide else [
            ("--namespace", name) for name in targets.namespaces or (self._place.namespace,)
        ]  # fmt: skip
        found = [
            raw
            for place in places
            for selector in targets.selectors
            for raw in self._kubectl.get(*place, "pods", "-l", selector, "--field-selector=status.phase=Running")[
                "items"
            ]
        ]
        by_node = {raw["spec"]["nodeName"]: raw for raw in found}
        return [by_node[node] for node in sorted(by_node)[:MAX_NODES]]

    def _probe_node(self, pod: Json, image: str) -> Iterator[Check]:
        namespace, name = pod["metadata"]["namespace"], f"samply-doctor-{secrets.token_hex(4)}"
        body = releases.build_probe(name, pod, image)
        self._kubectl.run("--namespace", namespace, "create", "-f", "-", body=body)
        try:
            ended = self._wait(namespace, name)
            node = pod["spec"]["nodeName"]
            yield releases.judge_pull(ended, image, node)
            if (ended.get("status") or {}).get("phase") == "Succeeded":
                said = self._kubectl.run("--namespace", namespace, "logs", name).strip()
                yield checks.judge_kernel(int(said) if re.fullmatch("-?[0-9]{1,9}", said) else None, node)
        finally:
            self._kubectl.run("--namespace", namespace, "delete", "pod", name, "--wait=false", "--grace-period=0")

    def _wait(self, namespace: str, name: str) -> Json:
        """Until it has ended, or its image cannot be pulled."""
        until = time.monotonic() + PULL_SECS
        while True:
            raw = self._get("pod", name, namespace=namespace)
            if releases.is_decided(raw) or time.monotonic() > until:
                return raw
            time.sleep(POLL_SECS)


def render(report: Report, place: Place) -> str:
    lines = [f"samply-operator {place.namespace}/{place.name}"]
    for check in report.checks:
        lines.append(f"  {MARKS[check.status]:<8} {check.area:<12} {check.message}")
        if check.remedy and check.status != "Passed":
            lines.append(f"  {'':<8} {'':<12} cure: {check.remedy}")
    return "\n".join(lines)


def render_json(report: Report) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(msgspec.json.encode(report))
    return found
