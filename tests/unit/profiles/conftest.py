"""The recordings that most of these tests read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from samply_operator import profiles
from support.cli_files import Files

DATA = Path(__file__).parents[2] / "data" / "profiles"


@pytest.fixture
def data() -> Path:
    return DATA


@pytest.fixture
def raw() -> Path:
    """As samply wrote it: addresses, no names."""
    return DATA / "demo-v55.json.gz"


@pytest.fixture
def sidecar() -> Path:
    return DATA / "demo-v55.syms.json"


@pytest.fixture
def raw_document(raw: Path) -> dict[str, Any]:
    return json.loads(gzip.decompress(raw.read_bytes()))


LABEL = profiles.Label("orders, host 1 of 2", process="host 1 of 2", info=(("pipeline", "orders"), ("ordinal", "0")))


@pytest.fixture
def label() -> profiles.Label:
    return LABEL


@pytest.fixture(scope="session")
def baked_once(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("baked") / "baked.json.gz"
    profiles.bake(DATA / "demo-v55.json.gz", DATA / "demo-v55.syms.json", out, label=LABEL)
    return out.read_bytes()


@pytest.fixture
def baked(baked_once: bytes, tmp_path: Path) -> Path:
    """With the names of its functions. Each test has its own copy: it may change it, or put files beside it."""
    out = tmp_path / "baked.json.gz"
    out.write_bytes(baked_once)
    return out


@pytest.fixture
def files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Files:
    return Files(tmp_path, capfd)
