"""Opens the store selected by the settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from samply_operator.settings import Identity, Settings
from samply_operator.store import durable
from samply_operator.store.store import Store, StoreReader
from samply_operator.store.volume import Volume

if TYPE_CHECKING:
    from samply_operator.store.bucket.objects import Objects

EMERGENCY_BYTES = 1024 * 1024
"""Room for some hundred small writes on a volume filled by others."""
EXIT_FENCED = 75
"""EX_TEMPFAIL: restart the process."""


def open_store(settings: Settings, identity: Identity) -> Store:
    """For the only writer. Raises SettingsError."""
    storage, is_bucket = settings.storage, settings.storage.kind == "Bucket"
    volume = Volume(
        settings.paths.data,
        min_free_bytes=settings.recording.min_free_bytes,
        max_bytes=storage.spool_bytes if is_bucket else 0,
        emergency_bytes=EMERGENCY_BYTES,
        medium=durable.SPOOL if is_bucket else durable.VOLUME,
    )
    if not is_bucket:
        return volume
    from samply_operator.store.bucket.fence import Fence  # noqa: PLC0415 - 7 MB that a volume needs not
    from samply_operator.store.bucket.store import BucketStore  # noqa: PLC0415

    objects = _connect(settings, storage.bucket.cluster)
    fence = Fence(objects, identity.installation, identity.pod)
    return BucketStore(volume, objects, fence, read_back=storage.read_back, on_fenced=lambda _: end_process())


def open_reader(settings: Settings) -> StoreReader:
    """For readers. Raises SettingsError."""
    volume = Volume(settings.paths.data)
    if settings.storage.kind == "Volume":
        return volume
    from samply_operator.store.bucket.clusters import Cluster, ClustersReader  # noqa: PLC0415

    bucket = settings.storage.bucket
    others = [Cluster(name, _connect(settings, name), _build_sign(settings, name)) for name in bucket.read_clusters]
    own = _connect(settings, bucket.cluster)
    return ClustersReader(volume, own, others, sign=_build_sign(settings, bucket.cluster))


def _build_sign(settings: Settings, cluster: str) -> Callable[[str], str] | None:
    storage = settings.storage
    if not storage.redirect:
        return None
    public = _connect(settings, cluster, storage.redirect_endpoint)
    return lambda path: public.sign(path, storage.redirect_secs)


def _connect(settings: Settings, cluster: str, endpoint: str = "") -> Objects:
    from samply_operator.store.bucket.connection import Connection  # noqa: PLC0415
    from samply_operator.store.bucket.objects import Objects  # noqa: PLC0415

    bucket = settings.storage.bucket
    connection = Connection(
        bucket,
        cluster,
        Path(settings.paths.storage),
        authorities=Path(settings.paths.authorities),
        endpoint=endpoint,
    )
    connection()  # errors of the settings are reported at the start
    return Objects(connection)


def end_process() -> NoReturn:
    """Another process has become the writer: this one must stop at once. Its unfinished work belongs to the other, as
    after a kill."""
    os._exit(EXIT_FENCED)
