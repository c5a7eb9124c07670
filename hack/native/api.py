"""Two ways to the API server: plain HTTPS requests as admin for quick questions, kubectl for the rest."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from typing import Any

from .errors import ClusterError
from .layout import API_PORT, NODE_ADDRESS, Layout


def request(layout: Layout, method: str, path: str, body: object = None, *, timeout_secs: float = 5) -> tuple[int, Any]:
    """Status and parsed JSON (or text); status 0 when nobody answers."""
    try:
        context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
        context.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")
        connection = http.client.HTTPSConnection(NODE_ADDRESS, API_PORT, timeout=timeout_secs, context=context)
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
    except (OSError, http.client.HTTPException):
        return 0, None
    is_json = (response.getheader("Content-Type") or "").startswith("application/json")
    return response.status, json.loads(text) if is_json else text


def is_ready(layout: Layout) -> bool:
    return request(layout, "GET", "/readyz")[0] == 200


def is_node_ready(layout: Layout, node: str) -> bool:
    status, found = request(layout, "GET", f"/api/v1/nodes/{node}")
    if status != 200:
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions", []))


def kubectl(layout: Layout, *arguments: str, timeout_secs: float = 30) -> subprocess.CompletedProcess[str]:
    command = [str(layout.bin / "kubectl"), f"--kubeconfig={layout.kubeconfig}", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_secs)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no end within {timeout_secs:.0f} s")


def apply(layout: Layout, file: str) -> None:
    """Apply one of hack/native/config."""
    done = _apply(layout, file)
    if done.returncode:
        raise ClusterError(f"kubectl apply -f {file}: {done.stderr.strip()}")


def try_apply(layout: Layout, file: str) -> bool:
    return _apply(layout, file).returncode == 0


def _apply(layout: Layout, file: str) -> subprocess.CompletedProcess[str]:
    return kubectl(layout, "apply", "--validate=false", "-f", str(layout.config / file))
