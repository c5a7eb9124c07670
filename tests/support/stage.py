"""One container with one target, and one recording in it, run by recorder/pod/script_calls.py as the operator does it.

A piece is played on a stage of its own, in each shell; all at the same time, since they mostly wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from samply_operator.model.manifest import JournalEntry
from samply_operator.recorder.pod import script_calls
from samply_operator.rules.recording import record_output
from samply_operator.rules.recording.record_output import Progress
from samply_operator.settings import Recording
from support import shells
from support.fake_cluster import Container, FakeCluster
from support.samples import make_entry

OWN_END_SECS = 5.0
"""How soon everything is over once it may be."""
AT_ONCE = 10

Key = tuple[str, str]
Piece = Callable[["Stage"], Awaitable[None]]
PIECES: dict[str, tuple[Piece, dict[str, Any]]] = {}


def piece(**behaviour: Any) -> Callable[[Piece], Piece]:
    """A piece to play in each shell; `behaviour` is samply's."""

    def register(play: Piece) -> Piece:
        PIECES[play.__name__] = play, behaviour
        return play

    return register


@dataclass(slots=True)
class Stage:
    """One container with one target, and one recording's entry."""

    cluster: FakeCluster
    container: Container
    bin: Path
    entry: JournalEntry
    keep_secs: float = 0
    """How long the pod keeps what nobody fetches; 0: for ever."""
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
        async with script_calls.record(self.cluster, self.entry, self.limits, self.keep_secs) as session:  # type: ignore[arg-type]
            lines = [line async for line in session.lines()]
            return await session.wait(), lines

    async def look(self) -> script_calls.Observation:
        return await script_calls.look(self.cluster, self.entry)  # type: ignore[arg-type]

    async def stop(self, cause: Any) -> None:
        await script_calls.stop(self.cluster, self.entry, cause)  # type: ignore[arg-type]

    async def clean(self) -> None:
        await script_calls.clean(self.cluster, self.entry)  # type: ignore[arg-type]

    def events(self) -> list[str]:
        try:
            return (self.folder / "events").read_text().splitlines()
        except FileNotFoundError:
            return []

    def progress(self) -> Progress:
        return record_output.observe_all(self.events())

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
            await asyncio.sleep(0.03)

    async def reach_event(self, word: str) -> None:
        await self.reach(lambda: any(line.startswith(word) for line in self.events()))

    async def reach_sleep(self) -> None:
        """The target isn't stopped: it sleeps, as it always does (on a busy machine it may be on its way there)."""
        await self.reach(lambda: self.state() == "S")

    async def end(self) -> None:
        """The target is as it was, and after a cleaning nothing is left."""
        assert self.state() in {"S", "R", ""}
        await self.clean()
        assert not self.folder.exists()
        await self.reach(lambda: not self.find_processes(), OWN_END_SECS)
        assert self.state() in {"S", "R", ""}


async def play_all(cluster: FakeCluster) -> dict[Key, BaseException | None]:
    """Every piece in every shell, side by side; how each went, by shell and name."""
    limit = asyncio.Semaphore(AT_ONCE)
    keys = [(shell, name) for name in PIECES for shell in shells.find_shells()]

    async def play(shell: str, name: str) -> None:
        async with limit:
            act, behaviour = PIECES[name]
            stage = _set(cluster, f"{shell}-{name}", shell, behaviour)
            await asyncio.wait_for(act(stage), 60)
            await stage.end()

    results = await asyncio.gather(*(play(*key) for key in keys), return_exceptions=True)
    return dict(zip(keys, results, strict=True))


def _set(cluster: FakeCluster, name: str, shell: str, behaviour: dict[str, Any]) -> Stage:
    folder = cluster.root / name / "bin"
    path = shells.make_path(folder, shell, **behaviour)
    container = cluster.add_container("prod", name, path)
    entry = make_entry(
        pod=name,
        folder=str(cluster.root / name / "recording"),
        pid=container.target.pid,
        pid_started=int(container.find_processes().split()[5]),
        samply=str(folder / "samply"),
        symbol_flag="--unstable-presymbolicate",
    )
    return Stage(cluster, container, folder, entry)
