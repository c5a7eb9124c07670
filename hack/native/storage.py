"""Pre-made `local` volumes for the StorageClass `standard`: unlike hostPath they honour a pod's fsGroup.

Nothing provisions here, so a volume whose claim was deleted stays Released; each `up` makes those anew, empty.
"""

from __future__ import annotations

import shutil

from . import api
from .errors import ClusterError
from .layout import NODE, VOLUME_COUNT, Layout
from .programs import wait_until

_PATH = "/api/v1/persistentvolumes"


def ensure(layout: Layout) -> int:
    """Make the volumes that lack, and those that are Released; return how many were made."""
    status, found = api.request(layout, "GET", _PATH)
    if status != 200:
        raise ClusterError(f"listing volumes: {status} {found}")
    phases = {item["metadata"]["name"]: item["status"].get("phase") for item in found["items"]}
    names = [f"volume-{number:02}" for number in range(VOLUME_COUNT)]
    wanting = [name for name in names if phases.get(name) in (None, "Released", "Failed")]
    for name in wanting:
        if name in phases:
            api.request(layout, "DELETE", f"{_PATH}/{name}")
    for name in wanting:
        if name in phases:
            _wait_gone(layout, name)
        _create(layout, name)
    return len(wanting)


def _wait_gone(layout: Layout, name: str) -> None:
    # A controller takes off what protects it; after a restart of the API server that one needs up to half a minute to
    # come back to it.
    wait_until(f"volume {name} to go", lambda: api.request(layout, "GET", f"{_PATH}/{name}")[0] == 404, timeout_secs=60)
    shutil.rmtree(layout.volumes / name, ignore_errors=True)


def _create(layout: Layout, name: str) -> None:
    folder = layout.volumes / name
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o770)
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "standard",
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
    status, answer = api.request(layout, "POST", _PATH, volume)
    if status != 201:
        raise ClusterError(f"making volume {name}: {status} {answer}")
