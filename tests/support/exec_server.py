"""An API server's exec endpoint on a loopback port: runs real local commands, and fails as real ones do.

Pods: any name but `missing` (404); containers: any name but `missing` (400). Faults are taken one per session, in
order; when none is left, sessions are faultless. It speaks v5 and v4 (`protocols`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web

FRAME_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong in one session. All counts are bytes of stdout."""

    cut_after: int | None = None
    """The TCP connection is gone after these bytes."""
    truncate_after: int | None = None
    """These bytes arrive, the rest doesn't, and the status says Success."""
    no_status: bool = False
    duplicate_at: int | None = None
    """The frame that reaches this offset is sent twice."""
    flip_at: int | None = None
    """The byte at this offset arrives wrong."""
    empty_frames: bool = False
    """An empty frame on stdout, and one without a channel, before each real one."""
    close_late_secs: float = 0.0
    """After the status, the connection stays open this long."""
    infra_error: str = ""
    """The status is a Failure with this message and without an exit code."""
    refuse: int = 0
    """The handshake is answered with this HTTP status."""
    hang: bool = False
    """Nothing comes, not even a pong."""
    text_frame: bool = False
    split_status: bool = False
    repeat_status: bool = False


@dataclass(slots=True)
class ExecServer:
    """`async with ExecServer() as server: … server.url`."""

    faults: deque[Fault] = field(default_factory=deque)
    protocols: tuple[str, ...] = ("v5.channel.k8s.io", "v4.channel.k8s.io")
    token: str = ""
    """When set, requests without it are answered with 401."""
    sessions: int = 0
    open_sessions: int = 0
    most_open: int = 0
    pings: int = 0
    chosen: list[str] = field(default_factory=list)
    """The protocol of each session, in order."""
    stdout_bytes: int = 0
    """Sent in all sessions."""
    url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        self.add_routes(app)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def add_routes(self, app: web.Application) -> None:
        """For a server that has other routes too."""
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{pod}/exec", self._serve)

    def break_next(self, faults: Iterable[Fault]) -> None:
        self.faults.extend(faults)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.token and request.headers.get("Authorization", "").lower() != f"bearer {self.token}":
            return _refuse(401, "Unauthorized", "Unauthorized")
        if "*/*" not in request.headers.get("Accept", "*/*"):
            return _refuse(406, "NotAcceptable", "406: Not Acceptable")
        if request.match_info["pod"] == "missing":
            return _refuse(404, "NotFound", 'pods "missing" not found')
        if request.query.get("container") == "missing":
            return _refuse(400, "BadRequest", "container missing is not valid for pod p")
        fault = self.faults.popleft() if self.faults else Fault()
        self.sessions += 1
        if fault.refuse:
            return _refuse(fault.refuse, "InternalError", "refused by the test")
        offered = {name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}
        if offered.isdisjoint(self.protocols):
            return web.Response(status=403)  # without a Status: Go's WebSocket server answers, not the API server
        socket = web.WebSocketResponse(protocols=self.protocols, autoping=False, max_msg_size=0)
        await socket.prepare(request)
        self.chosen.append(socket.ws_protocol or "")
        self.open_sessions += 1
        self.most_open = max(self.most_open, self.open_sessions)
        try:
            await _Session(self, socket, fault).run(request)
        except (ConnectionError, aiohttp.ClientError):
            pass
        finally:
            self.open_sessions -= 1
        return socket


class _Session:
    def __init__(self, server: ExecServer, socket: web.WebSocketResponse, fault: Fault) -> None:
        self.server = server
        self.socket = socket
        self.fault = fault
        self.sent = 0

    async def run(self, request: web.Request) -> None:
        if self.fault.hang:
            await asyncio.sleep(3600)
        if self.fault.text_frame:
            await self.socket.send_str("no such thing")
            return
        command = request.query.getall("command")
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE if request.query["stdin"] == "true" else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError:
            text = f'exec: "{command[0]}": executable file not found in $PATH'
            await self._send_status({"status": "Failure", "reason": "InternalError", "message": text})
            return
        try:
            await self._pump(process, request)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()  # to the end of its pipes, so that they get closed

    async def _pump(self, process: asyncio.subprocess.Process, request: web.Request) -> None:
        receiving = asyncio.create_task(self._receive(process))
        stderr = asyncio.create_task(self._send_stderr(process))
        try:
            if not await self._send_stdout(process):
                assert request.transport is not None
                request.transport.abort()
                return
            await stderr
            code = await process.wait()
            if not self.fault.no_status:
                await self._send_status(self._build_status(code))
            await asyncio.sleep(self.fault.close_late_secs)
            await self.socket.close()
        finally:
            for task in (receiving, stderr):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError, aiohttp.ClientError):
                    await task

    async def _receive(self, process: asyncio.subprocess.Process) -> None:
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.PING:
                self.server.pings += 1
                await self.socket.pong(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY and process.stdin is not None:
                with contextlib.suppress(ConnectionError):
                    if message.data == b"\xff\x00":
                        process.stdin.close()
                    elif message.data[:1] == b"\x00":
                        process.stdin.write(message.data[1:])
                        await process.stdin.drain()

    async def _send_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while data := await process.stderr.read(FRAME_BYTES):
            await self.socket.send_bytes(b"\x02" + data)

    async def _send_stdout(self, process: asyncio.subprocess.Process) -> bool:
        """False: the connection is to be cut."""
        assert process.stdout is not None
        fault = self.fault
        while data := await process.stdout.read(FRAME_BYTES):
            if fault.empty_frames:
                await self.socket.send_bytes(b"\x01")
                await self.socket.send_bytes(b"")
            if fault.cut_after is not None and self.sent + len(data) >= fault.cut_after:
                await self.socket.send_bytes(b"\x01" + data[: fault.cut_after - self.sent])
                return False
            await self._send_frame(data)
        return True

    async def _send_frame(self, data: bytes) -> None:
        fault, start = self.fault, self.sent
        self.sent += len(data)
        if fault.truncate_after is not None:
            data = data[: max(0, fault.truncate_after - start)]
            if not data:
                return
        if fault.flip_at is not None and start <= fault.flip_at < start + len(data):
            at = fault.flip_at - start
            data = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        await self.socket.send_bytes(b"\x01" + data)
        self.server.stdout_bytes += len(data)
        if fault.duplicate_at is not None and start <= fault.duplicate_at < start + len(data):
            await self.socket.send_bytes(b"\x01" + data)

    def _build_status(self, code: int) -> dict[str, Any]:
        if self.fault.infra_error:
            return {"status": "Failure", "reason": "InternalError", "message": self.fault.infra_error, "code": 500}
        if code == 0:
            return {"metadata": {}, "status": "Success"}
        return {
            "metadata": {},
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }

    async def _send_status(self, status: dict[str, Any]) -> None:
        raw = json.dumps(status).encode()
        pieces = [raw[:10], raw[10:]] if self.fault.split_status else [raw]
        for piece in pieces:
            await self.socket.send_bytes(b"\x03" + piece)
        if self.fault.repeat_status:
            await self.socket.send_bytes(b"\x03" + raw)


def _refuse(status: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return web.json_response(body | {"code": status}, status=status)
