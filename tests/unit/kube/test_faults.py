"""Responses of the API server and of runtimes become errors that state whether a retry helps."""

from __future__ import annotations

import json

import pytest

from samply_operator import errors
from samply_operator.kube import faults


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.KubeInvalid),
        (401, errors.KubeUnavailable),
        (403, errors.KubeForbidden),
        (404, errors.KubeNotFound),
        (406, errors.KubeInvalid),
        (409, errors.KubeConflict),
        (410, errors.KubeUnavailable),
        (422, errors.KubeInvalid),
        (429, errors.KubeUnavailable),
        (500, errors.KubeUnavailable),
        (503, errors.KubeUnavailable),
        (302, errors.KubeUnavailable),
    ],
)
def test_http_status_table(status: int, kind: type[errors.KubeError]) -> None:
    body = json.dumps({"kind": "Status", "message": "why", "reason": "Because"}).encode()
    error = faults.build_error(status, body, "GET /x")
    assert type(error) is kind
    assert error.message == f"GET /x: {status} why"
    assert error.details == {"status": status, "reason": "Because"}


VAP = (
    "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'no-exec' with binding 'no-exec' denied request: exec is "
    "forbidden in production"
)
WEBHOOK = 'admission webhook "validate.kyverno.svc-fail" denied the request: resource Pod/a/b was blocked'
LACKING = 'pods "p" is forbidden: User "u" cannot create resource "pods/exec" in API group "" in the namespace "n"'


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        pytest.param(422, VAP, errors.KubeDenied, id="a policy's default"),
        pytest.param(403, VAP, errors.KubeDenied, id="a policy that says Forbidden"),
        pytest.param(401, VAP, errors.KubeDenied, id="a policy that says Unauthorized"),
        pytest.param(413, VAP, errors.KubeDenied, id="a policy that says RequestEntityTooLarge"),
        pytest.param(400, WEBHOOK, errors.KubeDenied, id="a webhook, 400"),
        pytest.param(403, WEBHOOK, errors.KubeDenied, id="a webhook, 403"),
        pytest.param(500, WEBHOOK, errors.KubeDenied, id="a webhook, 500"),
        pytest.param(422, VAP.replace("Validating", "Mutating"), errors.KubeDenied, id="a mutating policy"),
        pytest.param(
            422,
            VAP.replace("exec is forbidden", "exec: permission denied"),
            errors.KubeDenied,
            id="in words of a runtime without the program",
        ),
        pytest.param(
            400,
            WEBHOOK.replace("was blocked", "may exec only while the container is not running as root"),
            errors.KubeDenied,
            id="in words of a runtime without the container",
        ),
        pytest.param(
            403, 'pods "p" is forbidden: violates PodSecurity "baseline"', errors.KubeDenied, id="Pod Security"
        ),
        pytest.param(403, 's "x" is forbidden: exceeded quota: q, requested: a=1', errors.KubeDenied, id="a quota"),
        pytest.param(403, LACKING, errors.KubeForbidden, id="a right that is missing"),
        pytest.param(403, "forbidden", errors.KubeForbidden, id="no reason given"),
        pytest.param(422, 'Pod "p" is invalid: spec: Forbidden', errors.KubeInvalid, id="validation"),
        pytest.param(
            500,
            'Internal error occurred: failed calling webhook "x"',
            errors.KubeUnavailable,
            id="an unavailable webhook",
        ),
    ],
)
def test_admission_refusals_are_recognized_with_any_status(
    status: int, text: str, kind: type[errors.KubeError]
) -> None:
    """They are not retryable, and no right of the operator is missing."""
    error = faults.build_error(status, json.dumps({"message": text}).encode(), "GET /api/v1/namespaces/n/pods/p/exec")
    assert type(error) is kind
    assert text in error.message


def test_a_policys_message_is_long_enough_for_an_image() -> None:
    image = "registry.example/proxy/" + "a" * 200 + "@sha256:" + "0" * 64
    text = VAP.replace("no-exec", "namespace." + "n" * 100).replace("exec is", f"not {image}, exec is")
    error = faults.build_error(422, json.dumps({"message": text}).encode(), "PATCH /api/v1/namespaces/n/pods/p")
    assert image in error.message


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff\xfe", b"null", b'{"message": 5}'])
def test_a_body_that_is_no_status_is_borne(body: bytes) -> None:
    assert isinstance(faults.build_error(502, body, "GET /x"), errors.KubeUnavailable)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ('exec: "sh": executable file not found in $PATH', errors.KubeInvalid, "CommandNotFound"),
        ('exec: "/x": stat /x: no such file or directory: unknown', errors.KubeInvalid, "CommandNotFound"),
        ("unable to upgrade connection: container not found (\"main\")", errors.KubeNotFound, "ContainerNotRunning"),
        ("container is in state EXITED, container is not running", errors.KubeNotFound, "ContainerNotRunning"),
        ("error dialing backend: EOF", errors.ExecFailed, "NoStatus"),
        ("", errors.ExecFailed, "NoStatus"),
    ],
)  # fmt: skip
def test_runtime_text_table(text: str, kind: type[errors.KubeError], reason: str) -> None:
    error = faults.build_exec_error(text)
    assert type(error) is kind
    assert error.details["reason"] == reason


def test_what_matters_of_a_runtimes_text_is_kept() -> None:
    text = (
        "Internal error occurred: error executing command in container: failed to exec in container: failed to start "
        'exec "24d0": OCI runtime exec failed: exec failed: unable to start container process: exec: "sh": executable '
        "file not found in $PATH"
    )
    wanted = 'The command does not exist in the container: exec: "sh": executable file not found in $PATH'
    assert faults.build_exec_error(text).message == wanted


@pytest.mark.parametrize("status", [400, 500])
def test_a_pod_without_its_container_is_not_found_at_the_handshake(status: int) -> None:
    body = b'{"message": "pod p does not have a host assigned"}'
    error = faults.build_error(status, body, "GET /api/v1/namespaces/s/pods/p/exec")
    assert isinstance(error, errors.KubeNotFound)
    assert error.details["reason"] == "ContainerNotRunning"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("a\nb\tc\x1b[31m", "a b c [31m"), ("x" * 20, "x" * 9 + "…"), ("", ""), ("ü" * 10, "ü" * 10)],
)
def test_foreign_text_is_one_bounded_line(text: str, wanted: str) -> None:
    assert faults.cut(text, 10) == wanted
