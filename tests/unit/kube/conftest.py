"""A fake API server and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from samply_operator.kube.client import KubeClient
from samply_operator.kube.connection import load_plain
from support.fake_kube import FakeKube


@pytest.fixture
async def kube() -> AsyncIterator[FakeKube]:
    async with FakeKube() as fake:
        yield fake


@pytest.fixture
async def client(kube: FakeKube) -> AsyncIterator[KubeClient]:
    async with KubeClient(load_plain(kube.url)) as made:
        yield made
