"""`up`, `down`, `status`, `load` of the native cluster: what is done in which order."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import api, certificates, components, host, images, leftovers, programs, storage
from .errors import ClusterError
from .layout import HERE, NODE, NODE_ADDRESS, Layout


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _step(name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    _say(f"{name} ({time.monotonic() - began:.1f} s)")


@dataclass(frozen=True, slots=True)
class NativeProvider:
    """One node of processes on this machine."""

    layout: Layout

    @property
    def kubeconfig(self) -> Path:
        return self.layout.kubeconfig

    @property
    def bin(self) -> Path:
        return self.layout.bin

    def up(self, paranoid: int) -> None:
        cni_bin = host.require(self.layout)
        began = time.monotonic()
        with self._lock():
            self._prepare(cni_bin, paranoid)
            self._start()
            self._finish()
        _say(f"the cluster is up ({time.monotonic() - began:.1f} s): export KUBECONFIG={self.kubeconfig}")

    def _prepare(self, cni_bin: Path, paranoid: int) -> None:
        if subprocess.run([HERE / "build"], stdout=subprocess.DEVNULL, check=False).returncode:
            raise ClusterError("building the node's programs failed, see above")
        if not self.layout.saved_sysctls.exists():
            shutil.rmtree(self.layout.logs, ignore_errors=True)
        self.layout.run.mkdir(parents=True, exist_ok=True)
        host.save_sysctls(self.layout)
        host.write_sysctl("kernel.perf_event_paranoid", str(paranoid))
        host.write_sysctl("net.ipv4.ip_forward", "1")
        host.ensure_bridge()
        if certificates.ensure(self.layout):
            _say("made keys and certificates")
        components.write_files(self.layout, cni_bin)

    def _start(self) -> None:
        layout, known = self.layout, components.build_programs(self.layout)
        answers: dict[str, Callable[[], bool]] = {
            "etcd": lambda: True,  # the API server is the one that can tell
            "kube-apiserver": lambda: api.is_ready(layout),
            "containerd": self._has_containerd,
            "coredns": lambda: _accepts(NODE_ADDRESS, 53),
        }
        for name in components.ORDER:
            answer = answers.get(name, lambda: True)
            if name == "coredns":
                api.apply(layout, "cluster.yaml")  # its rights are in there: without them it waits for long
            if not programs.ensure(layout, known[name]) and answer():
                continue
            with _step(f"started {name}"):
                programs.wait_for_program(layout, name, answer, timeout_secs=60)
            if name == "containerd":
                images.ensure_pause(layout)

    def _has_containerd(self) -> bool:
        command = [str(self.layout.bin / "ctr"), "-a", str(self.layout.socket), "--connect-timeout", "1s", "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _finish(self) -> None:
        """Believe an exec, not the node's condition: after a crash that one is still Ready from before."""
        layout = self.layout
        images.ensure_pause(layout)
        if not self._answers_exec():
            with _step("made the probe"):
                # refused until the controller manager has made the namespace's service account
                made = lambda: api.try_apply(layout, "probe.yaml")  # noqa: E731
                programs.wait_for_program(layout, "kube-controller-manager", made, timeout_secs=60)
            with _step("the node is Ready"):
                ready = lambda: api.is_node_ready(layout, NODE)  # noqa: E731
                programs.wait_for_program(layout, "kubelet", ready, timeout_secs=90)
            with _step("the kubelet answers an exec"):
                programs.wait_for_program(layout, "kubelet", self._answers_exec, timeout_secs=90)
        if count := storage.ensure(layout):
            _say(f"made {count} volumes")

    def _answers_exec(self) -> bool:
        probe = ("exec", "--namespace=kube-system", "cluster-probe", "--", "/pause", "ok")
        return api.kubectl(self.layout, *probe, timeout_secs=10).stdout == "ok\n"

    def down(self) -> None:
        if not self.layout.state.exists():
            _say("nothing to do: there is no cluster")
            return
        began = time.monotonic()
        with self._lock():
            # those who would make new pods first, then the pods while the kubelet can still end them politely
            for name in ("kube-controller-manager", "kube-scheduler"):
                programs.stop(self.layout, name)
            if programs.find_running(self.layout, "kubelet") and api.is_ready(self.layout):
                with _step("removed the pods"):
                    self._remove_pods()
            with _step("stopped the programs"):
                for name in (*(n for n in reversed(components.ORDER) if n != "containerd"), "containerd"):
                    programs.stop(self.layout, name)
            with _step("removed what they left"):
                leftovers.remove_all(self.layout)
                host.restore_sysctls(self.layout)
        _say(f"the cluster is down ({time.monotonic() - began:.1f} s); logs: {self.layout.logs}")

    def _remove_pods(self) -> None:
        """What does not go in time is ended by force afterwards."""
        arguments = ("delete", "pods", "--all", "--all-namespaces", "--grace-period=2", "--timeout=20s")
        api.kubectl(self.layout, *arguments, timeout_secs=30)

    def status(self) -> bool:
        healthy = True
        for name in components.ORDER:
            running = programs.find_running(self.layout, name)
            print(f"{name:26}{f'pid {running.pid}' if running else 'not running'}")
            healthy = healthy and running is not None
        if healthy:
            healthy = self._answers_exec()
            print(f"{'exec into a pod':26}{'answered' if healthy else 'no answer'}")
        return healthy

    def load(self, image: str) -> None:
        if programs.find_running(self.layout, "containerd") is None:
            raise ClusterError("the cluster is not up: hack/cluster up")
        with self._lock():
            began = time.monotonic()
            loaded = images.load(self.layout, image)
        _say(f"{image} {'loaded' if loaded else 'is there already'} ({time.monotonic() - began:.1f} s)")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One of us at a time; the file is left, an unlinked lock would let two in."""
        self.layout.state.mkdir(parents=True, exist_ok=True)
        with (self.layout.state / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _say("another hack/cluster is at work; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
