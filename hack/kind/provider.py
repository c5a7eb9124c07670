"""`up`, `down`, `status`, `load` by kind: a node in a Docker container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from native.errors import ClusterError
from native.layout import cache_folder

HERE = Path(__file__).resolve().parent
NAME = "samply-operator"
_KIND_MODULE = "sigs.k8s.io/kind@v0.33.0"
_PARANOID = "kernel.perf_event_paranoid"


@dataclass(frozen=True, slots=True)
class KindProvider:
    """One node in Docker. It comes with a StorageClass `standard` of its own."""

    state: Path

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def bin(self) -> Path:
        """A folder with kubectl and helm: links to those on PATH, else those that hack/native/build makes."""
        found = {name: shutil.which(name) for name in ("kubectl", "helm")}
        if not all(found.values()):
            return cache_folder() / "bin"
        folder = self.state / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        for name, target in found.items():
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(str(target))
        return folder

    def up(self, paranoid: int) -> None:
        kind = self._find_kind()
        if not all(shutil.which(name) for name in ("kubectl", "helm")):
            _run([str(HERE.parent / "native" / "build")])
        if NAME not in _read([kind, "get", "clusters"]).split():
            self.state.mkdir(parents=True, exist_ok=True)
            config = ["--config", str(HERE / "cluster.yaml"), "--kubeconfig", str(self.kubeconfig)]
            _run([kind, "create", "cluster", "--name", NAME, "--wait", "120s", *config])
        else:
            _run(["docker", "start", *self._nodes()])
            _run([kind, "export", "kubeconfig", "--name", NAME, "--kubeconfig", str(self.kubeconfig)])
        self._set_paranoid(paranoid)

    def down(self) -> None:
        saved = self.state / "sysctls.json"
        if saved.exists():
            self._write_sysctl(json.loads(saved.read_text())[_PARANOID])
            saved.unlink()
        _run([self._find_kind(), "delete", "cluster", "--name", NAME])
        shutil.rmtree(self.state, ignore_errors=True)

    def status(self) -> bool:
        nodes = self._nodes()
        print(f"kind cluster {NAME}: {' '.join(nodes) or 'not there'}")
        return bool(nodes)

    def load(self, image: str) -> None:
        _run([self._find_kind(), "load", "docker-image", "--name", NAME, image])

    def _nodes(self) -> list[str]:
        return _read([self._find_kind(), "get", "nodes", "--name", NAME]).split()

    def _set_paranoid(self, value: int) -> None:
        """The setting is the kernel's, so it changes on the machine itself: the old one is kept and put back."""
        saved = self.state / "sysctls.json"
        if not saved.exists():
            old = _read(["docker", "exec", self._nodes()[0], "sysctl", "-n", _PARANOID]).strip()
            saved.write_text(json.dumps({_PARANOID: old}))
        self._write_sysctl(str(value))

    def _write_sysctl(self, value: str) -> None:
        for node in self._nodes():
            _run(["docker", "exec", node, "sysctl", "-q", "-w", f"{_PARANOID}={value}"])

    def _find_kind(self) -> str:
        if found := shutil.which("kind"):
            return found
        built = cache_folder() / "bin" / "kind"
        if not built.exists():
            if shutil.which("go") is None:
                raise ClusterError("kind is missing: install it, or Go, with which it is built")
            _run(["go", "install", _KIND_MODULE], GOBIN=str(built.parent), GOFLAGS="-trimpath")
        return str(built)


def _run(command: list[str], **environment: str) -> None:
    if subprocess.run(command, env={**os.environ, **environment}, check=False).returncode:
        raise ClusterError(f"{' '.join(command)} failed, see above")


def _read(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
