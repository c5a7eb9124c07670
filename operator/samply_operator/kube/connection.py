"""The way to the API server: one aiohttp session with the official client's configuration, auth and TLS.

    async with Connection(load_configuration) as connection:
        await connection.request("GET", "/api/v1/…") -> bytes
        async with connection.stream("/api/v1/…?watch=true…", …) as body: …
        await connection.open_websocket("/api/v1/…/exec?…", protocols) -> aiohttp WebSocket

Every answer that isn't a success leaves here as one of errors.Kube*. A 401 renews the configuration once, since
service account tokens rotate; an API server that has only begun to run is asked again. Nothing is repeated otherwise:
who calls knows what may be.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from yarl import URL

from samply_operator.errors import KubeError, KubeUnavailable, SettingsError
from samply_operator.kube import faults, measures, proxies

Params = Mapping[str, str] | tuple[tuple[str, str], ...]
Load = Callable[[], Awaitable[Any]]
WebSocket = aiohttp.ClientWebSocketResponse[Literal[True]]

CONNECT_SECS = 10.0
KEEPALIVE_SECS = 60.0
"""Idle connections stay open this long: the next exec is an upgrade of one, without a handshake."""
WEBSOCKET_CLOSE_SECS = 2.0
MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_REFUSAL_BYTES = 64 * 1024
"""Limit for the body of an error."""
UNAUTHORIZED = 401
BEGINNING_SECS = 8.0
"""How long to retry while an API server starts: it forbids what is allowed until it has read roles and bindings. Its
own readiness distinguishes this from a missing permission. Afterwards it counts as unavailable."""
BEGINNING_PAUSE_SECS = 0.25
CLOSED_SECS = 5.0
"""The same if its readiness is unknown: reading that needs a role too, which it may not have read yet."""
READY_PATH = "/readyz"
"""Every cluster grants it to all authenticated users by a role (system:public-info-viewer); a hardened one may not."""
USER_AGENT = "samply-operator"
Answer = TypeVar("Answer")
Send = Callable[[aiohttp.ClientSession, URL, dict[str, str]], Awaitable[Answer]]
"""One request over the session, with its address and headers."""


async def load_configuration() -> Any:
    """The pod's own service account, else the kubeconfig file (KUBECONFIG, ~/.kube/config); the proxy of the latter,
    else of the environment."""
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException:
        try:
            await load_kube_config(client_configuration=configuration)
        except ConfigException as error:
            raise SettingsError(
                f"No configuration for the API server: {error}.",
                remedy="Run in a pod with a service account, or set KUBECONFIG.",
            ) from error
    configuration.proxy = configuration.proxy or proxies.find_proxy(configuration.host) or None
    return configuration


def load_plain(host: str) -> Load:
    """A loader for a server without TLS and tokens, such as `kubectl proxy`."""

    async def load() -> Any:
        return Configuration(host=host)

    return load


class _NotReadyError(aiohttp.ClientError):
    """The API server is starting: what it forbids may be allowed."""


class _Refused(aiohttp.ClientError):
    """An error response with its body (aiohttp's own error for a refused upgrade drops it)."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The body up to MAX_REFUSAL_BYTES: one `read` returns only what has arrived, and a partial Status cannot be
    decoded."""
    found = bytearray()
    while len(found) < MAX_REFUSAL_BYTES and (piece := await content.read(MAX_REFUSAL_BYTES - len(found))):
        found += piece
    return bytes(found)


async def _check(response: aiohttp.ClientResponse) -> None:
    if not (200 <= response.status < 300 or response.status == 101):
        body = await _read(response.content)
        response.close() if not response.content.at_eof() else response.release()
        raise _Refused(response.status, body)


class Connection:
    """Use as an async context manager; one for the whole process."""

    def __init__(self, load: Load = load_configuration) -> None:
        self._load = load
        self._configuration: Any = None
        self._session: aiohttp.ClientSession | None = None
        self._renewing = asyncio.Lock()
        self._generation = 0

    async def __aenter__(self) -> Self:
        self._configuration = await self._load()
        self._session = self._open_session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        tls = RESTClientObject(self._configuration).ssl_context
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=tls,
                limit=0,
                keepalive_timeout=KEEPALIVE_SECS,
                # Closed in the middle of an answer, a connection waits for the peer's TLS alert: no longer than the
                # session. aiohttp ignores the option, with a warning, for later Pythons.
                enable_cleanup_closed=sys.version_info < (3, 12, 8),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            raise_for_status=_check,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECS),
            trust_env=False,  # the configuration has the proxy
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params = (),
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout_secs: float = 30.0,
    ) -> bytes:
        """The body of the answer. Raises errors.Kube*."""

        async def send(session: aiohttp.ClientSession, url: URL, headers: dict[str, str]) -> bytes:
            headers["Accept"] = "application/json"  # not for an exec: that is answered with 406
            # Compressing a page of 500 pods and reading it takes longer than sending it through a cluster.
            headers["Accept-Encoding"] = "identity"
            if body is not None:
                headers["Content-Type"] = content_type
            async with session.request(
                method, url, data=body, headers=headers, allow_redirects=False, **self._transport_options()
            ) as response:
                return await response.read()

        return await self._attempt(f"{method} {path}", path, params, send, timeout_secs)

    async def open_websocket(
        self, path: str, protocols: tuple[str, ...], *, params: Params = (), timeout_secs: float = CONNECT_SECS
    ) -> WebSocket:
        """An upgraded connection; `.protocol` is what the server chose. Raises errors.Kube*."""

        async def send(session: aiohttp.ClientSession, url: URL, headers: dict[str, str]) -> WebSocket:
            socket: WebSocket = await session.ws_connect(
                url,
                protocols=protocols,
                headers=headers,
                autoping=False,
                timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=WEBSOCKET_CLOSE_SECS),
                max_msg_size=MAX_FRAME_BYTES,
                **self._transport_options(),
            )
            return socket

        return await self._attempt(f"GET {path}", path, params, send, timeout_secs)

    @asynccontextmanager
    async def stream(self, path: str, *, params: Params, silence_secs: float) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of a long response as a stream. Raises errors.Kube*, also if it breaks or is silent for too long."""

        async def send(session: aiohttp.ClientSession, url: URL, headers: dict[str, str]) -> aiohttp.ClientResponse:
            headers["Accept"] = "application/json"
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECS, sock_read=silence_secs)
            return await session.get(
                url, headers=headers, allow_redirects=False, timeout=timeout, **self._transport_options()
            )

        response = await self._attempt(f"GET {path}", path, params, send, silence_secs)
        try:
            yield response.content
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(f"GET {path}: {faults.cut(str(error) or type(error).__name__)}") from error
        finally:
            response.close()

    def _transport_options(self) -> dict[str, Any]:
        options = {
            "server_hostname": self._configuration.tls_server_name,
            "proxy": self._configuration.proxy,
            "proxy_headers": self._configuration.proxy_headers,
        }
        return {name: value for name, value in options.items() if value}

    async def _attempt(
        self,
        what: str,
        path: str,
        params: Params,
        send: Send[Answer],
        timeout_secs: float,
    ) -> Answer:
        method = what.partition(" ")[0]
        measures.REQUESTS.labels(method).inc()
        try:
            return await self._translate(what, path, params, send, timeout_secs)
        except KubeError as error:
            measures.ERRORS.labels(method, error.code).inc()
            raise

    async def _translate(
        self,
        what: str,
        path: str,
        params: Params,
        send: Send[Answer],
        timeout_secs: float,
    ) -> Answer:
        try:
            async with asyncio.timeout(timeout_secs):
                return await self._send_patiently(path, params, send, min(CLOSED_SECS, timeout_secs / 2))
        except _Refused as refused:
            raise faults.build_error(refused.status, refused.body, what) from None
        except TimeoutError as error:
            raise _unavailable(f"{what}: no answer within {timeout_secs:g} s.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _unavailable(f"{what}: {faults.cut(str(error) or type(error).__name__)}") from error

    async def _send_patiently(
        self,
        path: str,
        params: Params,
        send: Send[Answer],
        closed_secs: float,
    ) -> Answer:
        """`closed_secs`: CLOSED_SECS, or less for callers with a shorter deadline: a lasting refusal is reported as
        such."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        is_ready: bool | None = False
        while True:
            try:
                return await self._send_authorized(path, params, send)
            except _Refused as refused:
                if is_ready or not faults.is_of_authorizer(refused.status, refused.body):
                    raise
                is_ready = await self._is_ready()
                waited_secs = loop.time() - began
                if is_ready is None and waited_secs >= closed_secs:
                    raise
                if is_ready is False and waited_secs >= BEGINNING_SECS:
                    raise _NotReadyError("the API server is not ready: what it forbids may be allowed") from refused
            # Also if it is ready: there may be several, and another one answered.
            await asyncio.sleep(BEGINNING_PAUSE_SECS)

    async def _is_ready(self) -> bool | None:
        """Whether the API server has read its roles; None: it does not tell this caller."""

        async def ask(session: aiohttp.ClientSession, url: URL, headers: dict[str, str]) -> None:
            async with session.get(url, headers=headers, allow_redirects=False, **self._transport_options()):
                pass

        try:
            await self._send_authorized(READY_PATH, (), ask)
        except _Refused as refused:
            return False if refused.status >= 500 else None
        return True

    async def _send_authorized(
        self,
        path: str,
        params: Params,
        send: Send[Answer],
    ) -> Answer:
        if self._session is None:
            raise RuntimeError("the connection is used outside its `async with`")
        query = urlencode(params if isinstance(params, tuple) else tuple(params.items()))
        url = URL(self._configuration.host + path + ("?" + query if query else ""), encoded=True)
        generation = self._generation
        try:
            return await send(self._session, url, await self._build_headers())
        except _Refused as refused:
            if refused.status != UNAUTHORIZED:
                raise
        await self._renew(generation)
        return await send(self._session, url, await self._build_headers())

    async def _build_headers(self) -> dict[str, str]:
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        headers = {"User-Agent": USER_AGENT}
        return headers | ({"Authorization": token.strip()} if token else {})

    async def _renew(self, generation: int) -> None:
        """Reload the configuration, once for all requests that got the same 401."""
        async with self._renewing:
            if self._generation == generation:
                self._configuration = await self._load()
                self._generation += 1


def _unavailable(message: str) -> KubeUnavailable:
    return KubeUnavailable(message, details={"status": None, "reason": "NoAnswer"})
