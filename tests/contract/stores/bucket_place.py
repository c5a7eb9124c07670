"""A store in a bucket, for the contract: each process has its own spool, as a pod has."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from contract.stores.store_contract import Place
from samply_operator.errors import StoreFenced
from samply_operator.model.manifest import Manifest
from samply_operator.store.bucket import names, uploads
from samply_operator.store.bucket.fence import Fence
from samply_operator.store.bucket.store import BucketStore
from samply_operator.store.store import Store
from samply_operator.store.volume import Volume
from support.buckets import Server

TRIES = 20


def lock(store: BucketStore) -> None:
    """A server on a busy machine may respond slowly; a writer retries."""
    for _ in range(TRIES):
        if store.lock():
            return
    raise AssertionError("it never became the writer")


class BucketPlace(Place):
    def __init__(self, server: Server, root: Path) -> None:
        self.objects = server.open(f"{secrets.token_hex(6)}")
        self.server = server
        self.fenced: list[StoreFenced] = []
        self._root = root
        self._count = 0
        self._built: list[BucketStore] = []
        self.store: Store = self.open()

    def open(self, spool: str = "", owner: str = "ns/release") -> BucketStore:
        """A further process, which is the writer from then on."""
        store = self.build(spool, owner)
        lock(store)
        return store

    def build(self, spool: str = "", owner: str = "ns/release", **more: object) -> BucketStore:
        self._count += 1
        volume = Volume(self._root / (spool or f"pod-{self._count}"))
        fence = Fence(self.objects, owner, f"pod-{self._count}")
        store = BucketStore(volume, self.objects, fence, on_fenced=self.fenced.append, **more)  # type: ignore[arg-type]
        store.prepare()
        self._built.append(store)
        self.bucket_store = store
        return store

    def reopen(self) -> Store:
        self.bucket_store.unlock()
        self.store = self.open()
        return self.store

    def close(self) -> None:
        """End the threads of all processes: one that went on would log in the middle of another test."""
        for store in self._built:
            store.unlock()

    def read_file(self, manifest: Manifest) -> bytes:
        async def read() -> bytes:
            assert manifest.file is not None
            stream = await self.bucket_store.open_stream(manifest, 0, manifest.file.size_bytes)
            assert stream is not None
            return b"".join([bytes(piece) async for piece in stream.read(1024)])

        return asyncio.run(read())

    def read_extra(self, manifest: Manifest, name: str) -> bytes:
        return b"".join(map(bytes, self.objects.read_pieces(uploads.build_path(manifest, name))))

    def list_left(self, manifest: Manifest) -> list[str]:
        return [found.path for found in self.objects.list(names.build_folder(manifest.id))]
