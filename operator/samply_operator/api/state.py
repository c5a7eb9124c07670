"""What the api knows right now: the operator's snapshot and the index of the volume, joined into one frozen `View`.

A snapshot counts only once the volume was read for its generation, so that a recording never vanishes from one before
it appears in the other. The view is replaced, never changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType

from aiohttp import web

from samply_operator.api.server.measures import FAULTS
from samply_operator.control.live import Live
from samply_operator.control.messages import OrdinalState, PipelineState, RecordingState
from samply_operator.errors import CorruptManifest, StoreError
from samply_operator.model.manifest import Manifest
from samply_operator.rules.serving import serve
from samply_operator.store.index import Catalog, Index
from samply_operator.store.store import StoreReader

logger = logging.getLogger(__name__)

RESCAN_SECS = 60.0
"""The volume is listed this often even if the operator says nothing."""
RELIST_SECS = 5.0
"""So often where only an earlier list of the bucket is known."""
RETRY_SECS = 1.0
"""Pause after a volume that couldn't be read."""
STALL_SECS = 30.0
"""A read that takes longer is logged, and the service is unready until it ends: a network file system may hang."""
LOOK_SECS = 2.0
"""How long a request waits for the volume to be read for it."""

MAX_KEPT = 10_000
"""Answers to look-ups that a view keeps."""

Key = tuple[str, str]
"""(namespace, pipeline)"""


