"""Each long-lived task of the operator is ended: the process ends and logs the reason, and the next one works.

Real processes beside an API server of their own (support/scale), one after the other over the same volume: each next
one watches again, and loses another task.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.scale import control_plane, end_task, processes
from support.scale.control_plane import ControlPlane
from support.scale.fleet import Fleet, Writer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

START_SECS, END_SECS = 60, 20
WORKERS = {"heartbeat", "credentials", "watcher", "recordings", "deletions", "claims", "leases", "sweep"}
"""What must be among them; others, such as each list and watch, are found."""
FURTHER = re.compile(r", worker [1-9]")


@dataclass(frozen=True)
class Operator:
    popen: subprocess.Popen[bytes]
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def list_tasks(self) -> list[str]:
        path = self.folder / "tasks"
        return path.read_text().splitlines() if path.exists() else []

    async def wait_watching(self) -> None:
        async with asyncio.timeout(START_SECS):
            while "watching namespace" not in self.log:
                assert self.popen.poll() is None, self.log
                await asyncio.sleep(0.1)

    async def wait_end(self) -> int | None:
        try:
            async with asyncio.timeout(END_SECS):
                while self.popen.poll() is None:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return None
        return self.popen.returncode


@contextmanager
def operating(plane: ControlPlane, folder: Path, namespace: str) -> Iterator[Operator]:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    settings = processes.build_settings(folder, [namespace], 1024, 1025)
    environment = processes.build_environment(plane.kubeconfig, SAMPLY_OPERATOR_SETTINGS=str(settings))
    command = [sys.executable, end_task.__file__, str(folder), "samply_operator.cli", "operator"]
    with (folder / "log").open("wb") as out:
        popen = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        yield Operator(popen, folder)
    finally:
        control_plane.end(popen, END_SECS)


async def end_one(plane: ControlPlane, folder: Path, namespace: str, task: str) -> str:
    """What is wrong; empty: the process began to watch, ended without the task, and said which one it was."""
    with operating(plane, folder, namespace) as operator:
        await operator.wait_watching()
        (folder / "end").write_text(task)
        status = await operator.wait_end()
        if status is None:
            return f"{task}: the process goes on without it"
        if not status or task.partition(": ")[2] not in operator.log:
            return f"{task}: exit status {status}, and the log says:\n{operator.log}"
    return ""


async def end_all(plane: ControlPlane, folder: Path, namespace: str, tasks: Iterable[str]) -> list[str]:
    return [await end_one(plane, folder, namespace, task) for task in tasks]


async def find_tasks(plane: ControlPlane, writer: Writer, folder: Path, fleet: Fleet) -> list[str]:
    await fleet.create(writer)
    with operating(plane, folder / "1", fleet.namespace) as operator:
        await operator.wait_watching()
        await asyncio.sleep(1)
        # Of kopf's own tasks none is ours, and of a queue's workers one is like the other.
        found = [task for task in operator.list_tasks() if task.startswith("MainThread: ")]
        tasks = sorted(task for task in found if not FURTHER.search(task))
    assert {task.partition(": ")[2] for task in tasks} >= WORKERS, tasks
    return tasks


async def test_a_task_that_ends_ends_the_process(plane: ControlPlane, writer: Writer, folder: Path) -> None:
    """One of the process, and one of a namespace: they are held by different supervisors."""
    fleet = Fleet("some-supervised", pipelines=1, replicas=1)
    tasks = await find_tasks(plane, writer, folder, fleet)
    chosen = [next(task for task in tasks if part in task) for part in (": claims", "/pods?")]
    wrong = await end_all(plane, folder / "1", fleet.namespace, chosen)
    assert not any(wrong), "\n".join(wrong)


@pytest.mark.slow
async def test_each_task_that_ends_ends_the_process(plane: ControlPlane, writer: Writer, folder: Path) -> None:
    fleet = Fleet("supervised", pipelines=1, replicas=1)
    tasks = await find_tasks(plane, writer, folder, fleet)
    # Two at a time: a start takes two seconds of CPU.
    halves = ((folder / "1", tasks[::2]), (folder / "2", tasks[1::2]))
    ends = (end_all(plane, where, fleet.namespace, half) for where, half in halves)
    wrong = [text for found in await asyncio.gather(*ends) for text in found if text]
    assert not wrong, "\n".join(wrong)
