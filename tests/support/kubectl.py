"""Runs the real kubectl on the cluster in $KUBECONFIG; every call raises an error or returns its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def run(*arguments: str, body: Any = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """One command; `body` goes in as JSON on stdin."""
    assert os.environ.get("KUBECONFIG"), "KUBECONFIG names the cluster: export KUBECONFIG=$(hack/cluster kubeconfig)"
    stdin = None if body is None else json.dumps(body)
    return subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=timeout
    )


def succeed(*arguments: str, body: Any = None, timeout: float = 120) -> str:
    """Its output; fails the test if it failed."""
    done = run(*arguments, body=body, timeout=timeout)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def get(*arguments: str) -> dict[str, Any]:
    """One object, or a list, as JSON."""
    found: dict[str, Any] = json.loads(succeed("get", *arguments, "-o", "json"))
    return found


def poll(
    look: Callable[[], Answer | None], *, timeout: float, what: str | Callable[[], str], pause: float = 0.25
) -> Answer:
    """Repeat until the result is true; fails the test after the timeout. `what` may describe what was seen last."""
    end = time.monotonic() + timeout
    while True:
        answer = look()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {timeout:g} s: {what() if callable(what) else what}"
        time.sleep(pause)
