"""The servers to compare: `server.py ours|ours-tls|plain FOLDER PORT`. Each serves FOLDER until it is ended.

ours: the api as it is deployed (access log to /dev/null), behind it an operator made of a script, which knows one API
key and finds every Kubernetes token good. ours-tls: the same over TLS. plain: aiohttp's FileResponse and a bare 204.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from aiohttp import web

from samply_operator.api import main
from samply_operator.api.server import access_log
from samply_operator.control.messages import Credentials, ReviewReply
from samply_operator.settings import Api, ApiKeys, Auth, Identity, Paths, Settings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from support.fake_operator import FakeOperator, make_key, make_pipeline, make_recording

RUNNING_ID = "00000000-0000-4000-8000-00000000ffff"
API_KEY = "samply_bench_0123456789abcdef0123456789abcdef"
KUBERNETES_TOKEN = "known"
NEW_TOKEN = "new-"


async def serve_ours(folder: Path, port: int, tls: Path | None) -> None:
    socket_path = folder / f"{port}.sock"
    # wrk is one caller: without a limit of its own, but with its cost.
    api = Api(host="127.0.0.1", port=port, metrics_port=0, requests_per_sec=1e9, request_burst=10**9)
    auth = Auth(api_keys=ApiKeys(enabled=True))
    found = Settings(auth=auth, api=api, paths=Paths(data=str(folder), socket=str(socket_path)))
    with access_log.writing_to_stdout():
        await serve_scripted(found, socket_path, tls)


async def serve_scripted(settings: Settings, socket_path: Path, tls: Path | None) -> None:
    async with FakeOperator(socket_path) as operator, main.serve(settings, Identity("feldera", "pod", "bench"), tls):
        operator.pipelines = tuple(map(make_pipeline, ("busy", "big", "small", "huge")))
        operator.recordings = (make_recording(RUNNING_ID, "busy", ends_in_secs=3600),)
        operator.credentials = Credentials((make_key(API_KEY),), read_at=time.time())
        operator.review = lambda token, asked: ReviewReply(token, dict.fromkeys(asked.verbs, asked.namespaces))
        operator.push()
        main.tune_garbage_collector()
        await asyncio.Event().wait()


async def serve_plain(folder: Path, port: int) -> None:
    async def send(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(folder / request.match_info["name"])

    async def poll(request: web.Request) -> web.StreamResponse:
        return web.Response(status=204, headers={"Retry-After": "30"})

    app = web.Application()
    app.router.add_get("/files/{name}", send)
    app.router.add_get("/poll", poll)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    kind, name, number = sys.argv[1:]
    folder, port = Path(name), int(number)
    tls = folder / "tls" if kind == "ours-tls" else None
    asyncio.run(serve_plain(folder, port) if kind == "plain" else serve_ours(folder, port, tls))
