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


@pytest.fixture
def label() -> profiles.Label:
    return profiles.Label("orders, host 1 of 2", process="host 1 of 2", info=(("pipeline", "orders"), ("ordinal", "0")))


@pytest.fixture
def baked(raw: Path, sidecar: Path, tmp_path: Path, label: profiles.Label) -> Path:
    out = tmp_path / "baked.json.gz"
    profiles.bake(raw, sidecar, out, label=label)
    return out


@pytest.fixture
def files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Files:
    return Files(tmp_path, capfd)
