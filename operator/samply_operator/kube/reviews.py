"""Asks Kubernetes who a token is of (TokenReview), and what they may do with samplyprofiles (SubjectAccessReview).

    await review_token(client, token, audiences) -> Reviewed, or None: it is not good
    await review_access(client, reviewed, verb, namespace) -> bool

Both raise AccessUndecided if there is no answer: an error never grants access. Nothing is kept
here; the API server itself remembers a good token for up to 10 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from samply_operator.errors import AccessUndecided, KubeError, KubeForbidden
from samply_operator.model import names
from samply_operator.rules.access.credentials import EVERYWHERE

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
REVIEW_SECS = 4.0
"""Longest wait for an answer."""


class Creator(Protocol):
    """KubeClient, or the tests' fake."""

    async def create(self, path: str, body: Mapping[str, Any], *, timeout_secs: float = ...) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The identity of a token in Kubernetes."""

    username: str
    uid: str
    groups: tuple[str, ...]
    extra: Mapping[str, tuple[str, ...]]


async def review_token(client: Creator, token: str, audiences: Sequence[str]) -> Reviewed | None:
    status = await _ask(client, TOKEN_REVIEWS, build_token_review(token, audiences))
    return parse_token_review(status, audiences)


async def review_access(client: Creator, who: Reviewed, verb: str, namespace: str) -> bool:
    status = await _ask(client, ACCESS_REVIEWS, build_access_review(who, verb, namespace))
    return status.get("allowed") is True and status.get("denied") is not True


async def _ask(client: Creator, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        answer = await client.create(path, body, timeout_secs=REVIEW_SECS)
    except KubeForbidden as error:
        raise AccessUndecided(
            "The operator is not allowed to review tokens.",
            remedy="Grant it create on tokenreviews and subjectaccessreviews (as the chart does with rbac.create).",
        ) from error
    except KubeError as error:
        raise AccessUndecided("Kubernetes did not review the token.", remedy="Retry in a few seconds.") from error
    status = answer.get("status")
    return status if isinstance(status, dict) else {}


def build_token_review(token: str, audiences: Sequence[str]) -> dict[str, Any]:
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": list(audiences)},
    }


def parse_token_review(status: Mapping[str, Any], audiences: Sequence[str]) -> Reviewed | None:
    """None unless the token is valid for one of our audiences: an API server without audiences omits `audiences`."""
    raw = status.get("user") or {}
    is_ours = not set(status.get("audiences") or ()).isdisjoint(audiences)
    if status.get("authenticated") is not True or status.get("error") or not is_ours or not raw.get("username"):
        return None
    return Reviewed(
        username=str(raw["username"]),
        uid=str(raw.get("uid") or ""),
        groups=tuple(map(str, raw.get("groups") or ())),
        extra={str(key): tuple(map(str, values or ())) for key, values in (raw.get("extra") or {}).items()},
    )


def build_access_review(who: Reviewed, verb: str, namespace: str) -> dict[str, Any]:
    """EVERYWHERE checks all namespaces at once."""
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": who.username,
            "uid": who.uid,
            "groups": list(who.groups),
            "extra": {key: list(values) for key, values in who.extra.items()},
            "resourceAttributes": {
                "namespace": "" if namespace == EVERYWHERE else namespace,
                "verb": verb,
                "group": names.GROUP,
                "version": names.VERSION,
                "resource": names.PLURAL,
            },
        },
    }
