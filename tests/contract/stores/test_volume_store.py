"""The store's contract on a volume."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.stores.store_contract import Place, StoreContract
from samply_operator.model.manifest import Manifest
from samply_operator.store.store import Store
from samply_operator.store.volume import Volume


class VolumePlace(Place):
    def __init__(self, root: Path) -> None:
        self._root = root
        self.store: Store = self._open()

    def _open(self) -> Volume:
        self._volume = Volume(self._root)
        self._volume.prepare()
        assert self._volume.lock()
        return self._volume

    def reopen(self) -> Store:
        self._volume.unlock()
        self.store = self._open()
        return self.store

    def read_file(self, manifest: Manifest) -> bytes:
        assert manifest.file is not None
        with self._volume.open_profile(manifest.id, size_bytes=manifest.file.size_bytes) as file:
            return file.read()

    def read_extra(self, manifest: Manifest, name: str) -> bytes:
        with self._volume.open_extra(manifest.id, name) as file:
            return file.read()

    def list_left(self, manifest: Manifest) -> list[str]:
        return [path.name for path in self._root.rglob(f"{manifest.id}*/*")]


class TestVolume(StoreContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> VolumePlace:
        return VolumePlace(tmp_path / "data")
