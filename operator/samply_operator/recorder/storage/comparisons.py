"""Compares stored profiles with earlier ones, if that is asked for: `spec.comparison` of a SamplyProfile, which each
profile of a SamplyTrigger has.

Level-triggered, as the engine: what is stored and not compared yet is compared, also after a restart. The profiles are
read in a child process, one comparison at a time, in turn with the children that finish recordings.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from samply_operator.discovery.object_table import Key
from samply_operator.discovery.work_queue import WorkQueue
from samply_operator.discovery.world import World
from samply_operator.errors import KubeInvalid, ProfileError, StoreError, UnknownProfile
from samply_operator.model.comparison import KINDS, Change, ComparisonSpec, ComparisonStatus, Kind
from samply_operator.model.manifest import Manifest
from samply_operator.model.profile import SamplyProfile
from samply_operator.profiles.analysis import comparing, naming
from samply_operator.profiles.errors import NotInProfile
from samply_operator.profiles.worker import bounded
from samply_operator.recorder import measures, reports
from samply_operator.recorder.context import Context
from samply_operator.rules.storage import comparison
from samply_operator.rules.storage.comparison import Compared, NotCompared
from samply_operator.store import layout
from samply_operator.store.index import Catalog

logger = logging.getLogger(__name__)

TRIES = 12
"""How often an unavailable store is asked: over about six minutes, with the queue's growing pauses."""
REMEMBERED = 1000


