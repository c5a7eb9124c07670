"""The whole api in this process on a real port: a volume, a scripted operator behind the socket, and a client."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from samply_operator.settings import Auth
from support.service import KEYS, Answer, Service, make_id, serving, wait_until

__all__ = ["Answer", "Service", "make_id", "wait_until"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, as the path of a unix socket must be."""
    with tempfile.TemporaryDirectory(prefix="so-") as name:
        yield Path(name)


@pytest.fixture
def auth() -> Auth:
    """Which ways are on; a module may say otherwise."""
    return KEYS


@pytest.fixture
async def service(folder: Path, auth: Auth) -> AsyncIterator[Service]:
    async with serving(folder, auth=auth) as service:
        yield service
