"""Where the native cluster keeps its things, and the fixed addresses it uses.

Decides names only: nothing here touches the machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

NODE = "samply-node"
BRIDGE = "samply0"
NETWORK = "samply-cluster"  # the CNI network's name: files of ours under /var/lib/cni start with it
NODE_ADDRESS = "10.231.0.1"
POD_RANGE = "10.231.0.0/24"
SERVICE_RANGE = "10.231.1.0/24"
SERVICE_ADDRESS = "10.231.1.1"
API_PORT = 6443
ETCD_PORT = 23790
PAUSE_IMAGE = "docker.io/library/samply-pause:dev"
VOLUME_COUNT = 30

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


def cache_folder() -> Path:
    """The folder of what is built once and outlives clusters: programs, base images."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("SAMPLY_OPERATOR_CACHE") or Path(base) / "samply-operator")


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one cluster. `run` holds sockets, so its path is short; it does not survive a reboot."""

    state: Path
    run: Path = Path("/run/samply-operator-cluster")

    @classmethod
    def from_environment(cls) -> Layout:
        return cls(Path(os.environ.get("SAMPLY_CLUSTER_STATE") or "/var/lib/samply-operator-cluster").absolute())

    @property
    def bin(self) -> Path:
        return cache_folder() / "bin"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def pids(self) -> Path:
        return self.state / "pids"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def volumes(self) -> Path:
        return self.state / "volumes"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def saved_sysctls(self) -> Path:
        return self.state / "sysctls.json"

    def kubeconfig_of(self, program: str) -> Path:
        return self.config / f"{program}.kubeconfig"
