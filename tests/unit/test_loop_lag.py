"""The measure of loop lag that bench/scale and its tests rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.scale import loop_lag

PROGRAM = """
import asyncio, threading, time

async def work():
    await asyncio.sleep(0.3)
    time.sleep(0.4)
    until = time.thread_time() + 0.2
    while time.thread_time() < until:
        pass
    await asyncio.sleep(0.5)

other = threading.Thread(target=lambda: asyncio.run(asyncio.sleep(1.2)), name="other")
other.start()
asyncio.run(work())
other.join()
"""


def test_a_loop_that_is_held_up_is_late_for_all_that_would_have_come(tmp_path: Path) -> None:
    """0.4 s are 40 calls, each 10 ms less late than the one before; another thread's loop is reported separately. So is
    the CPU time that blocked it, as opposed to waiting."""
    script, out = tmp_path / "program.py", tmp_path / "lag"
    script.write_text(PROGRAM)
    subprocess.run([sys.executable, loop_lag.__file__, str(out), str(script)], check=True, timeout=60)
    late: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    for line in out.read_text().splitlines():
        _, thread, found, spent = json.loads(line)
        late.setdefault(thread, []).extend(found)
        used.setdefault(thread, []).extend(spent)
    assert set(late) == {"MainThread", "other"}
    assert max(late["MainThread"]) > 550
    assert sum(value > 45 for value in late["MainThread"]) >= 50
    assert 190 < max(used["MainThread"]) < 390
    assert sum(value < 45 for value in late["MainThread"]) >= 30
    assert min(late["other"]) < 45
    assert max(used["other"]) < 100
