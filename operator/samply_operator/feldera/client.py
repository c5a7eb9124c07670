"""A client of Feldera's API: each call has a time limit and a limit for the size of its response, and goes to one
address.

Redirects are not followed and proxies of the environment are not used, so that a bearer is sent nowhere else. Errors
and log lines never contain a bearer, and at most one sanitized line of a response's text.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Literal, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp import hdrs

from samply_operator import errors, json_errors
from samply_operator.authorities import Authorities
from samply_operator.feldera.answers import Config, ErrorBody, PipelineInfo, Session, Stats

TENANT = "Feldera-Tenant"
"""Header that chooses one of a caller's tenants, by name or id."""
ANSWER_SECS = 5.0
CONNECT_SECS = 3.0
DOWNLOAD_SECS = 300.0
MAX_BYTES = 8 * 1024 * 1024
"""Of an answer that is kept in memory; thousands of pipelines fit."""
MAX_GRAPH_BYTES = 64 * 1024 * 1024
MAX_PROFILE_BYTES = 1024 * 1024 * 1024
MAX_TEXT = 200
"""Characters of Feldera's own words in an error."""
MAX_RETRY_SECS = 3600
MAX_DIGITS = 5
"""Of the seconds to wait: that many are more than MAX_RETRY_SECS."""

NO_PROFILE = frozenset({"NoSamplyProfile", "SamplyProfilingFailure"})
"""Feldera's own words for: none was taken, or the last one failed."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding an answer may raise."""

Document = Literal["stats", "metrics", "circuit_json_profile", "heap_profile"]

Answer = TypeVar("Answer")

KINDS: Mapping[int, type[errors.FelderaError]] = {
    401: errors.FelderaUnauthenticated,
    403: errors.FelderaForbidden,
    404: errors.FelderaNotFound,
    408: errors.FelderaUnavailable,
    429: errors.FelderaUnavailable,
}
"""By status. Else: 5xx is worth repeating, everything else is not."""


@dataclass(frozen=True, slots=True)
class Login:
    """Whose words a call has: a bearer (an API key `apikey:…`, or a JWT) and the tenant; both may be empty."""

    bearer: str = field(default="", repr=False)
    tenant: str = ""

    def build_headers(self) -> dict[str, str]:
        headers = {hdrs.AUTHORIZATION: f"Bearer {self.bearer}"} if self.bearer else {}
        return headers | ({TENANT: self.tenant} if self.tenant else {})


@dataclass(frozen=True, slots=True)
class PipelineList:
    """The pipelines that can be read. `skipped`: why others cannot."""

    pipelines: tuple[PipelineInfo, ...]
    skipped: errors.FelderaRejected | None = None


