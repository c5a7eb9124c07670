"""The fake Feldera in its own thread, at an address that pods can reach: for tests that block in kubectl."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

from support.fake_feldera import FakeFeldera


@dataclass
class ThreadedFeldera:
    """`fake` may be changed from here: its attributes are read anew for each request."""

    fake: FakeFeldera
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return self.fake.url

    def start(self) -> None:
        self._run(self.fake.start())

    def stop(self) -> None:
        self._run(self.fake.stop())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=10)


@contextmanager
def serving(host: str) -> Iterator[ThreadedFeldera]:
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    feldera = ThreadedFeldera(FakeFeldera(host=host), loop)
    try:
        feldera.start()
        yield feldera
        feldera.stop()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
