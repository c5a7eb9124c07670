"""Plain requests and exec, as raw JSON: no typed models (their import alone takes 27 MiB).

    async with KubeClient() as client:
        await client.get(path) -> dict                      paths are built by kube/objects.py
        await client.list_items(path, field_selector="…") -> ItemList(items, resource_version)
        await client.list_objects(path, parse, label_selector="…") -> ObjectList(items, faults, resource_version)
        async for event in client.watch(path, version="…", …): event.type, event.object
        await client.create(path, body) / replace(path, body) -> dict
        await client.patch(path, body, kind="merge") -> dict     kind: json | merge | strategic | apply
        await client.delete(path, uid="…", propagation="Background")
        async with client.exec(namespace, pod, container, command, deadline_secs=…) as session: …  (kube/exec.py)
        await client.run(namespace, pod, container, command, deadline_secs=…) -> ExecResult

All raise errors.Kube*; each has a time-out. A status is written by its path (`subresource="status"`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

import msgspec

from samply_operator.errors import KubeForbidden, KubeUnavailable
from samply_operator.kube import channels, objects
from samply_operator.kube import exec as exec_
from samply_operator.kube.connection import CONNECT_SECS, Connection, Load, WebSocket, load_configuration
from samply_operator.kube.limits import ExecLimits
from samply_operator.ndjson import split_lines

PatchKind = Literal["json", "merge", "strategic", "apply"]
Propagation = Literal["Background", "Foreground", "Orphan"]
Json = dict[str, Any]

REQUEST_SECS = 30.0
PAGE_SIZE = 500
PIECE = 50
"""Objects parsed in one go, without yielding to the event loop."""
MAX_OUTPUT = 1024 * 1024
CONTENT_TYPES: dict[PatchKind, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",  # JSON is YAML
}


@dataclass(frozen=True, slots=True)
class ItemList:
    """A complete list of all pages."""

    items: tuple[Json, ...]
    resource_version: str


Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ObjectList(Generic[Item]):
    """A complete list, parsed; `faults` lists what could not be read, and why."""

    items: list[Item]
    faults: list[str]
    resource_version: str


class WatchEvent(msgspec.Struct, frozen=True):
    """`type` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR; for ERROR the object is a Status."""

    type: str
    object: msgspec.Raw


class _ListMeta(msgspec.Struct, frozen=True):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    next_page: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, frozen=True):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


_pages = msgspec.json.Decoder(_Page)
_events = msgspec.json.Decoder(WatchEvent)


class KubeClient:
    """The only client of the API server in the process; an async context manager."""

    def __init__(
        self,
        load: Load = load_configuration,
        *,
        limits: ExecLimits | None = None,
        protocols: tuple[str, ...] = channels.PROTOCOLS,
    ) -> None:
        self._connection = Connection(load)
        self._limits = limits or ExecLimits()
        self._protocols = protocols

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.__aexit__(kind, error, trace)

    async def get(self, path: str, *, timeout_secs: float = REQUEST_SECS) -> Json:
        return _decode(await self._connection.request("GET", path, timeout_secs=timeout_secs))

    async def list_items(
        self,
        path: str,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = PAGE_SIZE,
        timeout_secs: float = REQUEST_SECS,
    ) -> ItemList:
        """All pages, or an error: never a part. Each page has its own timeout."""
        params = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": str(page_size)}
        items: list[Json] = []
        while True:
            given = {key: value for key, value in params.items() if value}
            page = _decode(await self._connection.request("GET", path, params=given, timeout_secs=timeout_secs))
            items += page.get("items") or ()
            meta = page.get("metadata") or {}
            params["continue"] = meta.get("continue") or ""
            if not params["continue"]:
                return ItemList(tuple(items), str(meta.get("resourceVersion", "")))

    async def list_objects(
        self,
        path: str,
        parse: Callable[[msgspec.Raw], Item],
        *,
        label_selector: str = "",
        timeout_secs: float = REQUEST_SECS,
    ) -> ObjectList[Item]:
        """All pages, or an error: never a part. Each object is parsed as it arrives; an unreadable one does not affect
        the others. The event loop is never blocked for long. While a page is parsed, the next one is on its way."""
        params = {"labelSelector": label_selector, "limit": str(PAGE_SIZE)}
        given = {key: value for key, value in params.items() if value}
        found: ObjectList[Item] = ObjectList([], [], "")

        async def load(part: str) -> _Page:
            asked = given | ({"continue": part} if part else {})
            return _decode_as(
                await self._connection.request("GET", path, params=asked, timeout_secs=timeout_secs), _pages
            )

        page = await load("")
        while page.metadata.next_page:
            following = asyncio.create_task(load(page.metadata.next_page), name=f"next page of {path}")
            try:
                await _parse_items(page, parse, found)
                page = await following
            finally:
                following.cancel()
        await _parse_items(page, parse, found)
        return ObjectList(found.items, found.faults, page.metadata.resource_version)

    async def watch(
        self, path: str, *, version: str, label_selector: str = "", secs: float
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after `version`, for about `secs`. Raises errors.Kube*, also if the connection breaks."""
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, int(secs))),
            "labelSelector": label_selector,
        }
        given = {key: value for key, value in params.items() if value}
        async with self._connection.stream(path, params=given, silence_secs=secs + REQUEST_SECS) as body:
            async for line in split_lines(body):
                yield _decode_as(line, _events)

    async def create(
        self, path: str, body: Mapping[str, Any], *, is_strict: bool = False, timeout_secs: float = REQUEST_SECS
    ) -> Json:
        """`is_strict`: a field that the API server does not know is KubeInvalid, instead of being dropped."""
        raw, params = msgspec.json.encode(body), {"fieldValidation": "Strict"} if is_strict else {}
        return _decode(await self._connection.request("POST", path, params=params, body=raw, timeout_secs=timeout_secs))

    async def replace(self, path: str, body: Mapping[str, Any], *, timeout_secs: float = REQUEST_SECS) -> Json:
        """PUT: with `metadata.resourceVersion` in the body, KubeConflict if the object was changed."""
        raw = msgspec.json.encode(body)
        return _decode(await self._connection.request("PUT", path, body=raw, timeout_secs=timeout_secs))

    async def patch(
        self,
        path: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        kind: PatchKind = "merge",
        field_manager: str = "",
        force: bool = False,
        timeout_secs: float = REQUEST_SECS,
    ) -> Json:
        """A JSON patch whose `test` fails is KubeInvalid (422). `apply` needs a field manager."""
        params = {"fieldManager": field_manager, "force": "true" if force else ""}
        answer = await self._connection.request(
            "PATCH",
            path,
            params={key: value for key, value in params.items() if value},
            body=msgspec.json.encode(body),
            content_type=CONTENT_TYPES[kind],
            timeout_secs=timeout_secs,
        )
        return _decode(answer)

    async def delete(
        self,
        path: str,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Propagation | None = None,
        timeout_secs: float = REQUEST_SECS,
    ) -> None:
        """With `uid`: only that object, else KubeConflict. KubeNotFound if it does not exist."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if given := {key: value for key, value in preconditions.items() if value}:
            options["preconditions"] = given
        if propagation:
            options["propagationPolicy"] = propagation
        await self._connection.request("DELETE", path, body=msgspec.json.encode(options), timeout_secs=timeout_secs)

    @asynccontextmanager
    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        deadline_secs: float,
        stdin: bool = False,
        node: str = "",
        attached: bool = False,
        is_bulk: bool = False,
        connect_secs: float = CONNECT_SECS,
    ) -> AsyncIterator[exec_.ExecSession]:
        """Run `command` in a container. `attached`: as long as a recording, so not counted among the short ones.
        `is_bulk`: much stdout and no half-close of stdin, so the faster protocol where the server has it.

        Keep the command below 8 KiB: it travels in the URL. Raises KubeNotFound, KubeForbidden, KubeInvalid at once
        where the API server knows; else the session's end tells.
        """
        async with AsyncExitStack() as stack:
            if not attached:
                await stack.enter_async_context(self._limits.slot(namespace, pod, node))
            socket = await self._open_exec(
                objects.pods(namespace, pod, "exec"),
                _build_exec_params(container, command, stdin=stdin),
                is_bulk=is_bulk,
                timeout_secs=connect_secs,
            )
            session = await stack.enter_async_context(exec_.ExecSession(socket, deadline_secs=deadline_secs))
            if session.protocol not in self._protocols:
                raise KubeUnavailable(f"The API server chose the exec protocol {session.protocol or 'none'!r}.")
            yield session

    async def _open_exec(
        self, path: str, params: tuple[tuple[str, str], ...], *, is_bulk: bool, timeout_secs: float
    ) -> WebSocket:
        """For `is_bulk`, only v4 is offered: a server that is also offered v5 chooses that and translates each frame,
        while it forwards those of v4 directly. One without v4 answers 403 without a Status."""
        connect = partial(self._connection.open_websocket, path, params=params, timeout_secs=timeout_secs)
        if is_bulk and channels.V4 in self._protocols:
            try:
                return await connect((channels.V4,))
            except KubeForbidden as error:
                if error.details["reason"]:
                    raise
        return await connect(self._protocols)

    async def run(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        deadline_secs: float,
        stdin: bytes | None = None,
        max_output: int = MAX_OUTPUT,
        node: str = "",
    ) -> exec_.ExecResult:
        """Run a short command. Raises ExecFailed (transient) if there is no exit code."""
        async with self.exec(
            namespace, pod, container, command, deadline_secs=deadline_secs, stdin=stdin is not None, node=node
        ) as session:
            return await exec_.collect(session, stdin=stdin, max_output=max_output)


def _decode(body: bytes) -> Json:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise KubeUnavailable(f"The API server's answer is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise KubeUnavailable("The API server's answer is not an object.")
    return value


def _decode_as(body: bytes, decoder: msgspec.json.Decoder[Item]) -> Item:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise KubeUnavailable(f"The API server's answer cannot be read: {error}.") from error


async def _parse_items(page: _Page, parse: Callable[[msgspec.Raw], Item], found: ObjectList[Item]) -> None:
    for number, raw in enumerate(page.items or ()):
        try:
            found.items.append(parse(raw))
        except msgspec.ValidationError as error:
            found.faults.append(f"{_find_name(raw)}: {error}")
        if number % PIECE == PIECE - 1:
            await asyncio.sleep(0)


def _find_name(raw: msgspec.Raw) -> str:
    try:
        return objects.parse_name(raw)
    except msgspec.ValidationError:
        return "an object without a name"


def _build_exec_params(container: str, command: Sequence[str], *, stdin: bool) -> tuple[tuple[str, str], ...]:
    return (
        ("container", container),
        *(("command", word) for word in command),
        ("stdin", "true" if stdin else "false"),
        ("stdout", "true"),
        ("stderr", "true"),
        ("tty", "false"),
    )
