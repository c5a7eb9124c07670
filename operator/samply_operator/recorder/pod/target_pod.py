"""The pod that is recorded: its object, and calls into its containers that are repeated until they work, the container
is gone, or the time is over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from samply_operator.errors import KubeDenied, KubeError, KubeForbidden, KubeNotFound
from samply_operator.kube import objects
from samply_operator.kube.client import KubeClient
from samply_operator.model.manifest import JournalEntry
from samply_operator.recorder.context import Backoff, Context
from samply_operator.recorder.journal import Journal
from samply_operator.rules.recording import failures

Raw = Mapping[str, Any]
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
Call = Callable[Concatenate[KubeClient, JournalEntry, Arguments], Awaitable[Answer]]
"""For example those of script_calls.py."""


class TargetPod:
    """`on_trouble` is called with why it is not reached, and with "" when it is again."""

    def __init__(
        self, context: Context, journal: Journal, on_trouble: Callable[[str], None] = lambda trouble: None
    ) -> None:
        self.context = context
        self.journal = journal
        self._on_trouble = on_trouble

    @property
    def entry(self) -> JournalEntry:
        return self.journal.entry

    @property
    def client(self) -> KubeClient:
        return self.context.client

    def __str__(self) -> str:
        return f"{self.entry.namespace}/{self.entry.name}"

    async def repeat(
        self, call: Call[Arguments, Answer], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Answer:
        """Raises RecordingFailed once the container is gone, KubeError when the time is over or it is refused: a right
        that goes after something was begun in the pod may come back."""
        backoff = Backoff(self.context.settings.recording.unreachable_secs)
        while True:
            try:
                answer = await call(self.client, self.entry, *arguments, **named)
            except KubeNotFound as error:
                with contextlib.suppress(KubeError):
                    await self.check()
                await self._wait(backoff, error)
            except KubeError as error:
                if not error.is_transient and (self.entry.step == "Admitted" or not may_pass(error)):
                    raise
                await self._wait(backoff, error)
                with contextlib.suppress(KubeError):
                    await self.check()
            else:
                self._on_trouble("")
                return answer

    async def _wait(self, backoff: Backoff, error: KubeError) -> None:
        self._on_trouble(error.message)
        await backoff.pause(error)

    async def read(self) -> Raw:
        """The object, repeated as `repeat` does."""
        return await self.repeat(_read)

    async def check(self) -> None:
        """Ends the recording (RecordingFailed) if the container that it ran in is no more. Raises KubeError."""
        try:
            raw = await _read(self.client, self.entry)
        except KubeNotFound:
            failures.fail("PodDeleted", f"Pod {self.entry.pod} was deleted.")
        judge_pod(self.entry, raw)

    async def blame(self) -> None:
        """The same where something else went wrong before: a container that is gone is the better reason."""
        with contextlib.suppress(KubeError):
            await self.check()


def may_pass(error: KubeError) -> bool:
    """Whether repeating it may help once a recording has begun: trouble on the way, a kubelet that does not find its
    containers after a restart, a right that was taken away. What a policy denies stays denied."""
    if isinstance(error, KubeForbidden):
        return not isinstance(error, KubeDenied)
    return error.is_transient or isinstance(error, KubeNotFound)


async def _read(client: KubeClient, entry: JournalEntry) -> Raw:
    return await client.get(objects.pods(entry.namespace, entry.pod))


def judge_pod(entry: JournalEntry, raw: Raw) -> None:
    """Ends the recording if the pod that was read has not the container that it ran in."""
    pod = objects.parse_pod(raw)
    if pod.uid != entry.pod_uid:
        failures.fail("PodDeleted", f"Pod {entry.pod} was deleted; another one of this name has taken its place.")
    container = pod.find_container(entry.container)
    if container is None or container.id != entry.container_id or not container.is_running:
        if pod.is_deleted:
            failures.fail("PodDeleted", f"Pod {entry.pod} is being deleted.")
        failures.fail("ContainerRestarted", f"Container {entry.container} of {entry.pod} ended or restarted.")
    if entry.helper and "terminated" in find_helper_state(raw, entry.helper):
        failures.fail("Lost", f"The ephemeral container {entry.helper} of {entry.pod} has ended.")


def find_helper_state(raw: Raw, name: str) -> Raw:
    """Of an ephemeral container: `waiting`, `running` or `terminated`, as Kubernetes has it; empty: not known yet."""
    statuses = (raw.get("status") or {}).get("ephemeralContainerStatuses") or []
    return next((s.get("state") or {} for s in statuses if s.get("name") == name), {})
