"""`up`, `down`, `status`, `load` by kind: a node in a Docker container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from native.errors import ClusterError
from native.layout import cache_folder

HERE = Path(__file__).resolve().parent
NAME = "samply-operator"
_KIND_MODULE = "sigs.k8s.io/kind@v0.33.0"
_PARANOID = "kernel.perf_event_paranoid"
CAP_PERFMON = 38
READY_SECS = 120.0
CLIENTS = ("kubectl", "helm")


@dataclass(frozen=True, slots=True)
class KindProvider:
    """One node in Docker. It comes with a StorageClass `standard` of its own."""

    state: Path

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def bin(self) -> Path:
        """A folder with links to kubectl and helm: those on PATH, else those that `up` builds."""
        folder = self.state / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        for name in CLIENTS:
            link, target = folder / name, _find_client(name, folder)
            if link.is_symlink() and str(link.readlink()) == target:
                continue  # somebody may be about to run it
            link.unlink(missing_ok=True)
            if target:
                link.symlink_to(target)
        return folder

    def up(self, paranoid: int) -> None:
        kind = _find_kind()
        _build_missing_clients(self.state / "bin")
        nodes = self._nodes()
        if nodes and not self.kubeconfig.exists():
            # kind writes it at the end: it was interrupted before, and does not go on with such a node.
            print(f"kind did not finish {' '.join(nodes)}: removed, and created again", file=sys.stderr)
            _run(["docker", "rm", "--force", "--volumes", *nodes])
            nodes = []
        if nodes:
            _run(["docker", "start", *nodes])
            _run([kind, "export", "kubeconfig", "--name", NAME, "--kubeconfig", str(self.kubeconfig)])
        else:
            self.state.mkdir(parents=True, exist_ok=True)
            config = ["--config", str(HERE / "cluster.yaml"), "--kubeconfig", str(self.kubeconfig)]
            _run([kind, "create", "cluster", "--name", NAME, *config])
        self._check_capabilities()
        self._wait_ready()
        self._set_paranoid(paranoid)

    def down(self) -> None:
        """By Docker alone: a machine that never had a cluster needs no kind for it."""
        nodes = self._nodes()
        self._restore_sysctl(nodes)
        if nodes:
            _run(["docker", "rm", "--force", "--volumes", *nodes])
        shutil.rmtree(self.state, ignore_errors=True)

    def status(self) -> bool:
        """Also whether each node runs and the API server is ready."""
        nodes = self._nodes()
        states = {node: _read(["docker", "inspect", "--format", "{{.State.Status}}", node]).strip() for node in nodes}
        said = " ".join(f"{node} ({state})" for node, state in states.items())
        print(f"kind cluster {NAME}: {said or 'not there'}")
        if not nodes or set(states.values()) != {"running"}:
            return False
        is_ready = self._is_ready()
        print(f"API server                {'ready' if is_ready else 'not ready'}")
        return is_ready

    def load(self, image: str) -> None:
        """kind compares ids that engines with an image store of containerd never have: it would load each time. Marks
        are compared instead, and the nodes are asked: a kubelet that is short of disk removes images."""
        kind, marks, nodes = _find_kind(), self.state / "loaded.json", self._nodes()
        ids = _read(["docker", "inspect", "--format", "{{.Id}}", *nodes]).split()
        wanted = [_read(["docker", "image", "inspect", "--format", "{{.Id}}", image]).strip(), *ids]
        loaded = json.loads(marks.read_text()) if marks.exists() else {}
        if loaded.get(image) == wanted and all(_has_image(node, image) for node in nodes):
            return
        _run([kind, "load", "docker-image", "--name", NAME, image])
        marks.write_text(json.dumps(loaded | {image: wanted}))

    def _nodes(self) -> list[str]:
        label = f"label=io.x-k8s.kind.cluster={NAME}"
        return _read(["docker", "ps", "--all", "--filter", label, "--format", "{{.Names}}"]).split()

    def _check_capabilities(self) -> None:
        """An engine that knows fewer capabilities than the kernel starts a node in which pods with CAP_PERFMON fail."""
        for node in self._nodes():
            status = _read(["docker", "exec", node, "cat", "/proc/1/status"])
            bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
            if not int(bounding, 16) >> CAP_PERFMON & 1:
                raise ClusterError(
                    "this Docker engine gives containers no CAP_PERFMON, even privileged ones: pods that record would "
                    "not start. Install a newer engine (29 works, 20.10 does not), or use --provider native as root"
                )

    def _wait_ready(self) -> None:
        until = time.monotonic() + READY_SECS
        while not self._is_ready():
            if time.monotonic() > until:
                raise ClusterError(
                    f"the API server is not ready after {READY_SECS:g} s: docker logs {self._nodes()[0]}"
                )
            time.sleep(0.5)

    def _is_ready(self) -> bool:
        """The API server answers, and every node is ready."""
        if not (self.bin / "kubectl").exists():
            return False
        kubectl = [str(self.bin / "kubectl"), "--kubeconfig", str(self.kubeconfig), "--request-timeout=5s"]
        jsonpath = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
        done = subprocess.run([*kubectl, "get", "nodes", "-o", jsonpath], capture_output=True, text=True, check=False)
        return done.returncode == 0 and set(done.stdout.split()) == {"True"}

    def _set_paranoid(self, value: int) -> None:
        """The setting is the kernel's, so it changes on the machine itself: the old one is kept and put back."""
        saved = self.state / "sysctls.json"
        if not saved.exists():
            old = _read(["docker", "exec", self._nodes()[0], "sysctl", "-n", _PARANOID]).strip()
            saved.write_text(json.dumps({_PARANOID: old}))
        self._write_sysctl(str(value))

    def _restore_sysctl(self, nodes: list[str]) -> None:
        """A node that cannot do it, or is gone, does not keep the rest from being removed."""
        saved = self.state / "sysctls.json"
        if not saved.exists():
            return
        value = json.loads(saved.read_text())[_PARANOID]
        try:
            if not nodes:
                raise ClusterError("its node is gone")
            _run(["docker", "start", *nodes])
            self._write_sysctl(value)
        except ClusterError as error:
            cure = f"sysctl {_PARANOID}={value}"
            print(f"the kernel's setting before the cluster is not restored ({error}): {cure}", file=sys.stderr)

    def _write_sysctl(self, value: str) -> None:
        for node in self._nodes():
            _run(["docker", "exec", node, "sysctl", "-q", "-w", f"{_PARANOID}={value}"])


