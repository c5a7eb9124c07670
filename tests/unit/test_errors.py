"""The tree of errors: complete in its docstring, each class with a fixed code and an HTTP status."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import samply_operator
from samply_operator import errors
from samply_operator.api.server import problems
from samply_operator.control import client
from samply_operator.control.messages import ErrorReply

Kind = type[errors.SamplyOperatorError]

for module in pkgutil.walk_packages(samply_operator.__path__, "samply_operator."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)


def walk(kind: Kind = errors.SamplyOperatorError) -> Iterator[Kind]:
    yield kind
    for child in kind.__subclasses__():
        yield from walk(child)


ALL = sorted({kind for kind in walk() if kind.__module__.startswith("samply_operator.")}, key=lambda k: k.__name__)
SHARED = {"RecordingFailed": "SamplyProfilingFailure"}
"""The one class that clients see as its base: inside the recorder it carries the Failure."""
each = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


def read_tree() -> dict[str, str]:
    """Class → base, as the docstring draws them."""
    stack: list[str] = []
    found = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"(?P<lines>[│├└─ ]*)(?P<name>[A-Z]\w+)(?:\s{2,}|$)", line)
        if match:
            depth = len(match["lines"]) // 4
            del stack[depth:]
            found[match["name"]] = stack[-1] if stack else ""
            stack.append(match["name"])
    return found


def test_the_docstring_draws_the_whole_tree() -> None:
    """Each class of errors.py is in it, below its base."""
    here = {
        kind.__name__: kind.__base__.__name__ for kind in ALL if kind.__module__ == errors.__name__ and kind.__base__
    }
    drawn = read_tree()
    assert drawn.pop("SamplyOperatorError") == ""
    del here["SamplyOperatorError"]
    assert drawn == here


def test_no_two_classes_have_the_same_code() -> None:
    """Except for the one that is reported as its base."""
    codes = [kind.code for kind in ALL if kind.__name__ not in SHARED]
    assert len(codes) == len(set(codes)), sorted(code for code in codes if codes.count(code) > 1)


@each
def test_every_class_has_a_code_of_its_own_in_camel_case(kind: Kind) -> None:
    """An inherited code would mislead clients."""
    assert re.fullmatch(r"[A-Z][A-Za-z]+", kind.code)
    if kind.__name__ in SHARED:
        assert kind.code == SHARED[kind.__name__]
    else:
        assert "code" in vars(kind)


@each
def test_every_class_has_an_http_status_that_fits(kind: Kind) -> None:
    """What is worth repeating is a 503, which clients repeat; a request's fault is a 4xx, nothing else is."""
    status = problems.find_status(kind)
    assert (400 <= status < 500) is issubclass(kind, errors.RequestError)
    if kind.is_transient:
        assert status == 503


@pytest.mark.parametrize(
    "kind", [kind for kind in ALL if kind.__module__ == errors.__name__], ids=lambda kind: kind.__name__
)
def test_every_class_of_the_tree_has_its_own_row_in_the_table(kind: Kind) -> None:
    """So that a new one is decided, not inherited by accident."""
    assert kind in problems.STATUS or kind.__name__ in SHARED


@pytest.mark.parametrize(
    "kind",
    [kind for kind in ALL if kind.__init__ is errors.SamplyOperatorError.__init__],
    ids=lambda kind: kind.__name__,
)
def test_an_error_survives_the_socket(kind: Kind) -> None:
    """What `operator` raised is what `api` answers: class, message, remedy, details."""
    error = kind("Wrong.", remedy="Do this.", details={"a": 1})
    built = client.build_error(ErrorReply(error.code, error.message, error.remedy, error.details))
    assert type(built) is kind
    assert (str(built), built.details) == ("Wrong. Do this.", {"a": 1})


def test_an_unknown_code_from_the_socket_is_the_base() -> None:
    """A newer operator may say something new."""
    assert type(client.build_error(ErrorReply("Newer", "x"))) is errors.SamplyOperatorError


def test_an_error_reads_as_message_and_remedy() -> None:
    """Without a stray blank when there is no remedy; its details are its own copy."""
    details = {"a": 1}
    error = errors.InvalidParam("Wrong.", details=details)
    details["a"] = 2
    assert (str(error), error.details) == ("Wrong.", {"a": 1})
