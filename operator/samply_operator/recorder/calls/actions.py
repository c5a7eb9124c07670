"""Actions over the socket on an existing profile: stop its recording and keep the profile, remove it, or pin it.

They annotate or delete the object, with the same effects as from kubectl. An orphan has no object: only its file is
removed.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from samply_operator.discovery.world import Key
from samply_operator.errors import (
    CorruptManifest,
    KubeConflict,
    KubeForbidden,
    KubeNotFound,
    NotRecording,
    OperatorUnavailable,
    UnknownProfile,
)
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.profile import SamplyProfile, parse_object
from samply_operator.recorder.engine import Engine
from samply_operator.store import layout


class Acts:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def stop(self, profile_id: str) -> None:
        """End sampling now and keep the samples. Raises NotRecording, UnknownProfile, KubeError."""
        profile, run = self._find_object(profile_id), self._engine.runs.get(profile_id)
        if profile is None and run is None and not await self._is_stored(profile_id):
            raise self.build_unknown(profile_id)
        if profile is None or profile.has_ended or run is None or run.entry.outcome:
            raise _build_not_recording(profile_id, (profile.phase or "Pending") if profile else "Ended")
        body = {"metadata": {"uid": profile_id, "annotations": {names.STOP: "keep"}}}
        try:
            await self._engine.context.client.patch(objects.samply_profiles(*profile.key), body)
        except (KubeNotFound, KubeConflict) as error:
            raise _build_not_recording(profile_id, "Ended") from error
        run.stop("keep")

    async def pin(self, profile_id: str, note: str | None) -> None:
        """Pin it, with `note` as the reason in its object; None: unpin it. Raises UnknownProfile, KubeError."""
        profile = self._find_object(profile_id)
        if profile is None:
            raise self.build_unknown(profile_id)
        body = {"metadata": {"uid": profile_id, "annotations": {names.PIN: note}}}
        try:
            raw = await self._engine.context.client.patch(objects.samply_profiles(*profile.key), body)
        except (KubeNotFound, KubeConflict) as error:
            raise self.build_unknown(profile_id) from error
        self._engine.world.see_profile(parse_object(raw))

    async def delete(self, profile_id: str) -> Literal["Cancelling", "Removed"]:
        """Delete the object, cancel what runs, remove what is stored. Raises UnknownProfile, KubeError, StoreError."""
        is_object_gone = await self._delete_object(profile_id)
        run = self._engine.runs.get(profile_id)
        if run is not None:
            run.stop("discard")
            return "Cancelling"
        is_removed = layout.is_id(profile_id) and await self._engine.deletions.remove(profile_id)
        if not is_object_gone and not is_removed:
            raise self.build_unknown(profile_id)
        return "Removed"

    async def _delete_object(self, profile_id: str) -> bool:
        """True if it was there. A successor of the same name stays."""
        known = self._find_object(profile_id)
        key = known.key if known else await self._read_key(profile_id)
        if key is None:
            return False
        try:
            await self._engine.context.client.delete(objects.samply_profiles(*key), uid=profile_id)
        except (KubeNotFound, KubeConflict):
            self._engine.world.forget(key, profile_id)
            return False
        except KubeForbidden:
            if known is not None:
                raise
            return False  # an orphan of a namespace that is no longer watched: nothing there belongs to this operator
        # The watch may report it late, and until then show an object that is still queued.
        self._engine.world.forget(key, profile_id)
        return True

    async def _read_key(self, profile_id: str) -> Key | None:
        """The namespace of its object, if that is not watched."""
        if not layout.is_id(profile_id):
            return None
        try:
            manifest = await asyncio.to_thread(self._engine.context.volume.read_manifest, profile_id)
        except CorruptManifest:
            return None
        return (manifest.namespace, manifest.name) if manifest else None

    def _find_object(self, profile_id: str) -> SamplyProfile | None:
        return self._engine.world.find_profile(profile_id)

    async def _is_stored(self, profile_id: str) -> bool:
        return layout.is_id(profile_id) and await asyncio.to_thread(self._engine.context.volume.has, profile_id)

    async def find_namespace(self, profile_id: str) -> str | None:
        """Its current or former place; None: unknown."""
        profile, run = self._find_object(profile_id), self._engine.runs.get(profile_id)
        if profile is not None:
            return profile.namespace
        if run is not None:
            return run.entry.namespace
        key = await self._read_key(profile_id)
        return key[0] if key else None

    async def find_pipeline_id(self, profile_id: str) -> str:
        """Feldera's id of the pipeline that it is, or was, of; empty: it has none, or nothing is known of it."""
        profile, run = self._find_object(profile_id), self._engine.runs.get(profile_id)
        if run is not None:
            return run.entry.pipeline_id
        if profile is not None and not profile.has_ended:
            world = self._engine.world
            pipeline = world.pipelines.get((profile.namespace, world.resolve(profile).spec.pipeline))
            return pipeline.ids[0] if pipeline is not None and len(pipeline.ids) == 1 else ""
        if not layout.is_id(profile_id):
            return ""
        manifest = await asyncio.to_thread(self._engine.context.volume.read_manifest, profile_id)
        return manifest.pipeline_id if manifest else ""

    def build_unknown(self, profile_id: str) -> UnknownProfile | OperatorUnavailable:
        if not self._engine.world.is_synced:
            return OperatorUnavailable("The operator has only begun: it doesn't know all profiles yet.")
        return UnknownProfile(f"Unknown profile '{profile_id[:64]}'", details={"profile": profile_id[:64]})


def _build_not_recording(profile_id: str, state: str) -> NotRecording:
    waits = state == "Pending"
    return NotRecording(
        f"Profile '{profile_id}' {'has not begun to record' if waits else 'is not recorded any more'}.",
        remedy="DELETE cancels it." if waits else "",
        details={"profile": profile_id, "state": state},
    )
