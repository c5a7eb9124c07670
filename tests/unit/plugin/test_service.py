"""The plugin's token: explicit, from the environment, or requested for a ServiceAccount; remedies of refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from samply_operator.errors import InvalidSpec, SamplyOperatorError
from samply_operator.plugin import main, service


@dataclass
class Kubectl:
    """Notes what it is asked; a token is all that it makes."""

    calls: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, *arguments: str) -> str:
        self.calls.append(arguments)
        return "made.for.account\n"


def find_token(monkeypatch: pytest.MonkeyPatch, *arguments: str, environment: str = "") -> tuple[str, Kubectl]:
    monkeypatch.setenv("SAMPLY_OPERATOR_TOKEN", environment)
    options = main.build_commands()[0].parse_args(["get", "orders", "--namespace", "team-a", *arguments])
    plugin, seen = main.Plugin(options), []
    plugin.kubectl = kubectl = Kubectl()  # type: ignore[assignment]

    @contextmanager
    def open_client(kubectl: object, namespace: str, wanted: str | None, token: str) -> Iterator[None]:
        seen.append(token)
        yield

    monkeypatch.setattr(service, "open_client", open_client)
    with plugin._open():
        return seen[0], kubectl


def test_a_token_that_is_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    token, kubectl = find_token(monkeypatch, "--token", "given", "--service-account", "sa", environment="env")
    assert (token, kubectl.calls) == ("given", [])


def test_the_environment_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    token, kubectl = find_token(monkeypatch, "--service-account", "sa", environment="env")
    assert (token, kubectl.calls) == ("env", [])


def test_else_one_is_made_for_this_service_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    token, kubectl = find_token(monkeypatch, "--service-account", "sa")
    assert token == "made.for.account"
    assert kubectl.calls == [("--namespace", "team-a", "create", "token", "sa", "--audience", "samply-operator")]


def test_without_any_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_token(monkeypatch)[0] == ""
    assert service.ServiceClient(1, "")._headers() == {}


@pytest.mark.parametrize(("status", "said"), [(401, "--service-account NAME"), (403, "more verbs"), (404, "may not")])
def test_a_refusal_names_its_cure(status: int, said: str) -> None:
    error = service._build_refusal(status, json.dumps({"message": "No."}).encode())
    assert isinstance(error, SamplyOperatorError)
    assert str(error).startswith(f"The service answered {status}. No. ")
    assert said in error.remedy


@pytest.mark.parametrize("text", ["“abc”", "ab c", "ab\nc"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidSpec, match="Copy it again") as caught:
        service.parse_token(text)
    assert text not in str(caught.value)


def test_what_a_file_adds_to_a_token_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_token(monkeypatch, "--token", "abc\n")[0] == "abc"