class FelderaClient:
    """Use as `async with`. Every call may raise FelderaError: FelderaUnauthenticated and FelderaForbidden for the
    login, FelderaNotFound, FelderaRejected, and FelderaUnavailable where repeating may help."""

    def __init__(self, url: str, *, answer_secs: float = ANSWER_SECS) -> None:
        """`url` is that of the API server, such as https://feldera-api-server.feldera:8080. Authorities are those that
        OpenSSL trusts, a private one by its variable SSL_CERT_FILE (the chart's extraCaBundle)."""
        self.url = url.rstrip("/")
        self._authorities = Authorities()
        self._answer_secs = answer_secs
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=self._answer_secs, sock_connect=min(CONNECT_SECS, self._answer_secs)),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    # ------------------------------------------------------------------------------------------------ what it knows

    async def list_pipelines(self, login: Login) -> PipelineList:
        """All pipelines of the login's tenant."""
        return _read_rows(await self._get_json("/v0/pipelines?selector=status", login, tuple[msgspec.Raw, ...]))

    async def get_pipeline(self, name: str, login: Login) -> PipelineInfo:
        """One of them by its name. FelderaNotFound: there is none that the login may see."""
        return await self._get_json(f"{_path(name)}?selector=status", login, PipelineInfo)

    async def get_session(self, login: Login) -> Session:
        """Whose the login is."""
        return await self._get_json("/v0/config/session", login, Session)

    async def get_config(self, login: Login) -> Config:
        """Feldera's edition and version."""
        return await self._get_json("/v0/config", login, Config)

    # --------------------------------------------------------------------------------------- what a pipeline says

    async def get_dataflow_graph(self, name: str, login: Login) -> bytes:
        """JSON: the Calcite plan and the MIR nodes of the compiled program."""
        return await self._get(f"{_path(name)}/dataflow_graph", login, MAX_GRAPH_BYTES)

    async def get_circuit_json_profile(self, name: str, login: Login) -> bytes:
        """JSON: the engine's own measures of each operator of a running pipeline."""
        return await self._get(f"{_path(name)}/circuit_json_profile", login, MAX_GRAPH_BYTES)

    async def get_stats(self, name: str, login: Login) -> Stats:
        return await self._get_json(f"{_path(name)}/stats", login, Stats)

    async def get_metrics(self, name: str, login: Login) -> bytes:
        """In Prometheus' text format."""
        return await self._get(f"{_path(name)}/metrics", login, MAX_BYTES)

    async def save(
        self, name: str, what: Document, login: Login, out: IO[bytes], *, total_secs: float | None = None
    ) -> None:
        """Write an answer to `out` as it comes. FelderaRejected: it has more than MAX_GRAPH_BYTES. What `out` raises is
        raised, unless it is an OSError. `total_secs` instead of the usual limit."""
        size = 0
        async with self._ask(hdrs.METH_GET, f"{_path(name)}/{what}", login, total_secs=total_secs) as response:
            async for data in response.content.iter_chunked(256 * 1024):
                size += len(data)
                if size > MAX_GRAPH_BYTES:
                    raise errors.FelderaRejected(
                        f"Feldera's answer has more than {MAX_GRAPH_BYTES} bytes.",
                        remedy="That is the most that is fetched; request it from Feldera itself.",
                    )
                await asyncio.to_thread(out.write, data)

    # ------------------------------------------------------------------------------------------- its own profiles

    async def start_samply_profile(self, name: str, duration_secs: int, login: Login, *, ordinal: int = 0) -> None:
        """Have the pipeline run samply on itself. FelderaRejected: it does so already, or profiling is not enabled
        there; `details["error_code"]` says which."""
        path = f"{_path(name)}/samply_profile?ordinal={ordinal}&duration_secs={duration_secs}"
        async with self._ask(hdrs.METH_POST, path, login) as response:
            await _read(response, MAX_BYTES)

    async def save_samply_profile(self, name: str, login: Login, out: IO[bytes], *, ordinal: int = 0) -> int | None:
        """Write the pipeline's newest own profile, gzip, to `out`. Returns None when all is written; the seconds to
        wait where one is still being taken. A profile that failed raises FelderaUnavailable or FelderaRejected."""
        path = f"{_path(name)}/samply_profile?ordinal={ordinal}&latest=true"
        async with self._ask(hdrs.METH_GET, path, login, total_secs=DOWNLOAD_SECS) as response:
            if response.status == 204:
                return _parse_retry_after(response.headers.get(hdrs.RETRY_AFTER, ""))
            size = 0
            async for data in response.content.iter_chunked(256 * 1024):
                size += len(data)
                if size > MAX_PROFILE_BYTES:
                    raise _build_unreadable("the profile is too long", response)
                await asyncio.to_thread(out.write, data)
        return None

    async def find_samply_wait(self, name: str, login: Login, *, ordinal: int = 0) -> int | None:
        """Whether the pipeline runs samply on itself now: in how many seconds to ask again. None: it does not."""
        path = f"{_path(name)}/samply_profile?ordinal={ordinal}&latest=true"
        try:
            async with self._ask(hdrs.METH_GET, path, login) as response:
                if response.status == 204:
                    return _parse_retry_after(response.headers.get(hdrs.RETRY_AFTER, ""))
                response.close()  # a profile that is there is not read
        except errors.FelderaError as error:
            if error.details.get("error_code") not in NO_PROFILE:
                raise
        return None

    # ------------------------------------------------------------------------------------------------------ inside

    async def _get_json(self, path: str, login: Login, kind: type[Answer]) -> Answer:
        async with self._ask(hdrs.METH_GET, path, login) as response:
            body = await _read(response, MAX_BYTES)
            try:
                return msgspec.json.decode(body, type=kind)
            except UNREADABLE as error:
                raise _build_unreadable("the answer is not what Feldera's API says", response) from error

    async def _get(self, path: str, login: Login, most: int = MAX_BYTES) -> bytes:
        async with self._ask(hdrs.METH_GET, path, login) as response:
            return await _read(response, most)

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, login: Login, *, total_secs: float | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful response as a stream. Errors while it is read are errors of the project too."""
        if self._session is None:
            raise errors.FelderaUnavailable("The client of Feldera's API is not open.")
        timeout = aiohttp.ClientTimeout(total=total_secs, sock_connect=CONNECT_SECS) if total_secs else None
        more = {"timeout": timeout} if timeout else {}
        try:
            async with self._session.request(
                method,
                self.url + path,
                headers=login.build_headers(),
                allow_redirects=False,
                ssl=await self._authorities.load(),
                **more,  # type: ignore[arg-type]  # aiohttp's own type has more arguments
            ) as response:
                if response.status not in {200, 202, 204}:
                    raise await _build_refusal(response)
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _build_unavailable(self.url, error) from error


def _path(name: str) -> str:
    """Raises FelderaNotFound for what would lead to another path."""
    if name in {"", ".", ".."}:
        raise errors.FelderaNotFound(f"Feldera has no pipeline with the name '{name}'.", remedy=REMEDIES[404])
    return f"/v0/pipelines/{quote(name, safe='')}"


def _parse_retry_after(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        return 1
    return min(max(1, int(text.lstrip("0")[:MAX_DIGITS] or "0")), MAX_RETRY_SECS)


def _read_rows(rows: Sequence[msgspec.Raw]) -> PipelineList:
    """One that cannot be read leaves the others alone."""
    found, faults = [], []
    for row in rows:
        try:
            found.append(msgspec.json.decode(row, type=PipelineInfo))
        except UNREADABLE as error:
            faults.append(json_errors.describe(error))
    if not faults:
        return PipelineList(tuple(found))
    message = f"{len(faults)} of {len(rows)} pipelines in Feldera's answer cannot be read: {_clean(faults[0])}."
    if not found:
        raise errors.FelderaUnavailable(message, remedy=ADDRESS)
    remedy = "They keep their ids as names here; the other pipelines are not affected."
    return PipelineList(tuple(found), errors.FelderaRejected(message, remedy=remedy))


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > most:
            raise _build_unreadable("the answer is too long", response)
    return bytes(body)


def _clean(text: str) -> str:
    """External text, made safe for an error."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:MAX_TEXT].strip()


