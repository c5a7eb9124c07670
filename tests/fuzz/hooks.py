"""Loaded by schemathesis: ids that are stored, and an additional check."""

from __future__ import annotations

import hashlib
from typing import Any

import schemathesis

PIPELINES = ("orders", "Customers_2")
STORED = tuple(f"00000000-0000-4000-8000-{number:012x}" for number in range(1, 8))


def _pick(text: str, choices: tuple[str, ...]) -> str:
    """In three of four cases an existing one; always the same for the same text."""
    number = int(hashlib.sha256(text.encode(errors="replace")).hexdigest(), 16)
    return text if number % 4 == 0 else choices[number // 4 % len(choices)]


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    if path_parameters:
        for name, choices in (("pipeline_name", PIPELINES), ("profile_id", STORED)):
            if isinstance(path_parameters.get(name), str):
                path_parameters[name] = _pick(path_parameters[name], choices)
    return path_parameters


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Dependencies between parameters: otherwise nearly every request is refused early."""
    if not query:
        return query
    for name in ("before", "after"):
        if isinstance(query.get(name), str):
            query[name] = _pick(query[name], STORED)
    if isinstance(query.get("signature"), str) and _pick(query["signature"], ("",)) == "":
        query.pop("signature")
    start, end = query.get("from"), query.get("to")
    if isinstance(start, int | float) and isinstance(end, int | float) and start > end:
        query["from"], query["to"] = end, start
    return query


@schemathesis.check
def no_internal_error(ctx: Any, response: Any, case: Any) -> None:
    """An internal error is never a valid response."""
    if response.status_code >= 500 and response.content:
        assert response.json()["error_code"] != "InternalError"
    assert b"Traceback" not in response.content
