"""Runs the real helm on the chart. Helm is $HELM, else in PATH, else what hack/native/build made."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "samply-operator"
NAMESPACE = "feldera"

Object = dict[str, Any]


@functools.cache
def find_helm() -> str:
    """Raises instead of skipping: an unrendered chart proves nothing."""
    cache = os.environ.get("SAMPLY_OPERATOR_CACHE") or (
        (os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")) + "/samply-operator"
    )
    built = Path(cache) / "bin" / "helm"
    found = os.environ.get("HELM") or shutil.which("helm") or (str(built) if built.exists() else None)
    if found is None:
        raise RuntimeError("no helm: install it, name it in $HELM, or run hack/native/build")
    return found


def run(
    *arguments: str, values: Object | None = None, kubeconfig: str = os.devnull
) -> subprocess.CompletedProcess[str]:
    """One helm command; `values` goes in as a file on stdin. Without a kubeconfig it can't reach any cluster."""
    command = [find_helm(), *arguments, *(["--values", "-"] if values is not None else [])]
    env = {**os.environ, "KUBECONFIG": kubeconfig}
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, env=env, check=False)


def render(
    values: Object | None = None, *arguments: str, release: str = "samply-operator", chart: Path = CHART
) -> list[Object]:
    """The objects that a first installation makes."""
    return render_all(values, "--skip-tests", *arguments, release=release, chart=chart)


def render_all(
    values: Object | None = None,
    *arguments: str,
    release: str = "samply-operator",
    namespace: str = NAMESPACE,
    chart: Path = CHART,
) -> list[Object]:
    """With the pod of `helm test`."""
    done = run("template", release, str(chart), "--namespace", namespace, *arguments, values=values)
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


class StrictLoader(yaml.SafeLoader):
    """Refuses a map with a key that is repeated, as YAML demands and kustomize does. Helm and kubectl take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Object:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is repeated in {keys}"
        return super().construct_mapping(node, deep)


def parse(text: str) -> list[Object]:
    return [document for document in yaml.load_all(text, StrictLoader) if document]


def dump(document: Object) -> str:
    return yaml.safe_dump(document)


def render_error(values: Object, *arguments: str, chart: Path = CHART) -> str:
    """What helm says about values that it must refuse."""
    done = run("template", "samply-operator", str(chart), "--namespace", NAMESPACE, *arguments, values=values)
    assert done.returncode != 0, f"helm took {values}"
    return done.stderr


def render_notes(values: Object | None = None) -> str:
    arguments = ("--namespace", NAMESPACE, "--dry-run=client")
    done = run("install", "samply-operator", str(CHART), *arguments, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def select(objects: list[Object], kind: str) -> list[Object]:
    return [o for o in objects if o["kind"] == kind]


def only(objects: list[Object], kind: str) -> Object:
    found = select(objects, kind)
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def pod_spec(objects: list[Object]) -> Object:
    spec: Object = only(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def containers(objects: list[Object]) -> dict[str, Object]:
    return {c["name"]: c for c in pod_spec(objects)["containers"]}
