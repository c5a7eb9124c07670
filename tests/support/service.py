"""The whole api in this process on a real port: a volume, a scripted operator behind the socket, and a client."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from multidict import CIMultiDictProxy

from samply_operator.api import app_keys, main
from samply_operator.api.server.base_path import ROOT_ONLY
from samply_operator.api.server.listener import HttpListener
from samply_operator.api.state import STATE, ServiceState
from samply_operator.control.client import OperatorClient
from samply_operator.model.manifest import Manifest, StoredFile
from samply_operator.model.profile import Failure
from samply_operator.settings import Api, ApiKeys, Auth, Feldera, Identity, Paths, Settings, Storage
from samply_operator.store import opening
from samply_operator.store.store import Store
from samply_operator.store.volume import Volume
from support import openapi
from support.fake_operator import KEY, FakeOperator, bearer

DEADLINE_SECS = 30.0
KEYS = Auth(api_keys=ApiKeys(enabled=True))
"""Kubernetes tokens and API keys."""


def make_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def read_json(self) -> Any:
        return json.loads(self.body)

    def assert_error(self, status: int, code: str) -> dict[str, Any]:
        """An error in the contract's shape; returns its details."""
        assert (self.status, self.read_json().get("error_code")) == (status, code), self.body
        assert set(self.read_json()) == {"message", "error_code", "details"}
        assert self.headers["Content-Type"].startswith("application/json")
        details = self.read_json()["details"]
        assert isinstance(details, dict)
        assert details.pop("request_id") == self.headers["X-Request-Id"]
        return details


@dataclass(slots=True)
class Service:
    """What a test touches: the volume, the operator, and HTTP."""

    volume: Store
    operator: FakeOperator
    session: aiohttp.ClientSession
    """Sends KEY, which may do everything, unless told otherwise."""
    bare: aiohttp.ClientSession
    """Sends no token by itself."""
    listener: HttpListener

    @property
    def state(self) -> ServiceState:
        return self.listener.app[STATE]

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def client(self) -> OperatorClient:
        return self.listener.app[app_keys.OPERATOR]

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """`Authorization=""` sends none."""
        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        session = self.bare if headers.get("Authorization") == "" else self.session
        url = f"http://127.0.0.1:{self.port}{path}"
        async with session.request(method, url, data=body, headers=named, allow_redirects=False) as response:
            answer = Answer(response.status, response.headers, await response.read())
            base = self.listener.app[app_keys.BASE_PATH]
            sent = response.url.raw_path
            if sent not in {base + path for path in ROOT_ONLY}:
                sent = sent.removeprefix(base)
        openapi.check(method, sent, answer.status, answer.headers, answer.body)
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str) -> Answer:
        return await self.ask("POST", path)

    def put(
        self, number: int, data: bytes | None = b"profile", *, extras: Mapping[str, bytes] | None = None, **changes: Any
    ) -> Manifest:
        """Publish an attempt; `number` orders them. None: a failure. `extras`: what lies beside it, by names."""
        facts: dict[str, Any] = {
            "id": make_id(number),
            "namespace": "feldera",
            "name": f"p-{number}",
            "pipeline": "orders",
            "ordinal": 0,
            "outcome": "Failed" if data is None else "Succeeded",
            "requested_at": f"2026-01-31T09:{number:02}:00.000Z",
            "finished_at": f"2026-01-31T09:{number:02}:30.500Z",
            "file": None if data is None else StoredFile(len(data), hashlib.sha256(data).hexdigest()),
            "failure": Failure("PerfDenied", "perf_event_open was refused.", "Add PERFMON.", "EPERM")
            if data is None
            else None,
        }
        manifest = Manifest(**{**facts, **changes})
        path = None
        if data is not None:
            path = self.volume.tmp_path(manifest.id, "profile")
            path.write_bytes(data)
        beside = {name: self.volume.tmp_path(manifest.id, name) for name in extras or {}}
        for name, each in beside.items():
            each.write_bytes((extras or {})[name])
        self.volume.publish(manifest, path, extras=beside)
        self.operator.store_generation += 1
        return manifest

    async def settle(self) -> None:
        """Push the operator's state and wait until the api shows it and all that is on the volume."""
        self.operator.push()
        pipelines = {(p.namespace, p.name) for p in self.operator.pipelines}
        recordings = {r.id for r in self.operator.recordings}
        ids = self.volume.list_ids()

        async def is_shown() -> bool:
            view = self.state.view
            live = view.live
            if live is None or not view.is_ready:
                return False
            seen = set(live.pipelines), set(live.by_id), view.catalog.by_id.keys()
            return seen == (pipelines, recordings, ids) and live.is_synced == self.operator.is_synced

        await wait_until(is_shown)

    async def knows_credentials(self) -> bool:
        """The api has the credentials that the operator has."""
        return self.client.credentials == self.operator.credentials

    async def send_away(self) -> None:
        """Stop the operator; wait until the api has noticed."""
        await self.operator.go_away()
        await self.wait_for_operator("Away")

    async def wait_for_operator(self, state: str) -> None:
        async def is_so() -> bool:
            answer = await self.get("/readyz")
            return bool(answer.status == 200 and answer.read_json()["operator"] == state)

        await wait_until(is_so)


async def wait_until(is_met: Callable[[], Any], secs: float = DEADLINE_SECS) -> None:
    """Poll a condition; fails the test if it isn't met in time."""
    async with asyncio.timeout(secs):
        while not await is_met():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(
    folder: Path,
    settings: Api | None = None,
    *,
    auth: Auth = KEYS,
    storage: Storage | None = None,
    writes: bool = True,
    tls: Path | None = None,
    feldera_url: str = "",
) -> AsyncIterator[Service]:
    """Everything in `folder`, whose path must be short: a unix socket is in it. `storage`: a bucket, whose credentials
    are in `folder`, and its certificate as ca.crt, if it has one of its own; what is put there comes from another pod,
    unless it `writes` nothing."""
    socket_path = folder / "control.sock"
    api = msgspec.structs.replace(settings or Api(requests_per_sec=0), host="127.0.0.1", port=0, metrics_port=0)
    paths = Paths(
        data=str(folder / "data"),
        storage=str(folder),
        authorities=str(folder / "ca.crt"),
        socket=str(socket_path),
        cache=str(folder / "cache"),
    )
    whole = Settings(feldera=Feldera(feldera_url), auth=auth, api=api, paths=paths)
    identity = Identity("feldera", "pod", "release")
    volume: Store = Volume(folder / "data")
    volume.prepare()
    if storage is not None:
        whole = msgspec.structs.replace(whole, storage=storage)
        far = msgspec.structs.replace(whole, paths=msgspec.structs.replace(paths, data=str(folder / "elsewhere")))
        volume = opening.open_store(far, identity)
        volume.prepare()
        if writes:
            await wait_until(lambda: asyncio.to_thread(volume.lock))
    async with (
        FakeOperator(socket_path) as operator,
        main.serve(whole, identity, tls) as listener,
        aiohttp.ClientSession(auto_decompress=False, headers=bearer(KEY)) as session,
        aiohttp.ClientSession(auto_decompress=False) as bare,
    ):
        service = Service(volume, operator, session, bare, listener)
        await service.wait_for_operator("Connected")
        await wait_until(service.knows_credentials)
        try:
            yield service
        finally:
            volume.unlock()
