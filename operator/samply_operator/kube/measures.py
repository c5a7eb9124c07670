"""Requests to the API server, counted for Prometheus."""

from __future__ import annotations

from samply_operator.measures import OPERATOR, count

REQUESTS = count(OPERATOR, "kubernetes_requests_total", "Requests to the API server, including exec.", ("method",))
ERRORS = count(
    OPERATOR, "kubernetes_errors_total", "Requests that the API server refused or did not answer.", ("method", "code")
)
