"""What the API server and the network answer when it isn't what was asked, as errors of this project (pure).

build_error(status, body, what) -> KubeError      from an HTTP answer
build_exec_error(message, reason) -> KubeError    from the status of an exec that never got an exit code
cut(text, limit=500) -> str                       foreign text: one line, printable, bounded
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from samply_operator.errors import (
    ExecFailed,
    KubeConflict,
    KubeDenied,
    KubeError,
    KubeForbidden,
    KubeInvalid,
    KubeNotFound,
    KubeUnavailable,
)

BY_STATUS: dict[int, type[KubeError]] = {
    401: KubeUnavailable,  # the token of a deleted pod, or one not renewed yet: says nothing about a recording
    403: KubeForbidden,
    404: KubeNotFound,
    409: KubeConflict,
    408: KubeUnavailable,
    410: KubeUnavailable,  # an expired continue token: repeat the list
    429: KubeUnavailable,
}

REMEDIES: dict[int, str] = {
    401: "Check the ServiceAccount's token (projected volume) and the kubeconfig.",
    403: "Grant the verb in the Role of that namespace (the chart does).",
}

DENIED_REMEDY = "Exempt the operator's ServiceAccount from the policy in the message, or raise the quota."

COMMAND_MISSING = re.compile(
    r"executable file not found|stat .*no such file or directory"
    r"|exec: .*(no such file|permission denied|not a directory|is a directory|exec format error)",
    re.IGNORECASE,
)
CONTAINER_AWAY = re.compile(
    r"container not found|is not running|not found in pod|container .* not valid|container is not created or running"
    r"|does not have a host assigned|no running task|cannot exec in a (stopped|deleted)|pod does not exist"
    r"|task .* not found|failed to load task|process has already (exited|finished)",
    re.IGNORECASE,
)

NOT_AUTHORIZED = re.compile(r'forbidden: User ".*" cannot ')
"""The message of an authorizer; admission gives a reason instead."""

DENIED = re.compile(r"admission webhook .* denied the request|[Pp]olicy '.*' with binding '.*' denied request")
"""Prefixes of the API server before the message of a webhook or an admission policy, which choose the HTTP status
themselves. Built-in admission (Pod Security, quotas, limit ranges) answers 403 with "forbidden"."""

WEBHOOK_DOWN = "failed calling webhook"
"""Of the API server, when a webhook that must agree does not answer."""

DENIED_LIMIT = 1000
"""Characters of their messages."""

RUNTIME_PREAMBLE = re.compile(r"^.*unable to start container process: ")
"""Nested error prefixes and a long id that every runtime puts before the message."""


def cut(text: str, limit: int = 500) -> str:
    """External text made safe to log and show: one line, no control characters, limited length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def is_of_authorizer(status: int, body: bytes) -> bool:
    """Refused for a missing permission: permanently, or by an API server that has not read its roles yet."""
    return status == 403 and NOT_AUTHORIZED.search(str(read_status(body).get("message"))) is not None


def is_of_admission(status: int, text: str) -> bool:
    """Refused by a webhook, a policy or built-in admission, with its message."""
    if DENIED.search(text):
        return True
    return status == 403 and " is forbidden: " in text and NOT_AUTHORIZED.search(text) is None


def is_webhook_down(text: str) -> bool:
    """A webhook that must agree did not answer: not the fault of the pod or its node."""
    return WEBHOOK_DOWN in text


def read_status(body: bytes) -> dict[str, Any]:
    """The API server's Status object, or an empty one with the raw text as its message."""
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {"message": body.decode("utf-8", "replace")}
    return status if isinstance(status, dict) else {"message": str(status)}


def build_error(http_status: int, body: bytes, what: str) -> KubeError:
    """The error for an answer of `http_status` to `what` (such as "GET /api/v1/…"). details: status, reason."""
    answer = read_status(body)
    message = str(answer.get("message") or "no message")
    is_denied = DENIED.search(message) is not None
    # What a policy refuses it may name in full: an image, after the policy's own names.
    text = cut(message, DENIED_LIMIT if is_denied else 500)
    reason = str(answer.get("reason") or "")
    is_of_kubelet = what.endswith("/exec") and http_status not in BY_STATUS and not is_denied
    if is_of_kubelet and (error := find_container_error(text)) is not None:
        # A kubelet's "no such container" comes as 400 or 500, depending on version and component.
        return error
    kind = BY_STATUS.get(http_status) or (KubeInvalid if 400 <= http_status < 500 else KubeUnavailable)
    if is_of_admission(http_status, text):
        kind = KubeDenied
    return kind(
        f"{what}: {http_status} {text}",
        remedy=DENIED_REMEDY if kind is KubeDenied else REMEDIES.get(http_status, ""),
        details={"status": http_status, "reason": reason},
    )


def find_container_error(text: str) -> KubeError | None:
    """A permanent error in a runtime's text; None if there is none."""
    text = RUNTIME_PREAMBLE.sub("", text)
    if COMMAND_MISSING.search(text):
        return KubeInvalid(
            f"The command does not exist in the container: {cut(text)}",
            details={"status": None, "reason": "CommandNotFound"},
        )
    if CONTAINER_AWAY.search(text):
        return KubeNotFound(
            f"The container is not running: {cut(text)}", details={"status": None, "reason": "ContainerNotRunning"}
        )
    return None


def build_exec_error(message: str, reason: str = "") -> KubeError:
    """An exec that ended without an exit code: permanent if the text says so, else transient."""
    return find_container_error(message) or ExecFailed(
        f"The exec session ended without an exit code: {cut(message)}",
        details={"status": None, "reason": reason or "NoStatus"},
    )
