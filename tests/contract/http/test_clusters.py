"""Profiles of further clusters: in their own namespaces, for callers who may read them, and read-only."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from samply_operator.control.messages import Credentials
from samply_operator.rules.access import credentials
from support import buckets
from support.buckets import Server
from support.fake_operator import KEY, bearer, make_key
from support.service import Service, make_id, serving, wait_until

URL = "/v0/pipelines/orders/samply_profile"
HISTORY = "/v0/pipelines/orders/samply_profiles"
OWN_ONLY = credentials.build_key("own", bytes(range(32)))
THEIRS_ONLY = credentials.build_key("theirs", bytes(reversed(range(32))))


@dataclass
class Pair:
    here: Service
    there: Service
    name: str
    """Of the other cluster."""


@pytest.fixture
def folders() -> Iterator[tuple[Path, Path]]:
    with tempfile.TemporaryDirectory(prefix="so-") as one, tempfile.TemporaryDirectory(prefix="so-") as two:
        for name in (one, two):
            buckets.write_credentials(Path(name), buckets.KEYS)
        yield Path(one), Path(two)


@pytest.fixture
async def pair(folders: tuple[Path, Path], moto: Server) -> AsyncIterator[Pair]:
    theirs, own = buckets.build_storage(moto), buckets.build_storage(moto)
    name = theirs.bucket.cluster
    both = msgspec.structs.replace(own, bucket=msgspec.structs.replace(own.bucket, read_clusters=(name,)))
    async with serving(folders[0], storage=theirs) as there, serving(folders[1], storage=both) as here:
        keys = (make_key(KEY), make_key(OWN_ONLY, namespaces=("feldera",)),
                make_key(THEIRS_ONLY, ("get",), (f"{name}/feldera",)))  # fmt: skip
        here.operator.credentials = Credentials(keys, read_at=time.time())
        here.put(1, b"ours")
        there.put(2, b"theirs")
        here.operator.push()
        pair = Pair(here, there, name)

        async def is_known() -> bool:
            await here.state.look_again()
            return len(here.state.view.catalog.by_id) == 2 and await here.knows_credentials()

        await wait_until(is_known)
        yield pair


async def test_both_are_served_each_by_its_namespace(pair: Pair) -> None:
    (await pair.here.get(URL)).assert_error(400, "AmbiguousPipelineName")
    assert (await pair.here.get(f"{URL}?namespace=feldera")).body == b"ours"
    assert (await pair.here.get(f"{URL}?namespace={pair.name}/feldera")).body == b"theirs"
    facts = (await pair.here.get(f"{HISTORY}/{make_id(2)}")).read_json()
    assert facts["namespace"] == f"{pair.name}/feldera"


async def test_who_may_read_one_does_not_see_the_other(pair: Pair) -> None:
    own, theirs = bearer(OWN_ONLY)["Authorization"], bearer(THEIRS_ONLY)["Authorization"]
    assert (await pair.here.get(URL, Authorization=own)).body == b"ours"
    assert (await pair.here.get(URL, Authorization=theirs)).body == b"theirs"
    answer = await pair.here.get(f"{HISTORY}/{make_id(2)}", Authorization=own)
    assert answer.status == 404
    answer = await pair.here.get(f"{URL}?namespace={pair.name}/feldera", Authorization=own)
    assert answer.status == 404


async def test_the_other_cluster_does_not_see_this_one(pair: Pair) -> None:
    await pair.there.settle()
    assert (await pair.there.get(URL)).body == b"theirs"
    assert set(pair.there.state.view.catalog.by_id) == {make_id(2)}


async def test_a_cluster_that_cannot_be_read_keeps_no_other_one_away(pair: Pair) -> None:
    pair.there.volume._objects.delete([f"manifests/0/{make_id(2)}.json"])  # type: ignore[attr-defined]
    await pair.here.state.look_again()
    assert (await pair.here.get(URL)).body == b"ours"
