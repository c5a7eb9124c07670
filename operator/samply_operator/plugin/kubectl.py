"""The user's own kubectl: its contexts, logins and permissions. The plugin accesses clusters only through it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from samply_operator.errors import KubeError, KubeForbidden, KubeNotFound, KubeUnavailable

NEEDLES: tuple[tuple[str, type[KubeError]], ...] = (
    ("(NotFound)", KubeNotFound),
    ("the server doesn't have a resource type", KubeNotFound),
    ("(Forbidden)", KubeForbidden),
    ("was refused", KubeUnavailable),
    ("Unable to connect", KubeUnavailable),
)


@dataclass(frozen=True, slots=True)
class Kubectl:
    """`flags` are passed with every call: --context, --kubeconfig, --namespace."""

    flags: tuple[str, ...] = ()
    program: str = "kubectl"

    def run(self, *arguments: str, body: Mapping[str, Any] | None = None, is_exit_code_ignored: bool = False) -> str:
        """Its output. Raises KubeError with kubectl's message, unless the exit code of an exec is to be ignored and
        there is output."""
        stdin = None if body is None else json.dumps(body)
        try:
            done = subprocess.run(
                [self.program, *self.flags, *arguments], input=stdin, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise KubeError(
                "kubectl is not on the PATH.", remedy="Install it, or call this as `kubectl samply`."
            ) from error
        if done.returncode != 0 and not (is_exit_code_ignored and done.stdout):
            raise _build_error(done.stderr.strip())
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """One object, or a list, as JSON."""
        found: dict[str, Any] = json.loads(self.run("get", *arguments, "-o", "json"))
        return found

    @contextlib.contextmanager
    def forward(self, namespace: str, service: str, port: int) -> Iterator[int]:
        """A local port that is forwarded to the Service within the context."""
        command = [
            self.program,
            *self.flags,
            "--namespace",
            namespace,
            "port-forward",
            f"service/{service}",
            f":{port}",
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            if found is None:
                raise KubeUnavailable(
                    f"port-forward to service/{service} in {namespace}: {line.strip() or 'no answer'}"
                )
            yield int(found[1])
        finally:
            process.terminate()
            process.wait()


def _build_error(text: str) -> KubeError:
    kind = next((kind for needle, kind in NEEDLES if needle in text), KubeError)
    return kind(text.removeprefix("Error from server ")[:500] or "kubectl failed without a message.")