async def _build_refusal(response: aiohttp.ClientResponse) -> errors.FelderaError:
    """Feldera's own reason, where it gives one: a proxy before it answers in HTML."""
    try:
        body = msgspec.json.decode(await _read(response, MAX_BYTES), type=ErrorBody)
    except UNREADABLE:
        body = ErrorBody()
    status = response.status
    default = errors.FelderaUnavailable if status >= 500 else errors.FelderaRejected
    words = f": {_clean(body.message)}" if body.message else ""
    return KINDS.get(status, default)(
        f"Feldera answers {status}{words}.".replace("..", "."),
        remedy=REMEDIES.get(status, ""),
        details={"status": status, "error_code": _clean(body.error_code), "path": response.url.path},
    )


ADDRESS = "config.feldera.url must be the address of Feldera's API server itself, without a login page before it."
REMEDIES: Mapping[int, str] = {
    401: "Make a new API key in Feldera: it is unknown there, or was removed.",
    403: "The key needs the role read in that tenant.",
    404: "Look at the pipeline's name, and at the tenant of the key.",
}


def _build_unreadable(why: str, response: aiohttp.ClientResponse) -> errors.FelderaUnavailable:
    kind = response.headers.get(hdrs.CONTENT_TYPE, "no content type")
    return errors.FelderaUnavailable(
        f"Feldera's answer cannot be read: {why} ({_clean(kind)}).",
        remedy=ADDRESS,
        details={"status": response.status, "path": response.url.path},
    )


def _build_unavailable(url: str, error: Exception) -> errors.FelderaUnavailable:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        why = "its certificate is not trusted"
        remedy = "Give the authority that signed it in the chart's extraCaBundle."
    elif isinstance(error, TimeoutError):
        why, remedy = "there was no answer in time", "Try again in a few seconds."
    else:
        why = _clean(str(error)) or type(error).__name__
        remedy = "Look at config.feldera.url, and at the network policies between here and there."
    return errors.FelderaUnavailable(f"Feldera's API at {url} cannot be reached: {why}.", remedy=remedy)
