"""Runs a Python program and writes how late its event loops are.

    python loop_lag.py FILE -m samply_operator.cli operator
    python loop_lag.py FILE script.py

Each event loop, whichever thread it runs in, is asked every 10 ms to call back; FILE gets one line of JSON for each
second: the time, the thread's name, by how many milliseconds the calls were late, and how many milliseconds of CPU the
thread used from each call to the next. A call that came 45 ms late stands for four further ones that would have been
due meanwhile: so what a held-up loop keeps waiting counts. The CPU says what one piece of work holds the loop up for,
however busy the machine is.
"""

from __future__ import annotations

import asyncio
import json
import runpy
import sys
import threading
import time
from asyncio.base_events import BaseEventLoop
from pathlib import Path
from typing import IO

STEP_SECS = 0.01
WRITE_SECS = 1.0


class Beat:
    def __init__(self, loop: asyncio.AbstractEventLoop, out: IO[str]) -> None:
        self._loop = loop
        self._out = out
        self._thread = threading.current_thread().name
        self._late: list[float] = []
        self._used: list[float] = []
        self._cpu = time.thread_time()
        self._written = loop.time()
        self._due = 0.0
        self._plan()

    def _plan(self) -> None:
        self._due = self._loop.time() + STEP_SECS
        self._loop.call_at(self._due, self._note)

    def _note(self) -> None:
        now = self._loop.time()
        late = now - self._due
        while late >= 0:
            self._late.append(round(late * 1000, 2))
            late -= STEP_SECS
        cpu = time.thread_time()
        self._used.append(round((cpu - self._cpu) * 1000, 2))
        self._cpu = cpu
        if now - self._written >= WRITE_SECS:
            self._out.write(json.dumps([round(time.time(), 3), self._thread, self._late, self._used]) + "\n")
            self._out.flush()
            self._late, self._used, self._written = [], [], now
        self._plan()


def watch_loops(out: IO[str]) -> None:
    watched: set[int] = set()
    run_forever = BaseEventLoop.run_forever

    def run(self: BaseEventLoop) -> None:
        if id(self) not in watched:
            watched.add(id(self))
            Beat(self, out)
        run_forever(self)

    BaseEventLoop.run_forever = run  # type: ignore[method-assign]


def main() -> None:
    path, *command = sys.argv[1:]
    with Path(path).open("a", encoding="utf-8") as out:
        watch_loops(out)
        if command[0] == "-m":
            sys.argv = command[1:]
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = command
            runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    main()
