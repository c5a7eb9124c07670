"""Reviews: only an unambiguous yes grants access, and a missing answer never does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from samply_operator.errors import AccessUndecided, KubeForbidden, KubeInvalid, KubeUnavailable
from samply_operator.kube import reviews

AUDIENCES = ("samply-operator", "other")
USER = {"username": "system:serviceaccount:a:b", "uid": "u", "groups": ["g"], "extra": {"k": ["v"]}}
GOOD = {"authenticated": True, "audiences": ["samply-operator"], "user": USER}
WHO = reviews.Reviewed("system:serviceaccount:a:b", "u", ("g",), {"k": ("v",)})


class Server:
    """Answers every review with one status, or an error."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def create(self, path: str, body: Mapping[str, Any], *, timeout_secs: float = 0) -> dict[str, Any]:
        self.asked.append((path, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"status": self.answer}


async def test_a_good_token_is_known_and_what_was_asked() -> None:
    server = Server(GOOD)
    assert await reviews.review_token(server, "secret", AUDIENCES) == WHO
    path, body = server.asked[0]
    assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
    assert body["spec"] == {"token": "secret", "audiences": ["samply-operator", "other"]}


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({}, id="nothing"),
        pytest.param(None, id="no status"),
        pytest.param(GOOD | {"authenticated": False}, id="not authenticated"),
        pytest.param(GOOD | {"authenticated": "true"}, id="a text"),
        pytest.param(GOOD | {"audiences": []}, id="without audiences"),
        pytest.param(GOOD | {"audiences": ["https://kubernetes.default.svc"]}, id="for the API server"),
        pytest.param({k: v for k, v in GOOD.items() if k != "audiences"}, id="a server that knows no audiences"),
        pytest.param(GOOD | {"error": "token expired"}, id="with an error"),
        pytest.param(GOOD | {"user": {}}, id="without a user"),
    ],
)
async def test_statuses_that_do_not_authenticate(status: Any) -> None:
    assert await reviews.review_token(Server(status), "secret", AUDIENCES) is None


async def test_access_is_asked_for_the_very_user() -> None:
    server = Server({"allowed": True})
    assert await reviews.review_access(server, WHO, "create", "demo")
    path, body = server.asked[0]
    assert path == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert body["spec"] == {
        "user": "system:serviceaccount:a:b",
        "uid": "u",
        "groups": ["g"],
        "extra": {"k": ["v"]},
        "resourceAttributes": {
            "namespace": "demo",
            "verb": "create",
            "group": "samply.feldera.com",
            "version": "v1alpha1",
            "resource": "samplyprofiles",
        },
    }


@pytest.mark.parametrize(
    "status", [{}, None, {"allowed": False}, {"allowed": "true"}, {"allowed": True, "denied": True}], ids=repr
)
async def test_statuses_that_do_not_allow(status: Any) -> None:
    assert not await reviews.review_access(Server(status), WHO, "get", "demo")


@pytest.mark.parametrize("error", [KubeUnavailable("no answer"), KubeForbidden("no right"), KubeInvalid("what?")])
async def test_a_failed_review_is_undecided(error: Exception) -> None:
    for ask in (
        reviews.review_token(Server(error), "secret", AUDIENCES),
        reviews.review_access(Server(error), WHO, "get", "demo"),
    ):
        with pytest.raises(AccessUndecided) as caught:
            await ask
        assert "secret" not in str(caught.value)