def _find_client(name: str, links: Path) -> str | None:
    """On PATH, which may begin with the folder of our own links; else the one that was built."""
    folders = [each for each in os.environ.get("PATH", "").split(os.pathsep) if Path(each or ".") != links]
    return shutil.which(name, path=os.pathsep.join([*folders, str(cache_folder() / "bin")]))


def _build_missing_clients(links: Path) -> None:
    """Only these two of the programs that hack/native/build makes: a minute or two instead of all."""
    missing = [name for name in CLIENTS if _find_client(name, links) is None]
    if missing:
        _run([str(HERE.parent / "native" / "build"), *missing])


def _find_kind() -> str:
    if found := shutil.which("kind"):
        return found
    built = cache_folder() / "bin" / "kind"
    if not built.exists():
        if shutil.which("go") is None:
            raise ClusterError("kind is missing: install it, or Go, with which it is built")
        _run(["go", "install", _KIND_MODULE], GOBIN=str(built.parent), GOFLAGS="-trimpath")
    return str(built)


def _has_image(node: str, image: str) -> bool:
    command = ["docker", "exec", node, "crictl", "inspecti", "-q", image]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(command: list[str], **environment: str) -> None:
    if subprocess.run(command, env={**os.environ, **environment}, check=False).returncode:
        raise ClusterError(f"{' '.join(command)} failed, see above")


def _read(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError(f"{command[0]} is missing: install Docker, or use --provider native as root") from error
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
