"""The cluster's own programs, killed and restarted. Only if they are processes of this machine (native)."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from support import kubectl

CLUSTER = Path(__file__).parents[2] / "hack" / "cluster"
STATE = Path(os.environ.get("SAMPLY_CLUSTER_STATE") or "/var/lib/samply-operator-cluster")
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")


def kill(name: str) -> None:
    """With SIGKILL, as a crash does it."""
    os.kill(int((STATE / "pids" / f"{name}.pid").read_text().split()[0]), signal.SIGKILL)


def start_again() -> None:
    """Whatever is missing; until an exec into a pod is answered."""
    command = [CLUSTER, "--provider", "native", "up", "--paranoid", PARANOID.read_text().strip()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def answers() -> bool:
    """Whether the API server is ready."""
    return kubectl.run("get", "--raw=/readyz", "--request-timeout=1s").stdout == "ok"
