"""The command lines of the node's programs, in the order they start, and the files they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from . import layout as names
from .layout import HERE, Layout
from .programs import Program

ORDER = (
    "etcd",
    "kube-apiserver",
    "containerd",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
)


@dataclass(frozen=True, slots=True)
class Node:
    """What tells one node's configuration from another's."""

    name: str
    address: str


OWN = Node(names.NODE, names.NODE_ADDRESS)
"""The one on this machine."""


def write_files(layout: Layout, cni_bin: Path, target: Path | None = None, node: Node = OWN) -> None:
    """Render hack/native/config into the state folder, or for another node into `target`."""
    target = target or layout.config
    values = {
        "state": layout.state,
        "run": layout.run,
        "bin": layout.bin,
        "cni_bin": cni_bin,
        "node": node.name,
        "node_address": node.address,
        "pod_range": names.POD_RANGE,
        "bridge": names.BRIDGE,
        "network": names.NETWORK,
        "pause_image": names.PAUSE_IMAGE,
    }
    (target / "cni").mkdir(parents=True, exist_ok=True)
    for source in sorted((HERE / "config").iterdir()):
        folder = target / "cni" if source.suffix == ".conflist" else target
        _write_if_changed(folder / source.name, Template(source.read_text()).substitute(values))
    _write_if_changed(target / "resolv.conf", "")


def _write_if_changed(path: Path, text: str) -> None:
    """kube-proxy watches its file and ends at each write, so an equal one is left alone."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def build_programs(layout: Layout, node: Node = OWN) -> dict[str, Program]:
    programs = (_etcd(layout), _api_server(layout), *_controllers(layout), *_node_programs(layout, node))
    return {program.name: program for program in programs}


def _etcd(layout: Layout) -> Program:
    pki, client, peer = layout.pki, names.ETCD_PORT, names.ETCD_PORT + 1
    argv = [layout.bin / "etcd", "--name=node", f"--data-dir={layout.state}/etcd", "--unsafe-no-fsync"]
    argv += [f"--{kind}-client-urls=https://127.0.0.1:{client}" for kind in ("listen", "advertise")]
    argv += [f"--listen-peer-urls=https://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=https://127.0.0.1:{peer}"]
    argv += [f"--initial-cluster=node=https://127.0.0.1:{peer}", "--log-level=warn"]
    for prefix in ("", "peer-"):
        argv += [f"--{prefix}cert-file={pki}/etcd.crt", f"--{prefix}key-file={pki}/etcd.key"]
        argv += [f"--{prefix}client-cert-auth", f"--{prefix}trusted-ca-file={pki}/etcd-ca.crt"]
    return _program("etcd", argv, pki / "etcd.crt")


def _api_server(layout: Layout) -> Program:
    pki = layout.pki
    argv = [
        layout.bin / "kube-apiserver",
        f"--bind-address={names.NODE_ADDRESS}",
        f"--secure-port={names.API_PORT}",
        f"--advertise-address={names.NODE_ADDRESS}",
        f"--service-cluster-ip-range={names.SERVICE_RANGE}",
        f"--etcd-servers=https://127.0.0.1:{names.ETCD_PORT}",
        f"--etcd-cafile={pki}/etcd-ca.crt",
        f"--etcd-certfile={pki}/etcd-client.crt",
        f"--etcd-keyfile={pki}/etcd-client.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        # else exec dials the node's name, which nothing resolves
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-account.pub",
        f"--service-account-signing-key-file={pki}/service-account.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ]
    return _program("kube-apiserver", argv, pki / "apiserver.crt")


def _controllers(layout: Layout) -> tuple[Program, Program]:
    pki = layout.pki
    manager = [
        layout.bin / "kube-controller-manager",
        *_identity(layout, "kube-controller-manager"),
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/service-account.key",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--use-service-account-credentials=true",
        f"--cluster-cidr={names.POD_RANGE}",
        f"--flex-volume-plugin-dir={layout.state}/kubelet/volume-plugins",  # else it makes one under /usr
    ]
    scheduler = [layout.bin / "kube-scheduler", *_identity(layout, "kube-scheduler")]
    return (
        _program("kube-controller-manager", manager, pki / "ca.crt"),
        _program("kube-scheduler", scheduler, pki / "ca.crt"),
    )


def _identity(layout: Layout, name: str) -> list[object]:
    file = layout.kubeconfig_of(name)
    return [
        f"--kubeconfig={file}",
        f"--authentication-kubeconfig={file}",
        f"--authorization-kubeconfig={file}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _node_programs(layout: Layout, node: Node) -> tuple[Program, ...]:
    config, authority = layout.config, layout.pki / "ca.crt"
    kubelet = [
        layout.bin / "kubelet",
        f"--config={config}/kubelet.yaml",
        f"--kubeconfig={layout.kubeconfig_of('kubelet')}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        f"--root-dir={layout.state}/kubelet",
        f"--cert-dir={layout.state}/kubelet/pki",
    ]
    containerd = [layout.bin / "containerd", f"--config={config}/containerd.toml", "--log-level=info"]
    proxy = [layout.bin / "kube-proxy", f"--config={config}/kube-proxy.yaml"]
    dns = [layout.bin / "coredns", f"-conf={config}/Corefile"]
    return (
        _program(
            "containerd", containerd, config / "containerd.toml", PATH=f"{layout.bin}:/usr/sbin:/usr/bin:/sbin:/bin"
        ),
        _program("kubelet", kubelet, config / "kubelet.yaml", authority),
        _program("kube-proxy", proxy, config / "kube-proxy.yaml", authority),
        _program("coredns", dns, config / "Corefile", authority),
    )


def _program(name: str, argv: Sequence[object], *files: Path, **environment: str) -> Program:
    return Program(name, tuple(map(str, argv)), files, environment)
