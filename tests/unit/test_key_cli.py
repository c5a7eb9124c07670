"""`samply-operator key new`: what it prints is what the operator understands."""

from __future__ import annotations

import base64
import json
import shlex
import time

import pytest

from samply_operator.cli import main
from samply_operator.rules.access import credentials


def make(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main.main(["key", "new", *arguments, "-o", "json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def read(secret: object) -> dict[str, bytes]:
    assert isinstance(secret, dict)
    return {name: base64.b64decode(value) for name, value in secret["data"].items()}


def test_the_secret_verifies_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    made = make(capsys, "ci", "--verbs", "get,create", "--namespaces", "a,b", "--days", "90", "-n", "ops")
    assert isinstance(made["key"], str)
    assert made["secret"]["metadata"] == {"name": "samply-operator-api-keys", "namespace": "ops"}  # type: ignore[index]
    parsed = credentials.parse_keys(read(made["secret"]))
    found = credentials.find_key(made["key"], parsed.keys, time.time())
    assert found is not None
    assert (found.name, found.verbs, found.namespaces) == ("ci", ("get", "create"), ("a", "b"))
    assert found.expires_at == pytest.approx(time.time() + 90 * 86400, abs=60)
    assert credentials.find_key(made["key"], parsed.keys, time.time() + 91 * 86400) is None


def test_two_keys_are_never_the_same_and_long_enough(capsys: pytest.CaptureFixture[str]) -> None:
    keys = [str(make(capsys, "ci", "--namespaces", "a")["key"]) for _ in range(2)]
    assert keys[0] != keys[1]
    assert all(len(key.removeprefix("samply_ci_")) == 64 for key in keys)


def test_the_printed_line_is_one_that_a_shell_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["key", "new", "ci", "--namespaces", "*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    key = next(line.strip() for line in lines if line.startswith("  samply_ci_"))
    words = shlex.split(lines[-1])
    assert words[0] == "echo"
    assert words[2:] == ["|", "kubectl", "apply", "--server-side", "--field-manager", "samply-key-ci", "-f", "-"]
    parsed = credentials.parse_keys(read(json.loads(words[1])))
    assert credentials.find_key(key, parsed.keys, 0.0)
    assert key not in lines[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("CI", "--namespaces", "a"),
        ("ci", "--namespaces", "A"),
        ("ci", "--namespaces", "a", "--verbs", "list"),
        ("ci", "--namespaces", "a", "--verbs", "create"),
        ("ci", "--namespaces", ""),
    ],
)
def test_a_key_that_grants_nothing_is_refused(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert main.main(["key", "new", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("samply-operator: ")
    assert "regex" not in captured.err
    assert "--verbs of get, create, delete, and --namespaces by name" in captured.err
