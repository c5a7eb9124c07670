"""The base path: where this service begins beside others under one host. Routes are there both with and without it;
links that are given out have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import ContextVar

from aiohttp import web

current: ContextVar[str] = ContextVar("base_path", default="")
"""Of the application that answers the request; set for each request, read to build links."""

ROOT_ONLY = frozenset({"/", "/healthz", "/readyz"})
"""Of the kubelet and of load balancers: no proxy publishes them."""


def mount(table: Iterable[web.AbstractRouteDef], base_path: str) -> Iterator[web.AbstractRouteDef]:
    """The routes of a table, and those below the base path."""
    for route in table:
        yield route
        if base_path and isinstance(route, web.RouteDef) and route.path not in ROOT_ONLY:
            yield web.RouteDef(route.method, base_path + route.path, route.handler, route.kwargs)
