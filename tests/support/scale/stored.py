"""Earlier profiles, by the thousand: their objects in an API server, their files on a volume."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any
from unittest import mock

from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.manifest import Manifest, Quality, RecordedTarget, StoredFile
from samply_operator.rules import times
from samply_operator.rules.recording import status
from samply_operator.store.volume import Volume
from support.scale.fleet import Json, Writer, run_all

DATA = bytes(1024)
PER_PIPELINE = 20


async def store(writer: Writer, root: Path, namespace: str, count: int) -> None:
    """`count` good profiles, ended one after the other within the last days."""
    await writer.create_namespace(namespace)
    volume = Volume(root)
    volume.prepare()
    made: list[Json] = []

    async def create(number: int) -> None:
        spec = {"pipeline": f"orders-{number // PER_PIPELINE:04}", "ordinal": number % PER_PIPELINE}
        body: dict[str, Any] = {"apiVersion": names.API_VERSION, "kind": names.KIND, "spec": spec}
        body["metadata"] = {"name": f"stored-{number:05}"}
        raw = await writer.create(objects.samply_profiles(namespace), body)
        manifest = build_manifest(raw, time.time() - number * 10)
        path = objects.samply_profiles(namespace, manifest.name, "status")
        await writer.patch(path, {"status": status.render_stored({}, manifest, time.time())})
        made.append(raw)
        file = volume.tmp_path(manifest.id, "profile.json.gz")
        file.write_bytes(DATA)
        volume.publish(manifest, file)

    with mock.patch("os.fsync"):  # nothing here must outlive the machine, and the disk would take minutes
        await run_all(lambda number=number: create(number) for number in range(count))


def build_manifest(raw: Json, finished: float) -> Manifest:
    meta, spec = raw["metadata"], raw["spec"]
    return Manifest(
        id=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        pipeline=spec["pipeline"],
        ordinal=spec["ordinal"],
        outcome="Succeeded",
        requested_at=times.format_time(finished - 31),
        started_at=times.format_time(finished - 30),
        finished_at=times.format_time(finished),
        file=StoredFile(len(DATA), hashlib.sha256(DATA).hexdigest(), raw_bytes=len(DATA)),
        quality=Quality(samples=4000, threads=8, coverage=0.98, cpu_secs=4.0, lost_events=0),
        target=RecordedTarget(f"{spec['pipeline']}-0", "uid", "pipeline", "containerd://1", "node-1", 1, "InPlace"),
    )