class Comparisons:
    """`queue.run` must be run. `read_stored`: what is stored just now. `find_trigger`: the SamplyTrigger of this name
    as Events want it, if there is one."""

    def __init__(self, context: Context, world: World, read_stored: Callable[[], Awaitable[Catalog]]) -> None:
        self.find_trigger: Callable[[Key], Mapping[str, str] | None] = lambda key: None
        # Not watched by the liveness probe: it waits for recordings that are finished, and for files of any size.
        self.queue: WorkQueue[Key] = WorkQueue(self.compare, name="comparisons", workers=1)
        self._context = context
        self._world = world
        self._read_stored = read_stored
        self._tries: Counter[str] = Counter()
        self._found: dict[str, ComparisonStatus] = {}
        """By id, what is not written yet."""
        self._written: deque[str] = deque(maxlen=REMEMBERED)
        """The watch may show them later."""

    def see(self, profile: SamplyProfile) -> None:
        if comparison.is_due(profile) and profile.uid not in self._written:
            self.queue.put(profile.key)

    async def compare(self, key: Key) -> None:
        """Compare one profile, and say so. Can be repeated. Raises StoreError, errors.Kube* for another try."""
        profile = self._world.profiles.get(key)
        if profile is None or not comparison.is_due(profile) or profile.uid in self._written:
            return
        if profile.uid not in self._found:
            found = await self._find(profile)
            if found is None:
                return
            self._found[profile.uid] = found
            self._tries.pop(profile.uid, None)
        await self._write(profile, self._found[profile.uid])
        self._written.append(profile.uid)
        del self._found[profile.uid]

    async def _find(self, profile: SamplyProfile) -> ComparisonStatus | None:
        """None: it is removed. Raises StoreError."""
        spec, volume = profile.spec.comparison, self._context.volume
        assert spec is not None  # noqa: S101 - it is due
        try:
            own = await asyncio.to_thread(volume.read_manifest, profile.uid)
            if own is None or own.file is None:
                return None
            found = await self._choose(spec, own)
        except StoreError as error:
            self._tries[profile.uid] += 1
            if self._tries[profile.uid] < TRIES:
                raise
            return ComparisonStatus("ComparisonFailed", str(error)[: comparison.MESSAGE_LIMIT])
        return comparison.describe(spec, own, found, self._context.settings.api)

    async def _choose(self, spec: ComparisonSpec, own: Manifest) -> Compared | NotCompared:
        stored = tuple((await self._read_stored()).by_id.values())
        baseline = await asyncio.to_thread(comparison.choose_baseline, spec.baseline, own, stored)
        if isinstance(baseline, NotCompared):
            return baseline
        began = time.monotonic()
        with self._use_folders(own.id) as (before, after):
            found = await self._compare(baseline, own, before, after)
        measures.COMPARISON_SECS.observe(time.monotonic() - began)
        return found

    @contextmanager
    def _use_folders(self, profile_id: str) -> Iterator[tuple[Path, Path]]:
        """Of tmp/, for both profiles."""
        before, after = (self._context.volume.tmp_path(profile_id, f"comparison-{which}") for which in ("a", "b"))
        try:
            yield before, after
        finally:
            for folder in (before, after):
                shutil.rmtree(folder, ignore_errors=True)

    async def _compare(self, baseline: Manifest, own: Manifest, before: Path, after: Path) -> Compared | NotCompared:
        volume = self._context.volume
        try:
            old = await asyncio.to_thread(volume.fetch_profile, baseline, before)
        except UnknownProfile as error:
            return NotCompared("BaselineUnreadable", f"{baseline.name}: {error.message}", baseline)
        try:
            new = await asyncio.to_thread(volume.fetch_profile, own, after)
        except UnknownProfile as error:
            return NotCompared("ComparisonFailed", error.message, baseline)
        limits = bounded.Limits(memory_bytes=self._context.settings.recording.finish_memory_bytes)
        kinds, unmatched = _choose_kinds(baseline, own)
        await asyncio.to_thread(_match_names, old, new)
        async with self._context.bakes:
            try:
                found = await bounded.diff_kinds(old, new, limits, kinds)
            except NotInProfile as error:
                return NotCompared("NotComparable", str(error), baseline)
            except ProfileError as error:
                return await self._explain(error, baseline, old, limits)
        changes = {kind: [*_convert(found[kind].changes)] for kind in KINDS if kind in found}
        first = found["function"]
        notes = dict.fromkeys((*unmatched, *(each for one in found.values() for each in one.notes)))
        return Compared(baseline, first.measure, changes, tuple(notes))

    async def _explain(self, error: ProfileError, baseline: Manifest, old: Path, limits: bounded.Limits) -> NotCompared:
        """Which of both cannot be read."""
        try:
            await bounded.facts(old, limits)
        except ProfileError as fault:
            return NotCompared("BaselineUnreadable", f"{baseline.name} cannot be read: {fault}", baseline)
        return NotCompared("ComparisonFailed", str(error), baseline)

    async def _write(self, profile: SamplyProfile, found: ComparisonStatus) -> None:
        now, name, at = self._context.now(), profile.name, (*profile.key, profile.uid)
        try:
            is_written = await reports.write_status(
                self._context, *at, lambda old: None if old.get("comparison") else comparison.render(old, found, now)
            )
        except KubeInvalid as error:
            logger.error("%s/%s: its comparison cannot be written: %s", *profile.key, error)
            return
        if not is_written:
            return
        measures.COMPARISONS.labels(found.reason).inc()
        if found.reason != comparison.REGRESSED:
            return
        events, text = self._context.events, f"{found.message} {found.url or found.path}"
        await events.publish(reports.refer(*at), "Warning", found.reason, text)
        trigger = self.find_trigger((profile.namespace, profile.trigger)) if profile.trigger else None
        if trigger is not None:
            await events.publish(trigger, "Warning", found.reason, f"{name}: {text}")


def _choose_kinds(baseline: Manifest, own: Manifest) -> tuple[tuple[Kind, ...], tuple[str, ...]]:
    """What is compared, and a note on what is not."""
    if len({baseline.program_build, own.program_build} - {""}) < 2:
        return KINDS, ()
    note = "Operators are not compared: another build of the program may number them differently."
    return tuple(kind for kind in KINDS if kind != "operator"), (note,)


def _match_names(*profiles: Path) -> None:
    """Feldera's names of the operators count for both profiles or for none: otherwise one operator looks like two."""
    names = [path.with_name(layout.OPERATORS_FILE) for path in profiles]
    if not all(path.exists() for path in names):
        for path in names:
            path.unlink(missing_ok=True)


def _convert(changes: Iterable[comparing.Change]) -> Iterator[Change]:
    """Without functions that have no name and are in one profile only: in another build they have other addresses."""
    for each in changes:
        is_in_both = each.total_before_percent > 0 and each.total_after_percent > 0
        if is_in_both or not naming.is_unresolved(each.name):
            yield Change(each.name, each.self_before_percent, each.self_after_percent, each.self_difference)
