"""Ends and removes what the node's programs leave when they stop: shims, pods, mounts, links, tables, cgroups.

Everything is told apart by a mark that only this cluster has (its containerd socket, its folders, its bridge, its
CNI network's name); only the `kubepods` cgroups and the `kube-proxy` tables have fixed names, and `up` refuses to
start beside a stranger's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from .errors import ClusterError
from .layout import BRIDGE, NETWORK, Layout
from .programs import poll

# removed only if they are empty
_SHARED_FOLDERS = (
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/run/containerd/s",
    "/run/containerd",
)


def remove_all(layout: Layout) -> None:
    """Safe to call at any time once the programs are stopped, also twice, also when nothing is there."""
    _end_processes(layout)
    _unmount(layout)
    _remove_links()
    _remove_tables()
    _remove_cgroups()
    _remove_files(layout)


def find_shims(layout: Layout) -> list[int]:
    """Shims of this cluster: their command line names its containerd socket (or the ttrpc one beside it)."""
    pids = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if argv[0].endswith("containerd-shim-runc-v2") and any(a.startswith(str(layout.socket)) for a in argv):
            pids.append(int(entry.name))
    return pids


def find_pod_processes() -> set[int]:
    pids: set[int] = set()
    for root in _cgroup_roots():
        for listing in [root / "cgroup.procs", *root.rglob("cgroup.procs")]:
            try:
                pids.update(int(pid) for pid in listing.read_text().split() if pid != "0")
            except OSError:
                continue  # the group went while we looked
    return pids


def _end_processes(layout: Layout) -> None:
    # Shims first: one that sees its container die would start runc to clean up, in the middle of our own cleaning.
    def is_over() -> bool:
        rest = {*find_shims(layout), *find_pod_processes()}
        for pid in rest:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not rest

    if not poll(is_over, 20, step_secs=0.1):
        raise ClusterError(f"these processes do not end: {sorted({*find_shims(layout), *find_pod_processes()})}")


def list_mounts(layout: Layout) -> list[str]:
    """Mount points under the cluster's folders, the youngest first."""
    points = [_unescape(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    folders = (f"{layout.state}/", f"{layout.run}/")
    return [point for point in reversed(points) if point.startswith(folders)]


def _unescape(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _unmount(layout: Layout) -> None:
    def is_over() -> bool:
        for point in list_mounts(layout):
            subprocess.run(["umount", point], capture_output=True, check=False)
        return not list_mounts(layout)

    if poll(is_over, 5, step_secs=0.2):
        return
    for point in list_mounts(layout):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
    if rest := list_mounts(layout):
        raise ClusterError(f"these mounts do not go: {' '.join(rest)}")


def _remove_links() -> None:
    for port in Path("/sys/class/net").glob("*/master"):
        if port.resolve().name == BRIDGE:
            subprocess.run(["ip", "link", "delete", port.parent.name], capture_output=True, check=False)
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=True)


def _remove_tables() -> None:
    for family in ("ip", "ip6"):
        subprocess.run(["nft", "delete", "table", family, "kube-proxy"], capture_output=True, check=False)


def _cgroup_roots() -> list[Path]:
    base = Path("/sys/fs/cgroup")
    return [path for path in (base / "kubepods", *base.glob("*/kubepods")) if path.is_dir()]


def _remove_cgroups() -> None:
    def is_over() -> bool:
        for root in _cgroup_roots():
            for folder, _, _ in os.walk(root, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:
                    continue  # busy for a moment after its last process ended; asked again
        return not _cgroup_roots()

    if not poll(is_over, 5, step_secs=0.2):
        raise ClusterError(f"these cgroups do not go: {' '.join(map(str, _cgroup_roots()))}")


def _remove_files(layout: Layout) -> None:
    """Logs stay, until the next first start."""
    _remove_shim_sockets(layout)
    _remove_network_results()
    shutil.rmtree(layout.run, ignore_errors=True)
    logs = Path("/var/log/containers")
    for link in logs.glob("*") if logs.is_dir() else ():
        if link.is_symlink() and link.readlink().is_relative_to(layout.state):
            link.unlink()
    for entry in layout.state.iterdir() if layout.state.is_dir() else ():
        if entry not in (layout.logs, layout.saved_sysctls, layout.state / "lock"):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    Path("/var/lib/kubelet/device-plugins/kubelet.sock").unlink(missing_ok=True)  # there whatever --root-dir says
    for folder in _SHARED_FOLDERS:
        try:
            Path(folder).rmdir()
        except OSError:
            continue  # not there, or somebody else's things are in it


def _remove_shim_sockets(layout: Layout) -> None:
    """They are in a folder that all containerds of a machine share; each bundle says which one is its own."""
    for note in layout.run.glob("containerd/io.containerd.runtime.v2.task/k8s.io/*/bootstrap.json"):
        address = json.loads(note.read_text()).get("address", "")
        Path(address.removeprefix("unix://")).unlink(missing_ok=True)


def _remove_network_results() -> None:
    """What libcni remembers of a sandbox: one file for our network, one for its loopback, both with its id."""
    results = Path("/var/lib/cni/results")
    for result in results.glob(f"{NETWORK}-*"):
        sandbox = result.name.removeprefix(f"{NETWORK}-").split("-")[0]
        for file in results.glob(f"*-{sandbox}-*"):
            file.unlink()
