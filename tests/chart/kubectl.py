"""Runs the real kubectl on the cluster that $KUBECONFIG names."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any


def run(*arguments: str, body: Any = None) -> subprocess.CompletedProcess[str]:
    """One command; `body` goes in as JSON on stdin."""
    assert os.environ.get("KUBECONFIG"), "KUBECONFIG names the cluster: hack/cluster kubeconfig"
    stdin = None if body is None else json.dumps(body)
    return subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False)


def succeed(*arguments: str, body: Any = None) -> str:
    """Its output; fails the test if it failed."""
    done = run(*arguments, body=body)
    assert done.returncode == 0, done.stderr
    return done.stdout
