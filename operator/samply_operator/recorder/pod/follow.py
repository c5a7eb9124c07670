"""Follows record.sh from its launch to its end: live over the exec session, or by polling without one. The pod runs the
recording; a broken connection does not affect it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from samply_operator.errors import KubeError
from samply_operator.model.manifest import JournalEntry
from samply_operator.recorder.context import Backoff
from samply_operator.recorder.pod import script_calls
from samply_operator.recorder.pod.target_pod import TargetPod, may_pass
from samply_operator.rules.recording import failures, record_output
from samply_operator.rules.recording.record_output import Progress
from samply_operator.settings import Recording

logger = logging.getLogger(__name__)

SHORTEST_POLL_SECS = 0.5
LONGEST_POLL_SECS = 5.0
OVERDUE_SECS = 10.0
"""How long after its end a recording is ended from outside, if its shell in the pod was killed."""

OnProgress = Callable[[Progress, float | None], None]
"""Called after each change; the second argument is the Unix time at which sampling began, if it did."""


class Follower:
    def __init__(self, pod: TargetPod, on_progress: OnProgress) -> None:
        self.pod = pod
        self.progress = Progress()
        self.started: float | None = None
        self._on_progress = on_progress
        self._limits = pod.context.settings.recording
        self._now = pod.context.now

    async def launch(self) -> Progress:
        """Starts the recording and follows it to its end; polls it if the session breaks or it began before."""
        backoff = Backoff(self._limits.unreachable_secs)
        while True:
            try:
                code = await self._follow_session()
            except KubeError as error:
                if not may_pass(error):
                    raise
                logger.info("%s: the exec session broke (%s); looking after it", self.pod, error)
                progress = await self._look_after()
                if progress is not None:
                    return progress
                await backoff.pause(error)
                continue
            if self.progress.is_done:
                return self.progress
            if code == script_calls.FOLDER_REFUSED:
                failures.fail("NoWritableFolder", f"{self.pod.entry.folder} can't be made in the container.")
            return await self.adopt(may_launch=False)

    async def _follow_session(self) -> int:
        pod, limits = self.pod, self._limits
        async with script_calls.record(pod.client, pod.entry, limits, find_life(pod.entry, limits)) as session:
            async for line in session.lines():
                self._take(record_output.observe(self.progress, line), self._now())
                if self.progress.is_done:
                    return 0  # its shell stays until cleaning
            return await session.wait()

    async def adopt(self, *, may_launch: bool) -> Progress:
        """Follow what an earlier session began. `may_launch`: nothing in the pod means that it never began."""
        progress = await self._look_after()
        if progress is not None:
            return progress
        if not may_launch:
            failures.fail("Lost", f"{self.pod.entry.folder} is gone from the container.")
        return await self.launch()

    async def _look_after(self) -> Progress | None:
        """Poll until the recording is over. None: there is nothing of it in the pod."""
        backoff = Backoff(self._limits.unreachable_secs)
        was_there, since = False, self.pod.context.uptime()
        while True:
            try:
                await self.pod.check()
                observation = await script_calls.look(self.pod.client, self.pod.entry)
            except KubeError as error:
                if not may_pass(error):
                    raise
                await backoff.pause(error)
                continue
            backoff.reset()
            if not observation.has_folder and was_there:
                failures.fail("Lost", f"{self.pod.entry.folder} went from the container while it was used.")
            if not observation.has_folder:
                return None
            was_there = True
            self._adopt(observation)
            if observation.progress.is_done or not observation.is_alive:
                return self.progress
            await self._end_overdue(observation, self.pod.context.uptime() - since)
            await asyncio.sleep(self._choose_poll())

    async def _end_overdue(self, observation: script_calls.Observation, watched_secs: float) -> None:
        """The pod ends its recordings itself; if it does not, they are ended here, or samply would grow forever."""
        began, stopping, clock = observation.progress.recording_at, observation.progress.stopping_at, observation.clock
        pod, limits = self.pod, self._limits
        try:
            if began is None or clock is None:
                if watched_secs > limits.attach_deadline_secs + OVERDUE_SECS:
                    await script_calls.stop(pod.client, pod.entry, "discard")
            elif stopping is None and clock > began + pod.entry.duration_secs + OVERDUE_SECS:
                await script_calls.stop(pod.client, pod.entry, "keep")
            elif stopping is not None and clock > stopping + limits.finish_deadline_secs + OVERDUE_SECS:
                await script_calls.stop(pod.client, pod.entry, "discard")
        except KubeError as error:
            if not may_pass(error):
                raise
            logger.info("%s: it is overdue: %s", pod, error)

    def _adopt(self, observation: script_calls.Observation) -> None:
        began, now = observation.progress.recording_at, self._now()
        if began is not None and observation.clock is not None:
            now -= observation.clock - began
        self._take(observation.progress, now)

    def _take(self, progress: Progress, now: float) -> None:
        if progress == self.progress:
            return
        if progress.recording_at is not None and self.started is None:
            self.started = now
        self.progress = progress
        self._on_progress(progress, self.started)

    def _choose_poll(self) -> float:
        if self.started is None:
            return SHORTEST_POLL_SECS
        left = self.started + self.pod.entry.duration_secs - self._now()
        return min(LONGEST_POLL_SECS, max(SHORTEST_POLL_SECS, left))


def find_life(entry: JournalEntry, settings: Recording) -> float:
    """Seconds that the recorded file stays in the pod if it is not fetched: the time for a copy plus its time to live.
    An ephemeral container has its own end."""
    if entry.helper:
        return 0
    return settings.copy_deadline_secs + settings.unreachable_secs + settings.remote_ttl_secs
