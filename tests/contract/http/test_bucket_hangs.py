"""The real process of `api` while its bucket accepts connections and says nothing: an answer to every request."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest

from contract.stores.bucket_place import lock
from contract.stores.store_contract import make_manifest
from samply_operator.api.content.remote_files import ANSWER_SECS
from samply_operator.model.attachment import NAMES
from samply_operator.model.manifest import Attachment, StoredFile
from samply_operator.settings import Api, Auth, Identity, Paths, Settings
from samply_operator.store import content, opening
from samply_operator.store.bucket.store import BucketStore
from samply_operator.store.index import Index
from support import buckets, profile_maker
from support.buckets import Server
from support.hanging_proxy import HangingProxy
from support.service import make_id, wait_until

COUNT = 6
"""More files than a zip asks for before its head."""
START_SECS = 60.0
PIPELINE = "/v0/pipelines/orders"
ONE = f"{PIPELINE}/samply_profiles/{make_id(1)}"
STATS = NAMES["Stats"]
KNOWN = ["/readyz", "/healthz", "/v0/pipelines", f"{PIPELINE}/samply_profiles", ONE]
"""Answered without the bucket."""
FILES = [
    f"{PIPELINE}/samply_profile", f"{PIPELINE}/samply_profile?ordinal=all", f"{PIPELINE}/export", f"{PIPELINE}/summary",
    f"{PIPELINE}/diff?before={make_id(1)}&after={make_id(2)}",
    *(f"{ONE}/{name}" for name in ("profile", "summary", "operators", "tree", "timeline", f"attachments/{STATS}")),
]  # fmt: skip


@dataclass
class Reply:
    status: int
    body: bytes
    retry_after: str
    secs: float


class Process:
    def __init__(self, session: aiohttp.ClientSession, port: int, proxy: HangingProxy) -> None:
        self.proxy = proxy
        self._session = session
        self._port = port

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        began, url = time.monotonic(), f"http://127.0.0.1:{self._port}{path}"
        async with self._session.request(method, url, headers=headers) as answer:
            body = await answer.read()
        return Reply(answer.status, body, answer.headers.get("Retry-After", ""), time.monotonic() - began)

    async def ask_all(self, paths: list[str]) -> dict[str, Reply]:
        return dict(zip(paths, await asyncio.gather(*map(self.ask, paths)), strict=True))

    async def is_answering(self, path: str) -> bool:
        try:
            return (await self.ask(path)).status == 200
        except aiohttp.ClientConnectionError:
            return False


def fill(settings: Settings, data: bytes) -> None:
    store = opening.open_store(settings, Identity("feldera", "pod", "release"))
    assert isinstance(store, BucketStore)
    store.prepare()
    lock(store)
    for number in range(1, COUNT + 1):
        path = store.tmp_path(make_id(number), "profile")
        path.write_bytes(data)
        facts = content.describe(path)
        file = StoredFile(facts.size_bytes, facts.sha256, crc32=facts.crc32)
        beside = store.tmp_path(make_id(number), STATS)
        beside.write_bytes(b"stats")
        attached = (Attachment("Stats", STATS, content.describe(beside)),)
        manifest = make_manifest(number, id=make_id(number), ordinal=number % COUNT, file=file, attachments=attached)
        store.publish(manifest, path, extras={STATS: beside})
    assert store.measure_backlog().attempts == 0
    store.unlock()
    index = Index()
    index.refresh(opening.open_reader(settings))
    assert len(index.catalog.by_id) == COUNT


@pytest.fixture
async def process(tmp_path: Path, moto: Server) -> AsyncIterator[Process]:
    buckets.write_credentials(tmp_path, buckets.KEYS)
    storage = buckets.build_storage(moto)
    document = profile_maker.build([[profile_maker.Sample(("main", "work"), 1.0)] * 5])
    data = profile_maker.save(document, tmp_path / "profile.json.gz").read_bytes()
    far = Paths(data=str(tmp_path / "elsewhere"), storage=str(tmp_path))
    await asyncio.to_thread(fill, Settings(storage=storage, paths=far), data)
    async with HangingProxy("127.0.0.1", int(moto.endpoint.rpartition(":")[2])) as proxy:
        bucket = msgspec.structs.replace(storage.bucket, endpoint=f"http://127.0.0.1:{proxy.port}")
        api = msgspec.structs.replace(
            Api(requests_per_sec=0), host="127.0.0.1", port=buckets.find_port(), metrics_port=buckets.find_port()
        )
        paths = {name: str(tmp_path / name) for name in ("data", "socket", "cache")}
        settings = Settings(
            storage=msgspec.structs.replace(storage, bucket=bucket),
            auth=Auth(unsafe_let_anyone_in_without_authentication=True),
            api=api,
            paths=Paths(storage=str(tmp_path), **paths),
        )
        path = tmp_path / "settings.json"
        path.write_bytes(msgspec.json.encode(settings))
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "samply_operator.cli", "api", "--settings", str(path),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                process = Process(session, api.port, proxy)
                await wait_until(lambda: process.is_answering("/readyz"), START_SECS)
                yield process
        finally:
            child.kill()
            await child.wait()


@pytest.mark.timeout(180)
async def test_every_request_is_answered_while_the_bucket_hangs(process: Process) -> None:
    process.proxy.pause()
    replies = await process.ask_all(KNOWN + FILES)
    head, part = await asyncio.gather(
        process.ask(f"{ONE}/profile", "HEAD"), process.ask(f"{ONE}/profile", Range="bytes=0-9")
    )
    assert {path: replies[path].status for path in KNOWN} == dict.fromkeys(KNOWN, 200)
    for reply in (*(replies[path] for path in FILES), head, part):
        assert (reply.status, reply.retry_after) == (503, "5"), reply
        assert reply.secs < 2 * ANSWER_SECS
    assert all(b'"StoreUnavailable"' in replies[path].body for path in FILES)
    process.proxy.resume()
    for path in FILES:
        await wait_until(lambda path=path: process.is_answering(path), START_SECS)


@pytest.mark.timeout(180)
async def test_what_is_in_the_cache_is_served_while_the_bucket_hangs(process: Process) -> None:
    before = await process.ask(f"{ONE}/summary")
    assert before.status == 200
    process.proxy.pause()
    assert (await process.ask(f"{ONE}/profile")).status == 200
