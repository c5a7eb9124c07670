"""The shells that a pipeline's image may have, each as a folder for PATH, with a stand-in for samply in it.

Where one isn't installed its tests fail, or are skipped where nobody can be asked to install it (needs.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("dash", "bash", "busybox")
STANDIN = Path(__file__).with_name("samply_standin.py")


def find_shells() -> tuple[str, ...]:
    return tuple(name for name in NAMES if shutil.which(name))


def make_path(folder: Path, shell: str, **behaviour: object) -> str:
    """A value for PATH: `sh` is that shell (and with busybox, so are all the tools), `samply` the stand-in."""
    folder.mkdir(parents=True, exist_ok=True)
    program = shutil.which(shell)
    assert program
    (folder / "sh").symlink_to(program)
    if shell == "busybox":
        listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for name in {*listed} - {"sh"}:
            (folder / name).symlink_to(program)
    put_samply(folder, **behaviour)
    return f"{folder}:{os.defpath}"


def put_samply(folder: Path, **behaviour: object) -> Path:
    """The stand-in, behaving so from its next start on."""
    path = folder / "samply"
    if not path.exists():
        python = Path(sys.executable).resolve()
        path.write_text(f"#!{python} -ISE\n{STANDIN.read_text()}")
        path.chmod(0o755)
    (folder / "behaviour").write_text(json.dumps(behaviour))
    return path
