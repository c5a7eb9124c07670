"""On a standby, forwards requests to the leader, unchanged and with the caller's own token.

Files of stored profiles are served here. While the leader is unreachable, so is everything that an API container can
answer without its operator.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict

from samply_operator.api.state import STATE

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

FORWARDED = "Samply-Forwarded"
"""Header of a forwarded request, which is not forwarded again."""
CONNECT_SECS = 2.0
READ_SECS = 60.0
PIECE_BYTES = 256 * 1024
HOP_BY_HOP = frozenset(
    map(
        str.lower,
        (
            hdrs.CONNECTION,
            hdrs.KEEP_ALIVE,
            hdrs.PROXY_AUTHENTICATE,
            hdrs.PROXY_AUTHORIZATION,
            hdrs.TE,
            hdrs.TRAILER,
            hdrs.TRANSFER_ENCODING,
            hdrs.UPGRADE,
        ),
    )
)


class Forwarding:
    """`find_leader` returns the leader's address; empty: there is none, or it is this pod. `certificate`: the file of
    the certificate for HTTPS, which all pods share."""

    def __init__(self, find_leader: Callable[[], str], certificate: Path | None = None) -> None:
        self._find_leader = find_leader
        self._certificate = certificate
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECS, sock_read=READ_SECS)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        address = self._find_leader()
        if not address or FORWARDED in request.headers or is_answered_here(request):
            return await handler(request)
        try:
            answer = await self._ask(request, address)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            logger.info("the leader at %s is unreachable: %s", address, error)
            return await handler(request)
        async with answer:
            return await _relay(request, answer)

    async def _ask(self, request: web.Request, address: str) -> aiohttp.ClientResponse:
        assert self._session is not None  # noqa: S101 - for mypy: used within `async with`
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP
        )
        headers[FORWARDED] = "1"
        headers[hdrs.X_FORWARDED_FOR] = request.remote or ""
        trust = await asyncio.to_thread(self._read_fingerprint)
        scheme = "https" if trust else "http"
        return await self._session.request(
            request.method,
            f"{scheme}://{address}{request.raw_path}",
            headers=headers,
            data=await request.read() or None,
            allow_redirects=False,
            ssl=trust or True,
        )

    def _read_fingerprint(self) -> aiohttp.Fingerprint | None:
        """The leader is reached by its address, its certificate is for the Service's name: the certificate itself is
        compared. None: plain HTTP."""
        if self._certificate is None:
            return None
        pem = self._certificate.read_text(encoding="ascii").split("-----END CERTIFICATE-----", maxsplit=1)[0]
        der = ssl.PEM_cert_to_DER_cert(pem + "-----END CERTIFICATE-----\n")
        return aiohttp.Fingerprint(hashlib.sha256(der).digest())


def is_answered_here(request: web.Request) -> bool:
    """Whatever does not depend on the leader's state: files of stored profiles, which never change, and the pages.

    A profile under another name of its pipeline is the leader's: it alone knows the names."""
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else ""
    if "/v0/" not in path or path.endswith("/v0/config"):
        return True
    names, is_read = request.match_info, request.method in {hdrs.METH_GET, hdrs.METH_HEAD}
    if not is_read or "profile_id" not in names or path.endswith("{profile_id}"):
        return False
    found = request.app[STATE].view.get(names["profile_id"])
    return found is not None and found.pipeline == names["pipeline_name"]


async def _relay(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    try:
        async for piece in answer.content.iter_chunked(PIECE_BYTES):
            await response.write(piece)
        await response.write_eof()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        logger.info("a response of the leader was cut off: %s", error)
        response.force_close()
        if request.transport is not None:
            request.transport.abort()
    return response
