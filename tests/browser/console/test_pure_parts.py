"""The viewer's own arithmetic, which needs no browser: its tests are in console/test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support import needs

CONSOLE = Path(__file__).parents[3] / "console"


def test_the_viewers_arithmetic() -> None:
    npm = shutil.which("npm")
    if npm is None:
        needs.lack("npm", "install Node.js 20")
    done = subprocess.run(
        [npm, "test", "--silent"], cwd=CONSOLE, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 0" not in done.stdout
