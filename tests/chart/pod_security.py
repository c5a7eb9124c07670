"""The `restricted` profile of the Pod Security Standards (v1.36), control by control, as a pure function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def find_violations(pod: Spec) -> list[str]:
    """What `restricted` (and `baseline` below it) forbids in this pod's spec; empty: it is admitted."""
    found = [*_check_pod(pod)]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(kind, []):
            found += [f"{container['name']}: {what}" for what in _check_container(container, pod)]
    return found


def _check_pod(pod: Spec) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield key
    for volume in pod.get("volumes", []):
        if not set(volume) - {"name"} <= VOLUMES:
            yield f"volume {volume['name']}"
    security = pod.get("securityContext", {})
    if security.get("sysctls"):
        yield "sysctls"
    if "windowsOptions" in security:
        yield "windowsOptions"
    if security.get("runAsUser") == 0:
        yield "runAsUser 0"


def _check_container(container: Spec, pod: Spec) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = {**pod.get("securityContext", {}), **own}
    probes = [container.get(f"{kind}Probe", {}).get("httpGet", {}) for kind in ("startup", "liveness", "readiness")]
    capabilities = own.get("capabilities", {})
    forbidden = {
        "privileged": own.get("privileged"),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
        "runAsNonRoot": both.get("runAsNonRoot") is not True,
        "runAsUser 0": both.get("runAsUser") == 0,
        "seccompProfile": both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"},
        "capabilities.drop": "ALL" not in capabilities.get("drop", []),
        "capabilities.add": set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"},
        "procMount": own.get("procMount", "Default") != "Default",
        "hostPort": any("hostPort" in port for port in container.get("ports", [])),
        "probe host": any("host" in probe for probe in probes),
    }
    return (name for name, is_found in forbidden.items() if is_found)
