"""JsonSlabs, as written by newer viewers and versions of samply, is read as the equivalent JSON."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator import profiles
from samply_operator.profiles.analysis import summary
from samply_operator.profiles.errors import ProfileTooLarge
from samply_operator.profiles.format import slabs, source
from support import profile_maker, profile_versions, slab_maker

NUMBERS = st.lists(st.integers(-(1 << 62), 1 << 62)) | st.lists(st.floats(allow_nan=False, allow_infinity=False))
DOCUMENTS = st.dictionaries(st.text(), NUMBERS | st.text() | st.none() | st.dictionaries(st.text(), NUMBERS))


@pytest.mark.parametrize("version", [66, 75])
@pytest.mark.parametrize("is_packed", [False, True], ids=["jslb", "jslb.gz"])
def test_a_profile_gives_the_same_as_its_json(version: int, is_packed: bool, baked: Path, tmp_path: Path) -> None:
    document = profile_versions.rewrite(json.loads(gzip.decompress(baked.read_bytes())), version)
    data = slab_maker.make(document)
    assert b'"$s"' in data
    path = tmp_path / "p.jslb.gz"
    path.write_bytes(gzip.compress(data) if is_packed else data)
    plain = profile_maker.save(document, tmp_path / "p.json.gz")
    assert summary.top(profiles.read(path)) == summary.top(profiles.read(plain))


def test_it_is_baked_to_json(data: Path, tmp_path: Path) -> None:
    document = json.loads(gzip.decompress((data / "demo-v55.json.gz").read_bytes()))
    raw, out = tmp_path / "p.jslb", tmp_path / "baked.json.gz"
    raw.write_bytes(slab_maker.make(document))
    result = profiles.bake(raw, data / "demo-v55.syms.json", out, label=profiles.Label("orders"))
    assert result.facts.symbolicated
    assert json.loads(gzip.decompress(out.read_bytes()))["meta"]["symbolicated"] is True


@given(DOCUMENTS)
def test_any_document_comes_back(document: dict[str, Any]) -> None:
    """Also one with the text of a placeholder in a string."""
    document = document | {"text": '{"$s": 1}', "{": "{", "list": [1, 2.5, 1 << 40]}
    assert json.loads(slabs.unpack(slab_maker.make(document), max_bytes=1 << 20)) == document


def test_many_numbers_are_taken_in_pieces() -> None:
    many = list(range(slabs.NUMBERS * 2 + 3))
    assert json.loads(slabs.unpack(slab_maker.make({"a": many}), max_bytes=1 << 20)) == {"a": many}


@pytest.mark.parametrize(
    ("kind", "data", "numbers"),
    [
        (0, b"\xff\x01", [-1, 1]),
        (1, b"\xff\x01", [255, 1]),
        (2, b"\xff\xff", [-1]),
        (3, b"\xff\xff", [65535]),
        (5, b"\xff\xff\xff\xff", [4294967295]),
        (6, b"\x00\x00\xc0\x3f", [1.5]),
        (9, b"\x01" + bytes(7), [1]),
        (4, b"", []),
    ],
)
def test_each_type_of_number(kind: int, data: bytes, numbers: list[float]) -> None:
    packed = slab_maker.pack([(10, b'{"a":{"$s":1}}'), (kind, data)])
    assert json.loads(slabs.unpack(packed, max_bytes=1000)) == {"a": numbers}


def test_a_bomb_of_slabs_is_refused(tmp_path: Path) -> None:
    """Small, and many times itself: ten times in each of seven layers."""
    layers = [(10, b"[" + b",".join([b'{"$s":%d}' % (layer + 1)] * 10) + b"]") for layer in range(7)]
    path = tmp_path / "p.jslb"
    path.write_bytes(slab_maker.pack([*layers, (1, bytes(100))]))
    with pytest.raises(ProfileTooLarge):
        source.load_json(path, max_raw_bytes=1 << 20)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_damaged_slabs_raise_only_known_errors(at: int, noise: bytes) -> None:
    data = slab_maker.make({"a": [1, 2, 3], "threads": [{"b": [1.5] * 9}]})
    broken = data[:at] + noise + data[at + len(noise) :]
    with contextlib.suppress(slabs.SlabsError, slabs.TooLargeError):
        slabs.unpack(broken, max_bytes=1 << 20)
