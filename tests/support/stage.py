"""One container with one target, and one recording in it through recorder/remote.py, as the operator calls it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from samply_operator.model.manifest import JournalEntry
from samply_operator.recorder import remote
from samply_operator.rules import recording
from samply_operator.rules.recording import Progress
from samply_operator.settings import Recording
from support.fake_cluster import Container, FakeCluster

OWN_END_SECS = 5.0
"""How soon everything is over once it may be."""


@dataclass(slots=True)
class Stage:
    """One container with one target, and one recording's entry."""

    cluster: FakeCluster
    container: Container
    bin: Path
    entry: JournalEntry
    limits: Recording = field(default_factory=lambda: Recording(attach_deadline_secs=30, finish_deadline_secs=30))

    @property
    def folder(self) -> Path:
        return Path(self.entry.folder)

    @property
    def target(self) -> int:
        return self.container.target.pid

    def change(self, **changes: Any) -> None:
        self.entry = msgspec.structs.replace(self.entry, **changes)

    async def record(self, secs: int = 1) -> tuple[int, list[str]]:
        """From the launch to the end: exit code and what the session said."""
        self.change(duration_secs=secs)
        async with remote.record(self.cluster, self.entry, self.limits) as session:  # type: ignore[arg-type]
            lines = [line async for line in session.lines()]
            return await session.wait(), lines

    async def look(self) -> remote.Sight:
        return await remote.look(self.cluster, self.entry)  # type: ignore[arg-type]

    async def stop(self, cause: Any) -> None:
        await remote.stop(self.cluster, self.entry, cause)  # type: ignore[arg-type]

    async def clean(self) -> None:
        await remote.clean(self.cluster, self.entry)  # type: ignore[arg-type]

    def events(self) -> list[str]:
        try:
            return (self.folder / "events").read_text().splitlines()
        except FileNotFoundError:
            return []

    def progress(self) -> Progress:
        return recording.observe_all(self.events())

    def log(self) -> str:
        return (self.folder / "err").read_text()

    def signals(self) -> list[str]:
        """Those that samply got."""
        noted = self.bin / "signals"
        return [line.split()[1] for line in noted.read_text().splitlines()] if noted.exists() else []

    def state(self, pid: int = 0) -> str:
        try:
            return Path(f"/proc/{pid or self.target}/stat").read_text().rpartition(") ")[2][0]
        except FileNotFoundError:
            return ""

    def find_processes(self) -> list[int]:
        """All that work in the recording's folder, or did before it was removed."""
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):
                if str(link.readlink()).startswith(str(self.folder)) and self.state(int(link.parent.name)) != "Z":
                    found.append(int(link.parent.name))
        return found

    async def reach(self, is_so: Callable[[], object], secs: float = 20.0) -> None:
        until = time.monotonic() + secs
        while not is_so():
            assert time.monotonic() < until, f"never reached; events: {self.events()}"
            await asyncio.sleep(0.01)

    async def reach_event(self, word: str) -> None:
        await self.reach(lambda: any(line.startswith(word) for line in self.events()))

    async def end(self) -> None:
        """The target is as it was, and after a cleaning nothing is left."""
        assert self.state() in {"S", "R", ""}
        await self.clean()
        assert not self.folder.exists()
        await self.reach(lambda: not self.find_processes(), OWN_END_SECS)
        assert self.state() in {"S", "R", ""}
