"""The store's contract in a bucket that speaks S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.stores.bucket_place import BucketPlace
from contract.stores.store_contract import StoreContract
from support.buckets import Server


class TestS3(StoreContract):
    @pytest.fixture
    def place(self, moto: Server, tmp_path: Path) -> Iterator[BucketPlace]:
        place = BucketPlace(moto, tmp_path)
        yield place
        place.close()


@pytest.mark.slow
class TestVersity(StoreContract):
    """Another implementation of S3."""

    @pytest.fixture
    def place(self, versitygw: Server, tmp_path: Path) -> Iterator[BucketPlace]:
        place = BucketPlace(versitygw, tmp_path)
        yield place
        place.close()


class TestGoogle(StoreContract):
    @pytest.fixture
    def place(self, gcs: Server, tmp_path: Path) -> Iterator[BucketPlace]:
        place = BucketPlace(gcs, tmp_path)
        yield place
        place.close()


@pytest.mark.slow
class TestAzure(StoreContract):
    @pytest.fixture
    def place(self, azurite: Server, tmp_path: Path) -> Iterator[BucketPlace]:
        place = BucketPlace(azurite, tmp_path)
        yield place
        place.close()
