"""Errors as responses: every class has a status, every body the same format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextvars import copy_context

import pytest

from samply_operator import errors
from samply_operator.api.server import problems

BASE = errors.SamplyOperatorError


def walk(kind: type[errors.SamplyOperatorError]) -> Iterator[type[errors.SamplyOperatorError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from walk(child)


OWN = [
    kind for kind in walk(BASE) if (kind.__module__ == errors.__name__ and "__init__" not in vars(kind)) or kind is BASE
]


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_each_error_is_in_the_table_and_answers_in_the_usual_shape(kind: type[errors.SamplyOperatorError]) -> None:
    assert kind in problems.STATUS
    response = problems.build_problem(kind("What.", remedy="How.", details={"a": 1}))
    assert response.status == problems.STATUS[kind]
    assert isinstance(response.body, bytes)
    request_id = response.headers["X-Request-Id"]
    assert request_id
    assert json.loads(response.body) == {
        "message": "What. How.",
        "error_code": kind.code,
        "details": {"a": 1, "request_id": request_id},
    }
    assert response.headers["Cache-Control"] == "no-store"


def test_retryable_errors_have_retry_after() -> None:
    for kind, status in problems.STATUS.items():
        headers = problems.build_problem(kind("x")).headers
        assert ("Retry-After" in headers) == (status in (429, 503)), kind
        assert not (kind.is_transient and status < 500)


def test_who_is_not_known_is_asked_for_a_token() -> None:
    assert problems.build_problem(errors.Unauthenticated("x")).headers["WWW-Authenticate"] == "Bearer"


def test_a_class_of_another_module_answers_as_its_base() -> None:
    kind = errors.RecordingFailed("Reason", "It failed.", "Do this.")
    assert problems.build_problem(kind).status == 500
    assert problems.find_status(type(kind)) == problems.STATUS[errors.ProfilingFailed]


def test_details_are_an_object_even_when_empty() -> None:
    body = problems.build_problem(errors.NoSamplyProfile("x")).body
    assert isinstance(body, bytes)
    assert list(json.loads(body)["details"]) == ["request_id"]


@pytest.mark.parametrize("given", ["0b5c2f4e-9a1d", "a" * 64, "req_1.2-3x"])
def test_the_id_that_a_proxy_gave_is_kept(given: str) -> None:
    assert copy_context().run(problems.name_request, given) == given


@pytest.mark.parametrize(
    "given", [None, "", "short", "a" * 65, "a b c d e f", 'x"}\n{"level', "ünïcödé-id", "a\r\nSet-Cookie"]
)
def test_an_id_that_could_harm_a_log_is_replaced(given: str | None) -> None:
    assert copy_context().run(problems.name_request, given) != given
