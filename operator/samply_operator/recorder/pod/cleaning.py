"""Cleaning after a recording: removes everything of it from the pod."""

from __future__ import annotations

import logging
from enum import Enum

import msgspec

from samply_operator.errors import KubeError, KubeForbidden, KubeNotFound, RecordingFailed
from samply_operator.kube import objects
from samply_operator.model.manifest import JournalEntry
from samply_operator.recorder import reports
from samply_operator.recorder.context import Context
from samply_operator.recorder.journal import Journal
from samply_operator.recorder.pod import ephemeral, script_calls
from samply_operator.recorder.pod.target_pod import TargetPod, find_helper_state
from samply_operator.rules import times
from samply_operator.rules.recording import pod_limits

logger = logging.getLogger(__name__)


HAS_COME = frozenset({"running", "terminated"})
LATE_SECS = 3600.0
"""How long a late ephemeral container is still waited for and ended; after that it ends by its own timer."""


class Left(Enum):
    """The remains in the pod."""

    NOTHING = "nothing"
    FILES = "files"
    """Nothing runs there; files are to be removed later."""
    UNKNOWN = "unknown"
    """The pod was unreachable: samply may still run."""


async def clean(context: Context, entry: JournalEntry) -> Left:
    """Once; what is left is to be tried again."""
    if entry.clean_after and context.now() < times.parse_time(entry.clean_after):
        return Left.FILES
    if not entry.folder and not entry.helper:
        return Left.NOTHING
    # A container beside it may be gone, and the target be there.
    target = TargetPod(context, Journal(context.volume, msgspec.structs.replace(entry, helper="")))
    try:
        await target.check()
        return await _clean(context, entry)
    except RecordingFailed as error:
        # The container is gone, and with it whatever was in it; not so what its successor has of the recording.
        if error.reason != "ContainerRestarted" or await _clean_successor(context, entry):
            return Left.NOTHING
        return Left.FILES
    except KubeError as error:
        logger.info("%s/%s: %s isn't cleaned yet: %s", entry.namespace, entry.name, entry.pod, error)
        return Left.UNKNOWN


async def _clean_successor(context: Context, entry: JournalEntry) -> bool:
    """Once the container runs again, in a pod that is known to be there: what lay in a volume is in it, and a launch
    may have hit it in the instant of the restart. True: nothing of the recording is there."""
    if not entry.folder or entry.helper:
        return True
    try:
        raw = await context.client.get(objects.pods(entry.namespace, entry.pod))
        pod = objects.parse_pod(raw)
        container = pod.find_container(entry.container)
        is_running = container is not None and container.is_running
        has_ended = pod.phase in {"Succeeded", "Failed"}
        is_kept = not has_ended and pod_limits.is_in_volume(raw, entry.container, entry.folder)
        if pod.uid == entry.pod_uid and (is_running or is_kept):
            await script_calls.clean(context.client, entry)
    except KubeError as error:
        logger.info("%s/%s: %s isn't cleaned yet: %s", entry.namespace, entry.name, entry.pod, error)
        return False
    return True


async def _clean(context: Context, entry: JournalEntry) -> Left:
    if entry.folder:
        try:
            await script_calls.clean(context.client, entry)
        except KubeNotFound:
            if not entry.helper:
                raise
            # It was removed completely; if that happened during the attach, nothing there can continue the target.
            await _wake(context, entry)
    return await _release(context, entry) if entry.helper else Left.NOTHING


async def _release(context: Context, entry: JournalEntry) -> Left:
    """End the ephemeral container. If its image arrives late, it ends as soon as it runs: until then this is
    repeated."""
    try:
        await script_calls.release(context.client, entry)
    except KubeNotFound:
        raw = await context.client.get(objects.pods(entry.namespace, entry.pod))
        is_to_come = (
            entry.helper in ephemeral.list_names(raw) and not HAS_COME & find_helper_state(raw, entry.helper).keys()
        )
        if is_to_come and context.now() - times.parse_time(entry.admitted_at) < LATE_SECS:
            return Left.FILES
    return Left.NOTHING


async def _wake(context: Context, entry: JournalEntry) -> None:
    try:
        await script_calls.wake(context.client, entry)
    except script_calls.NoShellError:
        if entry.started_at:
            return  # samply stops the target only before it records
        try:
            has_run = await ephemeral.wake(TargetPod(context, Journal(context.volume, entry)))
        except (RecordingFailed, KubeForbidden) as error:
            logger.error("%s/%s: %s: %s", entry.namespace, entry.name, entry.pod, error)
            has_run = False
        if not has_run:
            message = (
                f"The ephemeral container {entry.helper} of {entry.pod} ended while samply began: process {entry.pid} "
                "may be left stopped (state T). If it is, continue it: kill -CONT on its node, or restart the pod."
            )
            await reports.publish(context, entry, "Warning", "TargetStopped", message)
