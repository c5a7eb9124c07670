"""Who asks, and what may they read: the one step between parsing a request and acting on it.

There is no authentication yet: everybody reads and starts everything that the operator serves. Every route goes
through here, so that this is the only place to change.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from aiohttp import web

from samply_operator import errors
from samply_operator.api.board import View
from samply_operator.rules import serve


@dataclass(frozen=True, slots=True)
class Caller:
    """`readable` None: all namespaces."""

    readable: Collection[str] | None = None

    def may_read(self, namespace: str) -> bool:
        return self.readable is None or namespace in self.readable


EVERYBODY = Caller()


async def admit(request: web.Request) -> Caller:
    """Identify the caller."""
    return EVERYBODY


def find_namespace(view: View, caller: Caller, pipeline: str, asked: str | None) -> str | None:
    """The namespace that a pipeline's name means to this caller; None: no readable one has it."""
    found = serve.decide_namespace(view.find_namespaces(pipeline), readable=caller.readable, asked=asked)
    return found if found is None else require_one(found, pipeline)


def require_one(found: str | serve.Ambiguous, pipeline: str) -> str:
    """Raises AmbiguousPipeline, which names the readable namespaces."""
    if isinstance(found, str):
        return found
    names = ", ".join(found.namespaces)
    raise errors.AmbiguousPipeline(
        f"Pipeline '{pipeline}' exists in several namespaces ({names}).",
        remedy="Add ?namespace= to say which is meant.",
        details={"pipeline_name": pipeline, "namespaces": list(found.namespaces)},
    )
