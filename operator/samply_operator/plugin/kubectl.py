"""The user's own kubectl: its contexts, logins and permissions. The plugin accesses clusters only through it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from samply_operator.errors import KubeDenied, KubeError, KubeForbidden, KubeNotFound, KubeUnavailable
from samply_operator.kube import faults

REACH = "Check --context, --kubeconfig and the login, for example with: kubectl version."
PERMISSION = "Your account needs this permission: see docs/security.md."
DENIED = "A quota, policy or webhook of the cluster refuses it: change the request, or ask who manages the cluster."
INSTALL = "Install the operator, or choose its cluster: --context."
NEEDLES: tuple[tuple[str, type[KubeError], str], ...] = (
    ("(NotFound)", KubeNotFound, "Check the name and --namespace."),
    ("the server doesn't have a resource type", KubeNotFound, INSTALL),
    ("no matches for kind", KubeNotFound, INSTALL),
    ("(Forbidden)", KubeForbidden, PERMISSION),
    ("was refused", KubeUnavailable, REACH),
    ("Unable to connect", KubeUnavailable, REACH),
    ("Error from server", KubeError, ""),
    (" is invalid: ", KubeError, ""),
    ("", KubeError, REACH),
)
"""What kubectl says, and the cure where it is known. The first that fits counts."""
NOISE = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [^]]+\] |Warning: ")
"""How lines of its log begin, which come before what it says of an error."""
PREFIX = re.compile(r"Error from server:? ")
MAX_LINES = 5


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
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                said, found = "", None
                for line in process.stdout or ():
                    if found := re.search(r"127\.0\.0\.1:(\d+)", line):
                        break
                    said += line
                if found is None:
                    raise KubeUnavailable(
                        f"port-forward to service/{service} in {namespace}: {end_sentence(pick(said) or 'no answer')}",
                        remedy=_find_needle(said)[2],
                    )
                yield int(found[1])
            finally:
                process.terminate()


def pick(text: str) -> str:
    """What kubectl says of an error, without its log, unless that is all."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    plain = [line for line in lines if not NOISE.match(line)]
    return "\n".join((plain or [NOISE.sub("", line) for line in lines[-1:]])[-MAX_LINES:])[:500]


def end_sentence(text: str) -> str:
    """With the period that kubectl leaves out: a remedy follows."""
    return text if not text or text[-1] in ".!?" else f"{text}."


def _find_needle(text: str) -> tuple[str, type[KubeError], str]:
    if faults.is_of_admission(403 if "(Forbidden)" in text else 0, text):
        return ("", KubeDenied, DENIED)
    return next(each for each in NEEDLES if each[0] in text)


def _build_error(text: str) -> KubeError:
    _, kind, remedy = _find_needle(text)
    said = PREFIX.sub("", pick(text))
    return kind(end_sentence(said) or "kubectl failed without a message.", remedy=remedy)
