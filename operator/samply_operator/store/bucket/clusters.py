"""Other clusters' prefixes of the same bucket, read in addition to this one's: their namespaces are called
CLUSTER/NAMESPACE. They are only read. If one cannot be listed, its last state is used, and the others are not affected.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

import msgspec

from samply_operator.errors import StoreError, StoreUnavailable
from samply_operator.model.manifest import Manifest
from samply_operator.store.bucket import uploads
from samply_operator.store.bucket.catalog import Catalog
from samply_operator.store.bucket.objects import Objects, Stream
from samply_operator.store.bucket.reader import BucketReader
from samply_operator.store.documents import Reading
from samply_operator.store.volume import Volume

logger = logging.getLogger(__name__)

SEPARATOR = "/"
Sign = Callable[[str], str]


class Cluster:
    """One additional prefix. `sign`: as for BucketReader."""

    def __init__(self, name: str, objects: Objects, sign: Sign | None = None) -> None:
        self.name = name
        self.objects = objects
        self.catalog = Catalog(objects)
        self.sign = sign

    def list_ids(self) -> frozenset[str]:
        try:
            return self.catalog.list()
        except StoreUnavailable as error:
            logger.warning("cluster %s: using the last list: %s", self.name, error)
            return frozenset(self.catalog.tags)

    def rename(self, manifest: Manifest) -> Manifest:
        """Its name in this installation."""
        return msgspec.structs.replace(manifest, namespace=f"{self.name}{SEPARATOR}{manifest.namespace}")


class ClustersReader(BucketReader):
    """Reads its own prefix like BucketReader, and `others`."""

    def __init__(
        self, spool: Volume, objects: Objects, others: Collection[Cluster], *, sign: Sign | None = None
    ) -> None:
        super().__init__(spool, objects, sign=sign)
        self._others: Mapping[str, Cluster] = {cluster.name: cluster for cluster in others}
        self._homes: dict[str, Cluster] = {}
        """The prefix of each profile of another cluster, by id."""

    def list_ids(self) -> frozenset[str]:
        own = super().list_ids()
        homes = {profile_id: cluster for cluster in self._others.values() for profile_id in cluster.list_ids()}
        self._homes = {profile_id: cluster for profile_id, cluster in homes.items() if profile_id not in own}
        return own | self._homes.keys()

    def read_manifest(self, profile_id: str) -> Manifest | None:
        home = self._homes.get(profile_id)
        if home is None:
            return super().read_manifest(profile_id)
        manifest = home.catalog.read(profile_id)
        return home.rename(manifest) if manifest else None

    def read_manifests(self, ids: Collection[str] | None = None) -> Reading[Manifest]:
        wanted = self.list_ids() if ids is None else frozenset(ids)
        reading = super().read_manifests(wanted - self._homes.keys())
        for cluster in self._others.values():
            theirs = [profile_id for profile_id in wanted if self._homes.get(profile_id) is cluster]
            found = self._read_theirs(cluster, theirs)
            reading = Reading(reading.items + tuple(map(cluster.rename, found.items)), reading.faults + found.faults)
        return reading

    def _read_theirs(self, cluster: Cluster, ids: Collection[str]) -> Reading[Manifest]:
        try:
            return cluster.catalog.read_many(ids)
        except StoreError as error:
            logger.warning("cluster %s: %s", cluster.name, error)
            return Reading(())

    async def open_stream(self, manifest: Manifest, start: int, stop: int, name: str = "") -> Stream | None:
        home = self._find_home(manifest)
        if home is None:
            return await super().open_stream(manifest, start, stop, name)
        return await home.objects.open_stream(uploads.build_path(manifest, name), start, stop)

    def sign(self, manifest: Manifest) -> str | None:
        home = self._find_home(manifest)
        if home is None:
            return super().sign(manifest)
        return home.sign(uploads.build_path(manifest)) if home.sign else None

    def _find_home(self, manifest: Manifest) -> Cluster | None:
        name, separator, _ = manifest.namespace.partition(SEPARATOR)
        return self._others.get(name) if separator else None
