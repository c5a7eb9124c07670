"""hack/demo tells what is still to be done and how long that takes; hack/images, how far it is, and what it lacks."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]


CLIENTS = ("kubectl", "helm", "kind")


def plan(cache: Path, *, has_docker: bool, clients: tuple[str, ...] = CLIENTS) -> dict[str, str]:
    """The steps with their times, where PATH has nothing else."""
    tools = cache / "tools"
    tools.mkdir(parents=True)
    for name in ("docker", *clients):
        (tools / name).write_text(f"#!/bin/sh\nexit {0 if has_docker else 1}\n")
        (tools / name).chmod(0o755)
    for name in ("bash", "dirname", "cat", "sha256sum", "cut"):
        (tools / name).symlink_to(shutil.which(name) or name)
    environment = {**os.environ, "SAMPLY_OPERATOR_CACHE": str(cache), "PATH": str(tools)}
    command = [str(REPOSITORY / "hack" / "demo"), "plan"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return {step: time.strip() for step, _, time in (line.partition(" ") for line in done.stdout.splitlines())}


@pytest.mark.parametrize(
    ("has_docker", "programs", "cluster"), [(False, "750 s", "15 s"), (True, "0 s", "100 s")], ids=["native", "kind"]
)
def test_the_first_time(has_docker: bool, programs: str, cluster: str, tmp_path: Path) -> None:
    found = plan(tmp_path, has_docker=has_docker)
    assert list(found) == ["packages", "programs", "cluster", "images", "operator", "profile", "total"]
    assert (found["programs"], found["cluster"], found["images"]) == (programs, cluster, "1050 s")
    assert found["total"].endswith(" min")


def test_a_node_of_kind_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "kind").mkdir()
    (tmp_path / "kind" / "kubeconfig").touch()
    assert plan(tmp_path, has_docker=True)["cluster"] == "15 s"


def test_what_one_of_the_clients_costs(tmp_path: Path) -> None:
    """Where one of them is missing it is built."""
    found = plan(tmp_path, has_docker=True, clients=("kubectl",))
    assert found["programs"] == "150 s"


@pytest.mark.parametrize(("is_current", "programs"), [(True, "0 s"), (False, "750 s")])
def test_later(is_current: bool, programs: str, tmp_path: Path) -> None:
    """What is in the cache takes no time, if it is of this version."""
    build = [str(REPOSITORY / "hack" / "native" / "build")]
    environment = os.environ | {"SAMPLY_OPERATOR_CACHE": str(tmp_path)}
    key = subprocess.run([*build, "--key"], capture_output=True, text=True, check=True).stdout
    missing = subprocess.run([*build, "--missing"], capture_output=True, text=True, check=True, env=environment).stdout
    (tmp_path / "bin").mkdir()
    for name in missing.split():
        (tmp_path / "bin" / name).touch(mode=0o755)
        (tmp_path / "bin" / f".{name}").write_text(key if is_current else "of another version")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "samply-operator-samply-dev.buildah").touch()
    found = plan(tmp_path, has_docker=False)
    assert (found["programs"], found["images"]) == (programs, "5 s")


DEMO = {
    "hack/prerequisites": "exit 0",
    "hack/first-build": "exit 0",
    "hack/native/build": "exit 0",
    "hack/images": 'cd "$SAMPLY_OPERATOR_CACHE" && touch images/samply-operator-dev.docker',
    "hack/cluster": 'test "$1" = up || echo "$TOOLS"',
    "tools/make": "exit 0",
    "tools/docker": "exit 0",
    "tools/helm": 'printf "%s\\n" "$@" >"$TOOLS/helm.log"',
    "tools/kubectl": """case "$*" in
    *kubernetes*arch*) echo arm64 ;;
    *rollout*) exit 1 ;;
    *) echo "kubectl says: $*" ;;