@dataclass(frozen=True, slots=True)
class View:
    """One consistent picture. `live` None: the operator is away."""

    catalog: Catalog = field(default_factory=Catalog)
    live: Live | None = None
    is_ready: bool = False
    """The volume can be read, and was."""
    unread: Mapping[str, RecordingState] = field(default_factory=dict)
    """By id, recordings that may have been stored since the volume was read: it is being read again."""
    is_listed: bool = True
    """False: the catalog is from an earlier list of the bucket, and another pod may have stored more."""
    _facts: dict[tuple[str, str, int], serve.ServingState] = field(default_factory=dict, repr=False, compare=False)
    """Gathered once per view: pollers ask for the same again and again."""
    _namespaces: dict[str, frozenset[str]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_certain(self) -> bool:
        return self.live is not None and self.live.is_synced

    @property
    def may_lack_profiles(self) -> bool:
        """Whether an unknown profile may be stored all the same. That the operator is away is another answer."""
        return self.is_certain and not self.is_listed

    def find_namespaces(self, pipeline: str) -> frozenset[str]:
        """Namespaces that hold the name, in the cluster or on the volume."""
        found = self._namespaces.get(pipeline)
        if found is None:
            live = self.live.find_namespaces(pipeline) if self.live else frozenset[str]()
            found = live | self.catalog.find_namespaces(pipeline)
            if found and len(self._namespaces) < MAX_KEPT:
                self._namespaces[pipeline] = found
        return found

    def find_name(self, pipeline_id: str) -> str | None:
        """What the pipeline of Feldera's id is called; None: it is not known."""
        live = self.live.pipelines if self.live else {}
        found = (pipeline.name for pipeline in live.values() if pipeline_id in pipeline.pipeline_ids)
        stored = (m.pipeline for m in self.catalog.by_id.values() if m.pipeline_id == pipeline_id)
        return next(found, None) or next(stored, None)

    def list_namespaces(self) -> frozenset[str]:
        """Namespaces of all pipelines."""
        return frozenset(namespace for namespace, _ in self.list_keys())

    def count_most_namespaces(self) -> int:
        """Namespaces of the name that most of them hold; 1 where there is no name at all."""
        names = self.catalog.namespaces.keys() | (self.live.list_names() if self.live else set())
        return max((len(self.find_namespaces(name)) for name in names), default=1)

    def find_pipeline(self, namespace: str, pipeline: str) -> PipelineState | None:
        return self.live.pipelines.get((namespace, pipeline)) if self.live else None

    def find_recording(self, profile_id: str) -> RecordingState | None:
        return self.live.by_id.get(profile_id) if self.live else None

    def list_keys(self) -> frozenset[Key]:
        """All pipelines, in the cluster or on the volume."""
        return frozenset(self.catalog.by_pipeline) | (self.live.pipelines.keys() if self.live else set())

    def gather(self, namespace: str, pipeline: str, ordinal: int) -> serve.ServingState:
        """The facts that `rules.serve` decides from."""
        key = namespace, pipeline, ordinal
        facts = self._facts.get(key)
        if facts is None:
            facts = self._gather(*key)
            if len(self._facts) < MAX_KEPT:
                self._facts[key] = facts
        return facts

    def _gather(self, namespace: str, pipeline: str, ordinal: int) -> serve.ServingState:
        state = self.find_pipeline(namespace, pipeline)
        ordinals = state.ordinals if state else ()
        recording = self.live.recordings.get((namespace, pipeline, ordinal)) if self.live else None
        return serve.ServingState(
            ordinal=ordinal,
            is_certain=self.is_certain,
            is_known=state is not None,
            ordinals=tuple(o.ordinal for o in ordinals),
            is_running=_is_running(ordinals, ordinal),
            running=_build_running(recording) if recording else None,
            last_good=self.catalog.find_last_good(namespace, pipeline, ordinal),
            last_attempt=self.catalog.find_last_attempt(namespace, pipeline, ordinal),
            stored_ordinals=self.catalog.list_ordinals(namespace, pipeline),
        )

    def list_recordings(self, namespace: str, pipeline: str) -> tuple[RecordingState, ...]:
        """Those of one pipeline that haven't ended, newest first; what is stored already is left out."""
        found = self.live.list_recordings(namespace, pipeline) if self.live else []
        unstored = [r for r in found if self.catalog.get(r.id) is None]
        return tuple(sorted(unstored, key=lambda r: (r.requested_at, r.id), reverse=True))

    def find_queue_position(self, recording: RecordingState) -> int | None:
        """Its place among all that wait for their turn, oldest first, those of triggers last; None: it doesn't wait."""
        if recording.phase != "Pending" or self.live is None:
            return None
        waiting = [_find_age(r) for r in self.live.by_id.values() if r.phase == "Pending"]
        return 1 + sorted(waiting).index(_find_age(recording))

    def get(self, profile_id: str) -> Manifest | None:
        return self.catalog.get(profile_id)

    def is_pinned(self, profile_id: str) -> bool | None:
        """Whether retention keeps it; None: the operator is away or does not know yet."""
        return profile_id in self.live.pinned if self.live and self.live.is_synced else None

    def without(self, ids: Collection[str]) -> View:
        """The same, as if these profiles had never been stored."""
        return replace(self, catalog=self.catalog.without(ids), _facts={}, _namespaces={}) if ids else self


def _is_running(ordinals: Collection[OrdinalState], ordinal: int) -> bool:
    return any(o.ordinal == ordinal and o.is_running for o in ordinals)


def _build_running(recording: RecordingState) -> serve.Running:
    return serve.Running(
        id=recording.id,
        phase=recording.phase,
        requested_at=recording.requested_at,
        ends_at=recording.ends_at,
        duration_secs=recording.duration_secs,
    )


class ServiceState:
    """Keeps `view` up to date while its `async with` lasts. `take` is the operator client's `on_change`."""

    def __init__(self, volume: StoreReader) -> None:
        self.view = View()
        self.is_closing = False
        """The process was asked to end: no longer ready."""
        self._volume = volume
        self._index = Index()
        self._live: Live | None = None
        self._is_listed = True
        self._read_generation: int | None = None
        self._unread: Mapping[str, RecordingState] = {}
        self._losses = 0
        self._begun = 0
        """Readings of the volume; `_done` counts those that ended."""
        self._done = 0
        self._wanted = asyncio.Event()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ServiceState:
        self._wanted.set()
        self._task = asyncio.create_task(self._read_forever(), name="read the volume")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    def take(self, live: Live | None) -> None:
        """A new snapshot, or None: the operator went (its generations start anew when it is back)."""
        self._live = live
        if live is not None:
            self._index.rename(live.names)
        if live is None:
            self._read_generation = None
            self._losses += 1
            self._show(None)
        else:
            self._show_if_read(live)

    def _is_read(self, live: Live) -> bool:
        """Whether the volume was read since anything of this snapshot could have been stored: its generation was,
        and no recording vanished from what is shown."""
        shown = self.view.live.by_id.keys() if self.view.live else set()
        return live.store_generation == self._read_generation and shown <= live.by_id.keys()

    async def look_again(self) -> None:
        """What the index says isn't so: read the volume now. Returns when it was read, LOOK_SECS later at most."""
        wanted = self._begun + 1
        self._wanted.set()
        await self.wait_for(lambda _: self._done >= wanted, LOOK_SECS)

    async def wait_for(self, is_met: Callable[[View], bool], timeout_secs: float) -> bool:
        """Wait until the view meets a condition. False: it didn't in time."""
        try:
            async with asyncio.timeout(timeout_secs):
                while not is_met(self.view):
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _show(self, live: Live | None) -> None:
        self.view = self._build(live, is_ready=self.view.is_ready)
        self._wake()

    def _build(self, live: Live | None, *, is_ready: bool) -> View:
        return View(self._index.catalog, live, is_ready=is_ready, unread=self._unread, is_listed=self._is_listed)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _read_forever(self) -> None:
        while True:
            pause_secs = RESCAN_SECS if self._is_listed else RELIST_SECS
            try:
                async with asyncio.timeout(pause_secs):
                    await self._wanted.wait()
            except TimeoutError:
                logger.debug("nothing was said for %s s: the volume is read again", pause_secs)
            self._wanted.clear()
            if not await self._try():
                self._wanted.set()
                await asyncio.sleep(RETRY_SECS)

    async def _try(self) -> bool:
        """Read; after any error this continues and the service is unready meanwhile."""
        self._begun += 1
        try:
            is_read = await self._read()
        except Exception:
            logger.exception("the volume can't be read")
            is_read = False
        self._done = self._begun
        if not is_read:
            self.view = View(self._index.catalog, None, is_ready=False)
        self._wake()
        return is_read

    async def _read(self) -> bool:
        """Read the volume for the snapshot at hand, then show both. False: the volume can't be read."""
        live, losses = self._live, self._losses
        try:
            faults = await self._refresh()
        except StoreError as error:
            logger.error("the volume cannot be read: %s", error)
            return False
        for fault in faults:
            logger.error("%s", fault)
        self._is_listed = self._volume.is_listed
        self.view = self._build(self.view.live, is_ready=True)
        if live is None or losses != self._losses:
            self._show_newest()
        else:
            self._read_generation = live.store_generation
            self._show(live)
            self._show_newest()
        return True

    async def _refresh(self) -> Collection[CorruptManifest]:
        """In a thread, of which there is never a second one. Raises StoreError."""
        reading = asyncio.ensure_future(asyncio.to_thread(self._index.refresh, self._volume))
        await asyncio.wait([reading], timeout=STALL_SECS)
        if not reading.done():
            logger.error("the volume is being read for more than %g s", STALL_SECS)
            self.view = self._build(self.view.live, is_ready=False)
        faults = await reading
        FAULTS.set(self._index.fault_count)
        return faults

    def _show_newest(self) -> None:
        if self._live is None:
            self._show(None)
        else:
            self._show_if_read(self._live)

    def _show_if_read(self, live: Live) -> None:
        """If the volume was read for its generation; else read again."""
        if self._is_read(live):
            self._unread = {}
            self._show(live)
        else:
            shown = self.view.live.by_id if self.view.live else {}
            self._unread = {**self._unread, **shown, **live.by_id}
            self.view = replace(self.view, unread=self._unread)
            self._wanted.set()
            self._wake()


def _find_age(recording: RecordingState) -> tuple[bool, str, str]:
    return recording.is_triggered, recording.requested_at, recording.id


STATE = web.AppKey("state", ServiceState)
