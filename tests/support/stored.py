"""Earlier profiles: object in the cluster, manifest and file on the volume, as a recording leaves them."""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import Any

import msgspec

from samply_operator.kube import objects
from samply_operator.model.manifest import Manifest, ObjectOrigin, StoredFile
from samply_operator.recorder import object_origin
from samply_operator.rules import times
from samply_operator.rules.recording import status
from samply_operator.store.volume import Volume
from support.fake_cluster import FakeCluster, Json
from support.operator_process import NAMESPACE, ask
from support.samples import make_manifest


def find_origin(cluster: FakeCluster, namespace: str = NAMESPACE) -> ObjectOrigin:
    paths = (object_origin.namespace_path(namespace), object_origin.DEFINITION)
    return ObjectOrigin(*(cluster.objects[path]["metadata"]["uid"] for path in paths))


def store(cluster: FakeCluster, volume: Volume, name: str, *, age: float = 0, size: int = 7, **changes: Any) -> str:
    """A good profile that ended `age` seconds ago, and its object; its id."""
    raw = ask(cluster, name)
    data = b"profile" + bytes(size - 7)
    manifest = make_manifest(
        id=raw["metadata"]["uid"],
        name=name,
        requested_at=raw["metadata"]["creationTimestamp"],
        finished_at=times.format_time(time.time() - age),
        file=StoredFile(size_bytes=size, sha256=hashlib.sha256(data).hexdigest()),
        origin=find_origin(cluster),
    )
    manifest = msgspec.structs.replace(manifest, **changes)
    publish(volume, manifest, data)
    raw["status"] = status.render_stored({}, manifest, time.time())
    cluster.put(objects.samply_profiles(NAMESPACE, name), raw)
    return manifest.id


def publish(volume: Volume, manifest: Manifest, data: bytes) -> None:
    path = volume.tmp_path(manifest.id, "profile.json.gz")
    path.write_bytes(data)
    volume.publish(manifest, path)


def forget(cluster: FakeCluster, name: str) -> Json:
    """Remove the object without notifying any watch."""
    return cluster.objects.pop(objects.samply_profiles(NAMESPACE, name))


def make_id() -> str:
    return str(uuid.uuid4())
