"""Metrics of requests, by the template of their route, never by their path.

Called once at the end of each request: a poll costs about 100 µs, so children of metrics are cached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from aiohttp import web

from samply_operator.measures import API, count, gauge, histogram
from samply_operator.rules.access.permissions import Way, Who

SECS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
OTHER = "other"
"""Labels of requests without a route, and of invalid HTTP."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})

REQUESTS = count(API, "http_requests_total", "Responses, by the route's template.", ("route", "method", "status"))
DURATION = histogram(
    API, "http_request_duration_seconds", "From the request's head to the end of the response.", SECS, ("route",)
)
SENT_BYTES = count(API, "http_sent_bytes_total", "Bytes sent in bodies.", ("route",))
CONNECTIONS = gauge(API, "http_connections", "Open connections.")
CLOSED = count(
    API, "http_connections_refused_total", "Connections closed immediately, by the limit exceeded.", ("limit",)
)
REFUSED = count(API, "http_rate_limited_total", "Requests refused with 429, by the kind of caller.", ("caller",))
DECISIONS = count(
    API,
    "auth_decisions_total",
    "Decisions of authentication and authorization, the operator's included.",
    ("way", "outcome"),
)
CONNECTED = gauge(API, "operator_connected", "1 while api is connected to the operator over the socket.")
SNAPSHOT_SECS = gauge(
    API, "operator_snapshot_age_seconds", "Age of the operator's last snapshot; one is due every 4 s."
)
FAULTS = gauge(API, "store_unreadable_manifests", "Unreadable entries of the volume: omitted, and named in api's log.")
TLS_UNTIL = gauge(
    API, "tls_certificate_expiry_timestamp_seconds", "Unix time at which the certificate expires; 0: no TLS."
)

MAX_KEPT = 512

WAYS: Mapping[Way, str] = {
    "Kubernetes": "kubernetes",
    "Oidc": "jwt",
    "ApiKey": "api-key",
    "Feldera": "feldera",
    "Link": "link",
    "Unsafe": "none",
    "Unknown": "none",
}
"""How the caller was authenticated, as a label."""
CALLER = web.RequestKey("caller", Who)
"""The authenticated caller; not set without authentication."""
ROUTE = web.RequestKey("route", web.AbstractResource)
"""Set when a request was routed; never for invalid HTTP."""

Counted = tuple[Callable[[], None], Callable[[float], None], Callable[[float], None]]


def count_decision(way: str, outcome: str) -> None:
    """For authentication code. `way`: kubernetes, jwt, api-key, link, none; `outcome`: one of few words, such as
    allowed, hidden, unauthenticated, forbidden, unavailable."""
    _find_decision(way, outcome)()


def find_way(request: web.BaseRequest) -> str:
    """The label for `count_decision`."""
    who = request.get(CALLER)
    return WAYS[who.way] if who else "none"


@lru_cache(MAX_KEPT)
def _find_decision(way: str, outcome: str) -> Callable[[], None]:
    return DECISIONS.labels(way, outcome).inc


def count_request(request: web.BaseRequest, status: int, duration_secs: float, sent_bytes: int) -> None:
    add, observe, send = _find(find_route(request), request.method, status)
    add()
    observe(duration_secs)
    if sent_bytes:
        send(sent_bytes)


def find_route(request: web.BaseRequest) -> str:
    """The template that the path fits."""
    resource = request.get(ROUTE)
    return resource.canonical if resource else OTHER


@lru_cache(MAX_KEPT)
def _find(route: str, method: str, status: int) -> Counted:
    method = method if method in METHODS else OTHER
    return (
        REQUESTS.labels(route, method, str(status)).inc,
        DURATION.labels(route).observe,
        SENT_BYTES.labels(route).inc,
    )
