"""Instant queries to a Prometheus, or to what has its HTTP API. What is wrong is returned, for a status.

Source: "Instant queries" and "Format overview" in Prometheus' documentation of its HTTP API. Each query carries the
trigger's namespace as a parameter of the URL: Prometheus ignores it, and proxies that restrict a query to one namespace
(prom-label-proxy, OpenShift's) read it there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp
import msgspec
from aiohttp import hdrs

from samply_operator.authorities import Authorities
from samply_operator.rules.triggers.facts import Skip
from samply_operator.settings import Prometheus

ANSWER_SECS = 5.0
CONNECT_SECS = 3.0
MAX_BYTES = 4 * 1024 * 1024
MAX_SERIES = 10_000
MAX_TEXT = 300
MAX_TOKEN_BYTES = 16_000
TOKEN = "token"  # noqa: S105 - the name of a file
INVALID = frozenset({400, 422})
"""A parameter is wrong; the expression cannot be executed."""


@dataclass(frozen=True, slots=True)
class Series:
    labels: Mapping[str, str]
    value: float


class _Sample(msgspec.Struct, frozen=True):
    """Of a vector. A native histogram has no value."""

    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None


class _Vector(msgspec.Struct, frozen=True, tag_field="resultType", tag="vector"):
    result: tuple[_Sample, ...]


class _Scalar(msgspec.Struct, frozen=True, tag_field="resultType", tag="scalar"):
    result: tuple[float, str]


class _Matrix(msgspec.Struct, frozen=True, tag_field="resultType", tag="matrix"):
    pass


class _Text(msgspec.Struct, frozen=True, tag_field="resultType", tag="string"):
    pass


class _Success(msgspec.Struct, frozen=True):
    status: Literal["success"]
    data: _Vector | _Scalar | _Matrix | _Text


class _Fault(msgspec.Struct, frozen=True):
    error: str = ""
    error_type: str = msgspec.field(default="", name="errorType")


class PrometheusClient:
    """`session` is open as long as it is used. Redirects are not followed, so that the token is sent nowhere else."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._authorities = Authorities()

    async def query(
        self, settings: Prometheus, folder: Path, query: str, namespace: str, *, secs: float = ANSWER_SECS
    ) -> tuple[Series, ...] | Skip:
        """`folder` has the token. A scalar is one series without labels."""
        if not settings.url:
            return Skip("SourceNotConfigured", "config.prometheus.url is empty in the values of the operator's chart.")
        url = f"{settings.url.rstrip('/')}/api/v1/query"
        try:
            headers = await asyncio.to_thread(_build_headers, settings, folder)
            async with self._session.get(
                url,
                params={"query": query, "timeout": f"{secs:g}s", "namespace": namespace},
                headers=headers,
                allow_redirects=False,
                ssl=await self._authorities.load(),
                timeout=aiohttp.ClientTimeout(total=secs + 1, sock_connect=CONNECT_SECS),
            ) as response:
                body = bytearray()
                async for data in response.content.iter_any():
                    body += data
                    if len(body) > MAX_BYTES:
                        return Skip("InvalidQuery", f"Prometheus' answer is longer than {MAX_BYTES} bytes.")
                return _read(response.status, bytes(body))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = "there was no answer in time" if isinstance(error, TimeoutError) else _clean(str(error))
            return Skip("SourceUnreachable", f"Prometheus at {settings.url}: {why or type(error).__name__}.")


def _build_headers(settings: Prometheus, folder: Path) -> dict[str, str]:
    """Raises OSError where the token cannot be read."""
    if not settings.secret_name:
        return {}
    with (folder / TOKEN).open("rb") as file:
        token = file.read(MAX_TOKEN_BYTES).decode(errors="replace").strip()
    if not (token and token.isascii() and token.isprintable()):
        raise OSError(f"the entry {TOKEN} of Secret {settings.secret_name} is no token")
    return {hdrs.AUTHORIZATION: f"Bearer {token}"}


def _read(status: int, body: bytes) -> tuple[Series, ...] | Skip:
    if status != 200:
        return _explain(status, body)
    try:
        data = msgspec.json.decode(body, type=_Success).data
        if isinstance(data, _Scalar):
            return (Series({}, float(data.result[1])),)
        if isinstance(data, _Vector) and len(data.result) > MAX_SERIES:
            many = f"The query gives {len(data.result)} series, more than {MAX_SERIES}: aggregate them."
            return Skip("InvalidQuery", many)
        if isinstance(data, _Vector):
            return tuple(Series(each.metric, float(each.value[1])) for each in data.result if each.value is not None)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return Skip(
            "SourceUnreachable", "The answer is not what Prometheus' HTTP API says: is config.prometheus.url right?"
        )
    return Skip(
        "InvalidQuery", "The query must give an instant vector or a scalar, without a range such as [5m] at its end."
    )


def _explain(status: int, body: bytes) -> Skip:
    try:
        fault = msgspec.json.decode(body, type=_Fault)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        fault = _Fault()
    words = f": {_clean(fault.error)}" if fault.error else ""
    reason = "InvalidQuery" if status in INVALID and fault.error_type else "SourceUnreachable"
    cure = " Look at config.prometheus.secretName." if status in {401, 403} else ""
    return Skip(reason, f"Prometheus answers {status}{words}.{cure}")


def _clean(text: str) -> str:
    """External text, made safe for a status."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:MAX_TEXT].strip().rstrip(".")
