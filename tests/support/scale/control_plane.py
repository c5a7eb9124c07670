"""An API server of one's own on a loopback port, with its etcd: no kubelet and no controllers, so that objects stay as
they are written, and fake pods cost nothing but their place.

    with control_plane.running(folder) as plane:
        plane.url, plane.kubeconfig, plane.read_audit() …

The programs are those of hack/native/build. What the operator asks for is in the audit log, one line for each request.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ADMIN, OPERATOR = "admin", "samply-operator"
"""Users, whose tokens are their names."""
START_SECS = 60
END_SECS = 20
NEEDED = ("etcd", "kube-apiserver")
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "users": [OPERATOR]}],
}


def programs_folder() -> Path:
    """Where hack/native/build puts them."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SAMPLY_OPERATOR_CACHE") or base / "samply-operator") / "bin"


def find_missing() -> list[str]:
    return [name for name in NEEDED if not (programs_folder() / name).exists()]


@dataclass(frozen=True, slots=True)
class ControlPlane:
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The operator's."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def count_requests(self, since: int = 0) -> Counter[str]:
        """What the operator asked for, such as `patch samplyprofiles/status`, from this byte of the log on."""
        found: Counter[str] = Counter()
        with self.audit_log.open("rb") as log:
            log.seek(since)
            for line in log:
                event = json.loads(line)
                what = event.get("objectRef") or {}
                parts = (what.get("resource", event["requestURI"]), what.get("subresource"))
                found[f"{event['verb']} {'/'.join(filter(None, parts))}"] += 1
        return found

    def is_ready(self) -> bool:
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {ADMIN}"})
        try:
            with urllib.request.urlopen(request, timeout=2, context=build_tls()) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def build_tls() -> ssl.SSLContext:
    """The certificate is the server's own, made at its start; it is on the loopback interface."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def find_port() -> int:
    """Free now, and unlikely to be taken within a second."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(folder: Path) -> Iterator[ControlPlane]:
    """Both programs while the context lasts; `folder` gets their data and logs."""
    plane = ControlPlane(folder, find_port())
    etcd, peer = find_port(), find_port()
    _write_files(plane)
    with ExitStack() as stack:
        stack.enter_context(_started(folder, "etcd", _build_etcd(folder, etcd, peer)))
        server = stack.enter_context(_started(folder, "kube-apiserver", _build_api_server(plane, etcd)))
        _wait_ready(plane, server)
        yield plane


def _write_files(plane: ControlPlane) -> None:
    folder = plane.folder
    (folder / "tokens.csv").write_text(f"{ADMIN},{ADMIN},1,system:masters\n{OPERATOR},{OPERATOR},2,system:masters\n")
    (folder / "audit.json").write_text(json.dumps(AUDIT_POLICY))
    key = folder / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    write_kubeconfig(plane.kubeconfig, plane.url)


def write_kubeconfig(path: Path, url: str) -> None:
    """The operator's, for a server with a self-signed certificate."""
    cluster = {"server": url, "insecure-skip-tls-verify": True}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "scale", "cluster": cluster}],
        "users": [{"name": OPERATOR, "user": {"token": OPERATOR}}],
        "contexts": [{"name": "scale", "context": {"cluster": "scale", "user": OPERATOR}}],
        "current-context": "scale",
    }
    path.write_text(json.dumps(config))


def _build_etcd(folder: Path, port: int, peer: int) -> list[str]:
    argv = [f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--log-level=warn", f"--quota-backend-bytes={8 << 30}"]
    argv += [f"--{kind}-client-urls=http://127.0.0.1:{port}" for kind in ("listen", "advertise")]
    argv += [f"--{kind}-urls=http://127.0.0.1:{peer}" for kind in ("listen-peer", "initial-advertise-peer")]
    return [*argv, f"--initial-cluster=default=http://127.0.0.1:{peer}"]


def _build_api_server(plane: ControlPlane, etcd: int) -> list[str]:
    folder = plane.folder
    return [
        "--bind-address=127.0.0.1",
        f"--secure-port={plane.port}",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.232.0.0/24",
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--cert-dir={folder}/certificates",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/service-account.key",
        f"--service-account-signing-key-file={folder}/service-account.key",
        # Nobody makes the namespace's default one here.
        "--disable-admission-plugins=ServiceAccount",
        f"--audit-policy-file={folder}/audit.json",
        f"--audit-log-path={plane.audit_log}",
        # One writer of 200 changes a second is not to be held back for the sake of others: there are none.
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
    ]


@contextmanager
def _started(folder: Path, name: str, arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([programs_folder() / name, *arguments], stdout=log, stderr=log, cwd=folder)
    try:
        yield process
    finally:
        end(process, END_SECS)


def end(process: subprocess.Popen[bytes], secs: float) -> float:
    """SIGTERM, and SIGKILL after `secs`; returns how long it took."""
    began = time.monotonic()
    process.terminate()
    try:
        process.wait(secs)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return time.monotonic() - began


def _wait_ready(plane: ControlPlane, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECS
    while not plane.is_ready():
        if server.poll() is not None or time.monotonic() > until:
            tail = (plane.folder / "kube-apiserver.log").read_text().splitlines()[-15:]
            raise RuntimeError("the API server doesn't become ready:\n" + "\n".join(tail))
        time.sleep(0.1)