esac""",
}
"""What hack/demo runs, on a cluster with an arm64 node where no pod starts."""


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """The demo where the operator doesn't start, and the arguments that it gave to helm."""
    folder = tmp_path_factory.mktemp("demo")
    for path, script in DEMO.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"#!/bin/sh\n{script}\n")
        (folder / path).chmod(0o755)
    for name in ("demo", "common.sh"):
        shutil.copy2(REPOSITORY / "hack" / name, folder / "hack" / name)
    (folder / "cache" / "images").mkdir(parents=True)
    tools = folder / "tools"
    environment = {
        **os.environ,
        "TOOLS": str(tools),
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "SAMPLY_OPERATOR_CACHE": str(folder / "cache"),
    }
    command = [str(folder / "hack" / "demo")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done, (tools / "helm.log").read_text().splitlines()


def test_the_chart_gets_the_architecture_of_the_node(
    failed: tuple[subprocess.CompletedProcess[str], list[str]],
) -> None:
    _, arguments = failed
    assert r"nodeSelector.kubernetes\.io/arch=arm64" in arguments
    assert "config.ephemeral.architectures={arm64}" in arguments


def test_a_pod_that_does_not_start_is_explained(
    failed: tuple[subprocess.CompletedProcess[str], list[str]],
) -> None:
    """With the pods, claims, events and logs that are there."""
    done, _ = failed
    assert done.returncode == 1
    shown = [line.partition(": --namespace samply-demo ")[2] for line in done.stdout.splitlines() if "says" in line]
    assert shown[-3:] == [
        "get pods,pvc",
        "get events --sort-by=.metadata.creationTimestamp",
        "logs deployment/samply-operator --all-containers --tail=30",
    ]
    assert "docs/troubleshooting.md" in done.stderr


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """hack/images as a module, with a cache of its own."""
    monkeypatch.setenv("SAMPLY_OPERATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(REPOSITORY / "hack"))
    loader = importlib.machinery.SourceFileLoader("hack_images", str(REPOSITORY / "hack" / "images"))
    spec = importlib.util.spec_from_loader("hack_images", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "hack_images", module)
    loader.exec_module(module)
    return module


def put_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A `docker` on PATH."""
    docker = folder / "tools" / "docker"
    docker.parent.mkdir()
    docker.write_text(f"#!/bin/sh\n{script}\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_long_build_says_how_far_it_is(
    images: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its output is in a log; and if it fails, the end of the log is in the error."""
    monkeypatch.setattr(images, "HEARTBEAT_SECS", 0.1)
    cargo = "#12 45.3    Compiling one v1\n#12 45.4    Compiling two v2\n"
    images.run(["sh", "-c", f"printf '{cargo}'; sleep 1"], tmp_path / "log", image=images.IMAGES["samply"])
    images.run(["sh", "-c", "sleep 1"], tmp_path / "log", image=images.IMAGES["pipeline"])
    said = capfd.readouterr().err
    assert "samply: still building, 0 min (about 13 on two idle cores), 2 of 253 crates; log:" in said
    assert "pipeline: still building, 0 min; log:" in said
    assert "Compiling" not in said
    with pytest.raises(images.ClusterError, match="no such crate"):
        images.run(["sh", "-c", "echo no such crate; exit 1"], tmp_path / "log", image=images.IMAGES["samply"])


def test_docker_without_buildx_is_refused(images: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_docker(tmp_path, monkeypatch, 'test "$1" = info')
    monkeypatch.setattr(sys, "argv", ["hack/images", "bare"])
    with pytest.raises(images.ClusterError, match=r"docker buildx is missing.*docker-buildx"):
        images.main()


@pytest.mark.parametrize(
    ("platforms", "said"),
    [("linux/amd64, linux/386", "the Docker engine does not: docker run .*binfmt"), ("linux/amd64, linux/arm64", "")],
    ids=["amd64", "both"],
)
def test_docker_without_emulation_is_refused(
    images: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platforms: str, said: str
) -> None:
    """Before samply is built for ten minutes."""
    put_docker(tmp_path, monkeypatch, f'case "$*" in "buildx inspect"*) echo "Platforms: {platforms}" ;; esac')
    monkeypatch.setattr(sys, "argv", ["hack/images", "samply-arm64", "operator-arm64"])
    monkeypatch.setattr(images, "build", lambda image, *, docker: True)
    with pytest.raises(images.ClusterError, match=said) if said else contextlib.nullcontext():
        images.main()
