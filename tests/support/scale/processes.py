"""The operator and the API of one source tree as real processes next to a ControlPlane, and their resource use.

with installed(plane, folder, "pipelines", tree=Path("operator"), config={…}) as install:
    install.wait_synced(30), install.operator.read_memory(), install.read_metrics() …
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.scale import loop_lag
from support.scale.control_plane import ControlPlane, end, find_port

TREE = Path(__file__).parents[3] / "operator"
"""This one's sources."""
TICKS = os.sysconf("SC_CLK_TCK")
END_SECS = 40
COMMAND = ("-m", "samply_operator.cli")


@dataclass(frozen=True, slots=True)
class Lag:
    """Of one event loop (see loop_lag.py), milliseconds, in order of size."""

    late: list[float]
    used: list[float]


@dataclass(slots=True)
class Process:
    """A program that is measured."""

    popen: subprocess.Popen[bytes]
    log: Path
    lag_log: Path
    began: float = field(default_factory=time.time)

    def read_memory(self) -> float:
        """Resident now, MiB."""
        return self._read_status("VmRSS")

    def read_peak(self) -> float:
        """The most that was ever resident, MiB."""
        return self._read_status("VmHWM")

    def check(self) -> None:
        """Raises RuntimeError with the end of its log if it has ended."""
        if self.popen.poll() is not None:
            raise RuntimeError(f"{self.log.name}: exit status {self.popen.returncode}:\n{self.read_end()}")

    def read_end(self) -> str:
        return "\n".join(self.log.read_text().splitlines()[-20:])

    def _read_status(self, key: str) -> float:
        self.check()
        text = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith(key))) / 1024

    def read_cpu(self) -> float:
        """Seconds of CPU since its start, of all its threads."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def read_lags(self, since: float, until: float) -> dict[str, Lag]:
        """By thread, between two times."""
        found: dict[str, Lag] = {}
        for line in self.lag_log.read_text().splitlines():
            at, thread, late, used = json.loads(line)
            if since <= at <= until:
                lag = found.setdefault(thread, Lag([], []))
                lag.late.extend(late)
                lag.used.extend(used)
        for lag in found.values():
            lag.late.sort()
            lag.used.sort()
        return found


@dataclass(slots=True)
class Install:
    operator: Process
    api: Process
    port: int
    metrics_port: int
    data: Path
    environment: Mapping[str, str]

    @contextmanager
    def replace_operator(self) -> Iterator[Process]:
        """Another one in the place of the operator, which was killed or ended."""
        with measured("operator-2", self.data.parent, [*COMMAND, "operator"], self.environment) as process:
            yield process

    def get(self, path: str, port: int = 0) -> str:
        """The API's answer; empty while it doesn't give one."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port or self.port}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def read_metrics(self) -> dict[str, float]:
        """By name and labels, of both processes."""
        lines = self.get("/metrics", self.metrics_port).splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def is_synced(self) -> bool:
        return self.read_metrics().get("samply_operator_synced") == 1

    def count_pipelines(self) -> int:
        """As the API lists them."""
        text = self.get("/v0/pipelines")
        return len(json.loads(text)["pipelines"]) if text else 0

    def wait(self, what: str, is_so: Callable[[], bool], secs: float) -> float:
        """Seconds since the operator's start until it is so. Raises with the end of its log when it never is."""
        until = time.time() + secs
        while not is_so():
            self.operator.check()
            self.api.check()
            if time.time() > until:
                raise RuntimeError(f"never came: {what}.\n{self.operator.read_end()}\n{self.api.read_end()}")
            time.sleep(0.02)
        return time.time() - self.operator.began


def build_settings(folder: Path, namespaces: Sequence[str], port: int, metrics_port: int, **config: Any) -> Path:
    """The settings file; `config` is as the chart's values."""
    paths = {name: str(folder / name) for name in ("data", "socket", "heartbeat")}
    settings = {
        "targets": {"namespaces": list(namespaces)},
        "auth": {"unsafeLetAnyoneInWithoutAuthentication": True},
        "api": {"host": "127.0.0.1", "port": port, "metricsPort": metrics_port, "shutdownDelaySecs": 0},
        "ephemeral": {"enabled": False},
        "paths": paths,
    }
    for name, value in config.items():
        settings[name] = {**settings.get(name, {}), **value} if isinstance(value, dict) else value  # type: ignore[dict-item]
    path = folder / "settings.json"
    path.write_text(json.dumps(settings))
    return path


def build_environment(kubeconfig: Path, tree: Path = TREE, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    own = {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(tree), "PYTHONUNBUFFERED": "1"}
    pod = {"POD_NAMESPACE": "samply", "POD_NAME": "samply-operator-0", "RELEASE_NAME": "samply-operator"}
    return kept | own | pod | more


@contextmanager
def measured(
    name: str, folder: Path, arguments: Sequence[str], environment: Mapping[str, str], *, end_secs: float = END_SECS
) -> Iterator[Process]:
    """A Python program (as loop_lag.py takes it) while the context lasts."""
    log, lag_log = folder / f"{name}.log", folder / f"{name}.lag"
    command = [sys.executable, loop_lag.__file__, str(lag_log), *arguments]
    lag_log.touch()
    with log.open("wb") as out:
        popen = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=folder)
    try:
        yield Process(popen, log, lag_log)
    finally:
        end(popen, end_secs)


@contextmanager
def installed(
    plane: ControlPlane, folder: Path, *namespaces: str, tree: Path = TREE, **config: Any
) -> Iterator[Install]:
    """Both processes over a volume in `folder`/data, which is made unless it is there. Its path must be short: a unix
    socket is in it."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    port, metrics_port = find_port(), find_port()
    settings = build_settings(folder, namespaces, port, metrics_port, **config)
    environment = build_environment(plane.kubeconfig, tree, SAMPLY_OPERATOR_SETTINGS=str(settings))
    with ExitStack() as stack:
        api = stack.enter_context(measured("api", folder, [*COMMAND, "api"], environment))
        operator = stack.enter_context(measured("operator", folder, [*COMMAND, "operator"], environment))
        yield Install(operator, api, port, metrics_port, folder / "data", environment)


def pick(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of them lies; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
