"""Runs a module as a program, and cancels one of its asyncio tasks on request.

    python end_task.py FOLDER samply_operator.cli operator

FOLDER/tasks gets the names of the tasks that were given one, of all event loops, each line `loop's thread: name`. A
file FOLDER/end with one of those lines cancels that task, from outside, as if it had ended unasked.
"""

from __future__ import annotations

import asyncio
import re
import runpy
import sys
import threading
from asyncio.base_events import BaseEventLoop
from pathlib import Path

LOOK_SECS = 0.1
UNNAMED = re.compile(r"Task-\d+$")


class Hand:
    def __init__(self, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self._loop = loop
        self._folder = folder
        self._thread = threading.current_thread().name
        self._known: set[str] = set()
        self._look()

    def _look(self) -> None:
        tasks = {
            f"{self._thread}: {task.get_name()}": task
            for task in asyncio.all_tasks(self._loop)
            if not UNNAMED.match(task.get_name())
        }
        if new := tasks.keys() - self._known:
            self._known |= new
            with (self._folder / "tasks").open("a", encoding="utf-8") as file:
                file.writelines(f"{name}\n" for name in sorted(new))
        wanted = self._folder / "end"
        if wanted.exists() and (name := wanted.read_text(encoding="utf-8")) in tasks:
            wanted.unlink()
            tasks[name].cancel()
        self._loop.call_later(LOOK_SECS, self._look)


def watch_loops(folder: Path) -> None:
    run_forever = BaseEventLoop.run_forever
    watched: set[int] = set()

    def run(self: BaseEventLoop) -> None:
        if id(self) not in watched:
            watched.add(id(self))
            Hand(self, folder)
        run_forever(self)

    BaseEventLoop.run_forever = run  # type: ignore[method-assign]


if __name__ == "__main__":
    watch_loops(Path(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
