"""The service as the plugin sees it: the token, answers that are refused, broken or not understood, files; kubectl's
own errors."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from samply_operator.errors import InvalidSpec, KubeError, SamplyOperatorError
from samply_operator.plugin import kubectl as kubectls
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


@contextmanager
def serve(answer: bytes | None) -> Iterator[service.ServiceClient]:
    """Answers one request with these bytes, or is gone."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def take() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer or b"")

        thread = threading.Thread(target=take)
        if answer is None:
            server.close()
        else:
            thread.start()
        try:
            yield service.ServiceClient(port, "")
        finally:
            if answer is not None:
                server.shutdown(socket.SHUT_RDWR)
                thread.join()


def build_answer(body: bytes, more: int = 0) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body) + more, body)


BROKE = "The connection to the service broke: .*Try again.*kubectl get pods"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, BROKE),
        (b"", BROKE),
        (b"SSH-2.0\r\n", BROKE),
        (build_answer(b"{}", more=1), BROKE),
        (build_answer(b"<html>"), "The service's answer is not understood: .*--service"),
        (build_answer(b'{"pipelines": [{}]}'), "The service's answer is not understood: .*--service"),
        (build_answer(b"[]"), "The service's answer is not understood: .*--service"),
        (build_answer(b"\xff"), "The service's answer is not understood: .*--service"),
    ],
    ids=["gone", "no answer", "not HTTP", "cut", "a page", "another object", "a list", "no text"],
)
def test_what_is_no_answer_names_its_cure(answer: bytes | None, said: str) -> None:
    for ask in (lambda client: client.list_ordinals("p", "n"), lambda client: client.examine()):
        with serve(answer) as client, pytest.raises(SamplyOperatorError, match=said):
            ask(client)


@pytest.mark.parametrize(
    ("out", "answer", "said"),
    [
        ("/", b"x", "/ can't be written: Is a directory. Name a file in it."),
        ("", b"x", r"\. can't be written: Is a directory. Name a file in it."),
        ("none/f", b"x", "there is no folder none. Create it first."),
        ("y" * 300, b"x", "File name too long. Give it a shorter name."),
        ("kept", None, BROKE),
    ],
)
def test_a_file_that_cannot_be_saved(
    out: str, answer: bytes | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kept").write_bytes(b"what was there")
    with serve(answer and build_answer(answer)) as client, pytest.raises(SamplyOperatorError, match=said):
        client.export("orders", "feldera", 1, Path(out))
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"what was there"]


def test_a_service_without_names_of_operators_is_not_one_that_is_gone(tmp_path: Path) -> None:
    out = tmp_path / "operators.json"
    with serve(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as client:
        client.fetch_operators("orders", "id", out)
    assert not out.exists()
    with serve(None) as client, pytest.raises(SamplyOperatorError, match=BROKE):
        client.fetch_operators("orders", "id", out)


def test_a_download_that_ends_early_says_how_much_came() -> None:
    with (
        serve(build_answer(b"12345", more=7)) as client,
        pytest.raises(SamplyOperatorError, match=r"7 bytes .* after 5"),
    ):
        client.read_view("/", {})


def test_saving_leaves_the_users_own_files(tmp_path: Path) -> None:
    """Also those named as its temporary file could be."""
    (tmp_path / "a.zip.part").write_bytes(b"mine")
    with serve(build_answer(b"data")) as client:
        assert client.export("orders", "feldera", 1, tmp_path / "a.zip") == 4
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"a.zip": b"data", "a.zip.part": b"mine"}


LOG = 'E1129 19:31:11.343432     123 memcache.go:265] "Unhandled Error" err="no list: connection refused"\n'


@pytest.mark.parametrize(
    ("stderr", "message", "remedy"),
    [
        (LOG * 5 + "The connection to the server h:1 was refused - right host?", "The connection to the ", "--context"),
        (LOG * 5, '"Unhandled Error" err="no list: connection refused"', "--context"),
        ("W1129 19:31:11.3     1 a.go:1] b\nUnable to connect to the server: EOF", "Unable to connect", "--context"),
        ('error: context "x" does not exist', "error: context", "--context"),
        ('Error from server (NotFound): services "x" not found', '(NotFound): services "x"', "--namespace"),
        ('Error from server (Forbidden): "x" is forbidden', '(Forbidden): "x" is forbidden.', "docs/security.md"),
        (
            'Error from server (Forbidden): "x" is forbidden: exceeded quota: q',
            '(Forbidden): "x" is',
            "A quota, policy",
        ),
        ('Error from server (Forbidden): "x" is forbidden: maximum cpu is 1', '(Forbidden): "x" is', "A quota, policy"),
        (
            'Error from server (Forbidden): pods is forbidden: User "u" cannot get',
            "(Forbidden): pods",
            "docs/security.md",
        ),
        ('Error from server: admission webhook "w" denied the request: no', 'admission webhook "w"', "A quota, policy"),
        ('resource mapping not found: no matches for kind "SamplyProfile"', "resource mapping", "Install the operator"),
        ('The SamplyProfile "x" is invalid: \n* spec: Invalid\n* more', 'The SamplyProfile "x" is', ""),
        ("Warning: old\nError from server (BadRequest): a webhook said no", "(BadRequest): a webhook", ""),
        ("", "kubectl failed without a message.", "--context"),
    ],
)
def test_an_error_of_kubectl_is_its_message_without_its_log(
    stderr: str, message: str, remedy: str, tmp_path: Path
) -> None:
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{stderr}\nEND\nexit 1\n")
    program.chmod(0o755)
    kubectl = kubectls.Kubectl(program=str(program))
    with pytest.raises(KubeError) as caught:
        kubectl.run("get", "pods")
    assert caught.value.message.startswith(message)
    assert remedy in caught.value.remedy
    assert bool(remedy) is bool(caught.value.remedy)
    with pytest.raises(KubeError) as caught, kubectl.forward("tools", "so", 80):
        pass
    assert message.partition("): ")[2] in caught.value.message
    assert "memcache" not in caught.value.message
    assert remedy in caught.value.remedy


def test_a_port_is_found_after_lines_of_a_log(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{LOG}Forwarding from 127.0.0.1:4711 -> 80\nEND\nexec sleep 60\n")
    program.chmod(0o755)
    with kubectls.Kubectl(program=str(program)).forward("tools", "so", 80) as port:
        assert port == 4711
