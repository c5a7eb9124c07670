"""Holds a Lease per target during its recording, by rules/recording/lease.py: one request each to acquire, renew and
release it.

A running recording is never abandoned because of its Lease: samply runs in the pod and must be ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from samply_operator.errors import KubeConflict, KubeError, KubeNotFound
from samply_operator.kube import objects
from samply_operator.model.manifest import JournalEntry
from samply_operator.recorder.context import Context
from samply_operator.rules.recording import lease
from samply_operator.rules.recording.lease import Decision, Leave, Take

logger = logging.getLogger(__name__)

FORGET_SECS = 3600.0
TRIES = 3
"""Another operator may change it between read and write."""


class Leases:
    """`holder` identifies this installation: another pod of it continues with the same Leases."""

    def __init__(self, context: Context, holder: str) -> None:
        self.holder = holder
        self._context = context
        self._held: dict[str, dict[str, Any]] = {}
        """By the recording's id: as last written."""
        self._seen: dict[str, tuple[str, float]] = {}
        """Leases of others, by path: the version, and since when it is unchanged."""
        self._turn = asyncio.Lock()
        """One renewal or release at a time, so that a released Lease is not created again."""

    async def acquire(self, entry: JournalEntry) -> Decision:
        """Acquire it, or return who holds it. Raises KubeError if that is unknown."""
        for _ in range(TRIES):
            try:
                return await self._create(entry)
            except KubeConflict:
                pass
            try:
                return await self._take_over(entry)
            except (KubeConflict, KubeNotFound):
                continue
        raise KubeConflict(f"Lease {entry.lease} in {entry.namespace} changes all the time.")

    async def _create(self, entry: JournalEntry) -> Decision:
        body = self._render(entry)
        self._held[entry.id] = await self._context.client.create(objects.leases(entry.namespace), body)
        return Take()

    async def _take_over(self, entry: JournalEntry) -> Decision:
        path = objects.leases(entry.namespace, entry.lease)
        found, decision = await self._judge(path, entry.lease, entry.id)
        if not isinstance(decision, Take):
            return decision
        self._seen.pop(path, None)
        if found.holder != self.holder:
            logger.warning("%s: taken over from %s, which is gone", path, found.holder or "nobody")
        self._held[entry.id] = await self._context.client.replace(path, self._render(entry, version=found.version))
        return decision

    async def _judge(self, path: str, name: str, profile_id: str) -> tuple[lease.Lease, Decision]:
        """The current Lease, and who holds the target according to it. Raises KubeNotFound: nobody."""
        found = lease.parse(await self._context.client.get(path))
        uptime = self._context.uptime()
        # If unchanged for so long it would have been taken over: nobody else wants it.
        self._seen = {at: seen for at, seen in self._seen.items() if uptime - seen[1] < FORGET_SECS}
        version, since = self._seen.get(path, ("", uptime))
        if version != found.version:
            since = uptime
        decision = lease.decide(
            found,
            name=name,
            holder=self.holder,
            profile_id=profile_id,
            unchanged_secs=uptime - since,
            now=self._context.now(),
        )
        self._seen[path] = (found.version, since)
        return found, decision

    async def is_of_another(self, namespace: str, name: str, profile_id: str) -> bool:
        """True if another operator holds this Lease for this very object. Raises KubeError if that is unknown."""
        try:
            _, decision = await self._judge(objects.leases(namespace, name), name, profile_id)
        except KubeNotFound:
            return False
        return isinstance(decision, Leave)

    async def renew(self, entries: Iterable[JournalEntry], is_live: Callable[[str], bool]) -> None:
        """Say that we are alive, for each recording that runs (`is_live` of its id: it hasn't ended meanwhile).
        Trouble is logged: the next time is soon."""
        for entry in entries:
            async with self._turn:
                if not is_live(entry.id):
                    continue
                try:
                    await self._renew(entry, is_live)
                except KubeError as error:
                    logger.warning("Lease %s is not renewed: %s", entry.lease, error)

    async def _renew(self, entry: JournalEntry, is_live: Callable[[str], bool]) -> None:
        held = self._held.get(entry.id)
        if held is not None:
            meta, spec = held.get("metadata") or {}, held.get("spec") or {}
            body = self._render(
                entry, version=meta.get("resourceVersion") or "", acquired_at=spec.get("acquireTime") or ""
            )
            try:
                self._held[entry.id] = await self._context.client.replace(
                    objects.leases(entry.namespace, entry.lease), body
                )
            except (KubeConflict, KubeNotFound):
                self._held.pop(entry.id, None)
            else:
                return
            if not is_live(entry.id):
                return  # taken over by the next recording of its target
        decision = await self.acquire(entry)
        if not isinstance(decision, Take):
            logger.error("Lease %s: %s records the same target as we do", entry.lease, decision.holder)

    async def release(self, entry: JournalEntry) -> None:
        """Release it after the recording. If that fails, it expires."""
        async with self._turn:
            await self._release(entry)

    async def _release(self, entry: JournalEntry) -> None:
        held = self._held.pop(entry.id, None)
        try:
            if held is not None:
                with contextlib.suppress(KubeConflict):
                    await self._delete(entry, held)
                    return
            # It was never seen, or is another version: by a renewal whose answer was lost, or since it was taken over.
            found = await self._context.client.get(objects.leases(entry.namespace, entry.lease))
            now = lease.parse(found)
            if (now.holder, now.profile_id) == (self.holder, entry.id):
                await self._delete(entry, found)
        except (KubeNotFound, KubeConflict):
            pass
        except KubeError as error:
            logger.warning("Lease %s is not released: %s", entry.lease, error)

    async def _delete(self, entry: JournalEntry, held: Mapping[str, Any]) -> None:
        """At this version: one that was taken over for another recording meanwhile is that one's."""
        path, meta = objects.leases(entry.namespace, entry.lease), held["metadata"]
        await self._context.client.delete(path, uid=meta["uid"], resource_version=meta["resourceVersion"])

    def _render(self, entry: JournalEntry, *, version: str = "", acquired_at: str = "") -> dict[str, Any]:
        now = self._context.now()
        duration_secs = lease.compute_duration(entry, self._context.settings.recording, now)
        return lease.render(entry, self.holder, duration_secs, now, version=version, acquired_at=acquired_at)
