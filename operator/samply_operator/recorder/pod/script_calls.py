"""The small scripts that run in a pipeline's container, as typed calls. The only module that knows their arguments."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from samply_operator.errors import ExecFailed, KubeInvalid
from samply_operator.kube.client import KubeClient
from samply_operator.kube.exec import ExecSession
from samply_operator.model.container import ContainerFacts
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.pipeline import Target
from samply_operator.rules.recording import preflight_output, record_output
from samply_operator.settings import Recording

SHORT_SECS = 30.0
"""Deadline of an exec that only reads or signals."""
NOT_FOUND = 127
COMMENT = re.compile(r"(?<=\(\) ){ #.*")
"""A comment after the name of a function."""
PART = ". "
"""Begins a line that includes a common part."""
COMMAND_NOT_FOUND = "CommandNotFound"
"""How kube/faults.py calls what a runtime says of a command that isn't in the image."""
FOLDER_EXISTS = 64
FOLDER_REFUSED = 65


class NoShellError(ExecFailed):
    """The container has no POSIX shell. Not worth repeating."""

    code = "NoShell"
    is_transient = False


@dataclass(frozen=True, slots=True)
class Observation:
    """The output of look.sh."""

    has_folder: bool
    is_alive: bool
    clock: float | None
    """The node's uptime in seconds, on the same clock as the events."""
    progress: record_output.Progress
    log: str


@cache
def read_script(name: str) -> str:
    """Whole: each part of `parts/` stands where the script names it. Without comments and indentation: it travels in
    the URL of the exec request."""
    text = resources.files("samply_operator.recorder.pod").joinpath("scripts", name).read_text(encoding="utf-8")
    lines = (COMMENT.sub("{", line.strip()) for line in text.splitlines())
    return "\n".join(
        read_script(line.removeprefix(PART)) if line.startswith(PART) else line
        for line in lines
        if line and not line.startswith("#")
    )


def build_command(name: str, *arguments: str) -> list[str]:
    return ["sh", "-c", read_script(name), "samply-operator", *arguments]


def place_of(entry: JournalEntry) -> Target:
    """Where the scripts run: the target's container, or the ephemeral one beside it."""
    return Target(
        namespace=entry.namespace,
        pod=entry.pod,
        pod_uid=entry.pod_uid,
        container=entry.helper or entry.container,
        container_id=entry.container_id,
        node=entry.node,
        pid=entry.pid,
    )


async def _run(client: KubeClient, target: Target, command: list[str], deadline: float = SHORT_SECS) -> str:
    try:
        result = await client.run(
            target.namespace, target.pod, target.container, command, deadline_secs=deadline, node=target.node
        )
    except KubeInvalid as error:
        if error.details.get("reason") == COMMAND_NOT_FOUND:
            raise NoShellError(f"Container {target.container} of {target.pod} has no sh: {error.message}") from error
        raise
    errors = result.stderr.decode(errors="replace")
    if result.exit_code in {126, NOT_FOUND} and not result.stdout:
        raise NoShellError(f"Container {target.container} of {target.pod} has no sh: {errors[:200]}")
    return result.stdout.decode(errors="replace")


async def gather_facts(client: KubeClient, entry: JournalEntry) -> ContainerFacts:
    """One exec. Raises NoShellError, and Kube* errors."""
    # From an ephemeral container the target's processes are identified by their container's id, else by their cgroup.
    anchor, container = ("1", entry.container_id.rpartition("/")[2]) if entry.helper else ("self", "")
    return preflight_output.parse_facts(
        await _run(client, place_of(entry), build_command("preflight.sh", anchor, container))
    )


@asynccontextmanager
async def record(
    client: KubeClient, entry: JournalEntry, settings: Recording, keep_secs: float
) -> AsyncIterator[ExecSession]:
    """Start a recording; the session's lines are its events, `done` the last. It goes on in the pod if the session
    breaks. What nobody cleans away goes after `keep_secs`, and with it the shell; 0: never."""
    command = build_command(
        "record.sh",
        entry.folder,
        str(entry.pid),
        str(entry.duration_secs),
        str(entry.rate_hz),
        entry.symbol_flag,
        entry.samply,
        str(int(settings.attach_deadline_secs)),
        str(int(settings.finish_deadline_secs)),
        str(entry.memory_cap // 1024),
        str(entry.pid_started),
        str(entry.memory_reserve // 1024),
        str(int(keep_secs)),
    )
    deadline = entry.duration_secs + settings.attach_deadline_secs + settings.finish_deadline_secs + SHORT_SECS
    async with client.exec(
        entry.namespace,
        entry.pod,
        entry.helper or entry.container,
        command,
        deadline_secs=deadline,
        node=entry.node,
        attached=True,
    ) as session:
        yield session


async def look(client: KubeClient, entry: JournalEntry) -> Observation:
    """The progress of a recording without a session."""
    text = await _run(client, place_of(entry), build_command("look.sh", entry.folder))
    head, _, log = text.partition("-- log\n")
    lines = head.splitlines()
    return Observation(
        has_folder="folder yes" in lines[:1],
        is_alive="alive yes" in lines[:2],
        clock=record_output.parse_clock(lines[2].removeprefix("clock ")) if len(lines) > 2 else None,
        progress=record_output.observe_all(lines[3:]),
        log=log,
    )


async def stop(client: KubeClient, entry: JournalEntry, cause: Literal["keep", "discard"]) -> None:
    await _run(client, place_of(entry), build_command("stop.sh", entry.folder, cause))


async def clean(client: KubeClient, entry: JournalEntry) -> None:
    """Remove everything of the recording from the container."""
    await _run(client, place_of(entry), build_command("clean.sh", entry.folder, str(entry.pid), str(entry.pid_started)))


async def wake(client: KubeClient, entry: JournalEntry) -> None:
    """From the target's own container: continue the target if the ephemeral container left it stopped."""
    target = dataclasses.replace(place_of(entry), container=entry.container)
    await _run(client, target, build_command("wake.sh", str(entry.pid), str(entry.pid_started)))


async def release(client: KubeClient, entry: JournalEntry) -> None:
    """End the ephemeral container, with everything in it."""
    await _run(client, place_of(entry), build_command("release.sh"))
