"""Change notifications for readers of the state: that something changed, and which pipelines and recordings to read
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Key = tuple[str, str]


class Notifier:
    """Notifications are counted, so that none is missed between two waits."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def notify(self) -> None:
        self.count += 1
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seen: int, timeout_secs: float) -> int:
        """Return the count as soon as it differs from `seen`, or when the time is over."""
        if self.count == seen:
            event = self._event
            try:
                async with asyncio.timeout(timeout_secs):
                    await event.wait()
            except TimeoutError:
                pass
        return self.count


@dataclass(slots=True)
class Feed:
    """Pending changes of one reader: keys of pipelines, ids of recordings."""

    pipelines: set[Key] = field(default_factory=set)
    recordings: set[str] = field(default_factory=set)
    names: dict[str, str] | None = None
    """What pipelines are called, by Feldera's id; None: as before."""

    def take_names(self) -> dict[str, str] | None:
        """Once."""
        taken, self.names = self.names, None
        return taken

    def take(self) -> tuple[set[Key], set[str]]:
        """All of it, once."""
        taken = self.pipelines, self.recordings
        self.pipelines, self.recordings = set(), set()
        return taken


class Changes(Notifier):
    """A change costs the same however much there is: each reader gets only what changed."""

    def __init__(self) -> None:
        super().__init__()
        self.store_generation = 0
        """Incremented with each manifest that is written or removed."""
        self.names: dict[str, str] = {}
        """What pipelines are called now, by Feldera's id; also those that are gone."""
        self._feeds: list[Feed] = []

    @contextmanager
    def feed(self) -> Iterator[Feed]:
        """Everything that changes while this lasts."""
        feed = Feed()
        self._feeds.append(feed)
        try:
            yield feed
        finally:
            self._feeds.remove(feed)

    def note_pipeline(self, key: Key) -> None:
        for feed in self._feeds:
            feed.pipelines.add(key)
        self.notify()

    def note_names(self, names: dict[str, str]) -> None:
        self.names = names
        for feed in self._feeds:
            feed.names = names
        self.notify()

    def note_stored(self) -> None:
        """A manifest was written or removed."""
        self.store_generation += 1
        self.notify()

    def note_recording(self, profile_id: str) -> None:
        for feed in self._feeds:
            feed.recordings.add(profile_id)
        self.notify()
