"""What a test needs installed. If it could be installed, a missing program fails the test, with the command to run."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def can_install() -> bool:
    """CI has everything that it was told to install, and root on Debian can install it; others can't."""
    return bool(os.environ.get("CI")) or (os.geteuid() == 0 and shutil.which("apt-get") is not None)


def lack(what: str, cure: str) -> NoReturn:
    """Ends the test: skipped only if the requirement can't be met."""
    reason = f"{what} isn't installed: run {cure}"
    if can_install():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def find(program: str) -> str | None:
    """Its path. Debian has servers in a folder that a user's own PATH lacks."""
    return shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


def need(*programs: str) -> None:
    missing = [program for program in programs if find(program) is None]
    if missing:
        lack(", ".join(missing), "hack/prerequisites tests")
