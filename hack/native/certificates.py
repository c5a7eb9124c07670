"""Makes the cluster's keys, certificates and kubeconfig files with the openssl program.

Two authorities: one for Kubernetes, one for etcd, so that a client of the API server can't talk to etcd.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError
from .layout import API_PORT, NODE, NODE_ADDRESS, SERVICE_ADDRESS, Layout

_DAYS = 365
_RENEW_SECS = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate: file name, subject, the authority that signs it, and the names it is served under, if any."""

    name: str
    subject: str
    authority: str = "ca"
    served_as: tuple[str, ...] = ()


CERTIFICATES = (
    Certificate(
        "apiserver",
        "/CN=kube-apiserver",
        served_as=(
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            "DNS:kubernetes.default.svc.cluster.local",
            "DNS:localhost",
            "IP:127.0.0.1",
            f"IP:{SERVICE_ADDRESS}",
            f"IP:{NODE_ADDRESS}",
        ),
    ),
    Certificate("etcd", "/CN=etcd", "etcd-ca", ("DNS:localhost", "IP:127.0.0.1")),
    Certificate("etcd-client", "/CN=kube-apiserver", "etcd-ca"),
    Certificate("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
    Certificate("admin", "/O=system:masters/CN=admin"),
    Certificate("kube-controller-manager", "/CN=system:kube-controller-manager"),
    Certificate("kube-scheduler", "/CN=system:kube-scheduler"),
    Certificate("kube-proxy", "/CN=system:kube-proxy"),
    Certificate("coredns", "/CN=system:coredns"),
    Certificate("kubelet", f"/O=system:nodes/CN=system:node:{NODE}"),
)


def ensure(layout: Layout) -> bool:
    """Make all keys and certificates unless good ones are there; say whether they were made."""
    if _is_valid(layout):
        return False
    shutil.rmtree(layout.pki, ignore_errors=True)
    layout.pki.mkdir(parents=True, mode=0o700)
    for authority in ("ca", "etcd-ca"):
        _make_authority(layout.pki, authority)
    for certificate in CERTIFICATES:
        _make_certificate(layout.pki, certificate)
    _openssl("genrsa", "-out", layout.pki / "service-account.key", "2048")
    _openssl("rsa", "-in", layout.pki / "service-account.key", "-pubout", "-out", layout.pki / "service-account.pub")
    layout.config.mkdir(parents=True, exist_ok=True)
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "kubelet"):
        _write_kubeconfig(layout, name, layout.kubeconfig_of(name))
    _write_kubeconfig(layout, "admin", layout.kubeconfig)
    (layout.pki / "complete").touch()
    return True


def write_node(layout: Layout, node: str, path: Path) -> None:
    """A kubeconfig file for the kubelet of another node."""
    certificate = Certificate(f"kubelet-{node}", f"/O=system:nodes/CN=system:node:{node}")
    _make_certificate(layout.pki, certificate)
    _write_kubeconfig(layout, certificate.name, path)


def _is_valid(layout: Layout) -> bool:
    if not (layout.pki / "complete").exists() or not layout.kubeconfig.exists():
        return False
    check = ["openssl", "x509", "-noout", "-checkend", str(_RENEW_SECS), "-in", str(layout.pki / "apiserver.crt")]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def _make_authority(pki: Path, name: str) -> None:
    _make_key(pki / f"{name}.key")
    _openssl("req", "-x509", "-new", "-key", pki / f"{name}.key", "-subj", f"/CN=samply-cluster-{name}", "-days", _DAYS,
             "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", pki / f"{name}.crt")  # fmt: skip


def _make_certificate(pki: Path, certificate: Certificate) -> None:
    key, request, extensions = (pki / f"{certificate.name}.{end}" for end in ("key", "csr", "ext"))
    _make_key(key)
    _openssl("req", "-new", "-key", key, "-subj", certificate.subject, "-out", request)
    usage = "clientAuth,serverAuth" if certificate.served_as else "clientAuth"
    # Python 3.13 checks strictly (RFC 5280): key usage and key identifiers must be there.
    lines = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", f"extendedKeyUsage={usage}"]
    lines += ["subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid"]
    if certificate.served_as:
        lines.append(f"subjectAltName={','.join(certificate.served_as)}")
    extensions.write_text("\n".join(lines) + "\n")
    authority = pki / certificate.authority
    _openssl("x509", "-req", "-in", request, "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-CAcreateserial",
             "-days", _DAYS, "-extfile", extensions, "-out", pki / f"{certificate.name}.crt")  # fmt: skip
    request.unlink()
    extensions.unlink()


def _make_key(path: Path) -> None:
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)


def _openssl(*arguments: object) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")


def _write_kubeconfig(layout: Layout, user: str, path: Path) -> None:
    """JSON, which every reader of YAML takes; the certificates are inside, so the file stands alone."""
    pki = layout.pki
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "samply",
                "cluster": {
                    "server": f"https://{NODE_ADDRESS}:{API_PORT}",
                    "certificate-authority-data": _base64(pki / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _base64(pki / f"{user}.crt"),
                    "client-key-data": _base64(pki / f"{user}.key"),
                },
            }
        ],
        "contexts": [{"name": "samply", "context": {"cluster": "samply", "user": user}}],
        "current-context": "samply",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1) + "\n")


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
