"""The machine under the cluster: what it must have, and the settings that are changed and put back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from .errors import ClusterError
from .layout import BRIDGE, CNI_FOLDERS, NODE_ADDRESS, Layout

_PREREQUISITES = Path(__file__).resolve().parent / "prerequisites"
# program -> Debian package
_PROGRAMS = {
    "openssl": "openssl",
    "ip": "iproute2",
    "nft": "nftables",
    "conntrack": "conntrack",
    "mount": "mount",
    "gcc": "gcc",
}
# what the kubelet, kube-proxy, the bridge plugin and this tool write
_SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.route_localnet",
    "kernel.perf_event_paranoid",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
)


def require(layout: Layout) -> Path:
    """Check the machine; return the folder of the CNI plugins. All that is missing is told at once."""
    faults = []
    if os.geteuid() != 0:
        faults.append("not root: namespaces, mounts and cgroups need it; run it with sudo, or use --provider kind")
    if not _has_cgroups():
        faults.append("no cgroups: neither cgroup v2 nor the v1 controllers cpu and memory are under /sys/fs/cgroup")
    if "\toverlay\n" not in Path("/proc/filesystems").read_text() and not _can_load("overlay"):
        faults.append("the kernel has no overlay file system")
    missing = {package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    cni = next((folder for folder in CNI_FOLDERS if (folder / "bridge").exists()), None)
    if cni is None:
        missing.add("containernetworking-plugins")
    if missing:
        faults.append(f"missing: {' '.join(sorted(missing))}; install them: apt-get install, or {_PREREQUISITES}")
    if not layout.saved_sysctls.exists() and (strangers := _find_strangers()):
        faults.append(f"another Kubernetes node seems to run here ({', '.join(strangers)}); two can't share a machine")
    if faults or cni is None:
        raise ClusterError("\n".join(["this machine can't run the native cluster:", *(f"  - {f}" for f in faults)]))
    return cni


def _has_cgroups() -> bool:
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return {"cpu", "memory"} <= set((root / "cgroup.controllers").read_text().split())
    return (root / "cpu" / "tasks").exists() and (root / "memory" / "tasks").exists()


def _can_load(module: str) -> bool:
    return subprocess.run(["modprobe", module], capture_output=True, check=False).returncode == 0


def _find_strangers() -> list[str]:
    """Signs of a node that is not this one's: cleaning up would hit it, so the cluster is not started beside it."""
    signs = [Path("/sys/fs/cgroup/kubepods"), Path("/sys/fs/cgroup/memory/kubepods"), Path("/var/lib/kubelet/pods")]
    found = [str(sign) for sign in signs if sign.exists()]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout.splitlines()
    return found + [f"nftables {table}" for table in tables if table.endswith(" kube-proxy")]


def _sysctl_path(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def save_sysctls(layout: Layout) -> None:
    """Remember the values once: a second `up` must not take the cluster's own values for the machine's."""
    if layout.saved_sysctls.exists():
        return
    values = {name: _sysctl_path(name).read_text().strip() for name in _SYSCTLS if _sysctl_path(name).exists()}
    new = layout.saved_sysctls.with_suffix(".new")
    new.write_text(json.dumps(values, indent=1) + "\n")
    new.rename(layout.saved_sysctls)


def restore_sysctls(layout: Layout) -> None:
    if not layout.saved_sysctls.exists():
        return
    for name, value in json.loads(layout.saved_sysctls.read_text()).items():
        write_sysctl(name, value)
    layout.saved_sysctls.unlink()


def write_sysctl(name: str, value: str) -> None:
    path = _sysctl_path(name)
    if path.exists() and path.read_text().strip() != value:
        path.write_text(value)


def ensure_bridge() -> None:
    """The pods' bridge is there before the first pod: the node's own address is on it."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "replace", f"{NODE_ADDRESS}/24", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
