"""Checks a response against the OpenAPI document: status, headers, media type and JSON must match exactly.

The document itself is open, so that a client survives what a newer release adds; here each object is closed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import jsonschema
from jsonschema import Draft202012Validator
from multidict import CIMultiDict

from samply_operator.api.openapi import document

Json = dict[str, Any]

UNDOCUMENTED = frozenset({
    "accept-ranges", "connection", "content-length", "content-type", "date", "server", "transfer-encoding",
    "x-content-type-options", "referrer-policy", "vary", "access-control-allow-origin", "access-control-expose-headers",
})  # fmt: skip
"""Headers that HTTP itself, or every answer, has; of OpenAPI 3.1 Content-Type isn't documented as a header at all."""
PROTOCOL_CODES = {404: {"UnknownRoute"}, 405: {"MethodNotAllowed"}, 400: {"BadRequest"}, 500: {"InternalError"}}
"""Where no operation is meant."""


@cache
def read_document() -> Json:
    return document.build()


@cache
def _read_closed() -> Json:
    closed = deepcopy(read_document())
    for schema in closed["components"]["schemas"].values():
        close(schema)
    return closed


def close(schema: Json) -> None:
    """No property that isn't named. An error's details are its code's own."""
    if "properties" in schema:
        schema["additionalProperties"] = False
    for name, child in schema.get("properties", {}).items():
        if name != "details":
            close(child)
    for child in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        close(child)


@cache
def _compile_paths() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Fixed paths before those with parameters."""
    paths = sorted(read_document()["paths"], key=lambda path: (path.count("{"), path))
    return tuple((re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in paths)


def find_operation(method: str, path: str) -> Json | None:
    """The operation that a request means; `path` may have a query."""
    plain = path.partition("?")[0]
    found = next((template for pattern, template in _compile_paths() if pattern.fullmatch(plain)), None)
    return None if found is None else read_document()["paths"][found].get(method.lower())


def check(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raises AssertionError for what the document doesn't say."""
    headers = CIMultiDict(headers)
    if method == "OPTIONS" and "Access-Control-Allow-Methods" in headers:
        assert (status, body) == (204, b"")
        return
    operation = find_operation(method, path)
    where = f"{method} {path}: {status}"
    if operation is None or status == 405:
        assert json.loads(body)["error_code"] in PROTOCOL_CODES.get(status, set()), where
        return
    response = operation["responses"].get(str(status))
    assert response is not None, f"{where} is not documented"
    _check_headers(where, response, headers)
    if method == "HEAD":
        assert not body, where
        return
    _check_body(where, response, headers, body)


def _check_headers(where: str, response: Json, headers: Mapping[str, str]) -> None:
    known = {name.lower(): resolve(header) for name, header in response["headers"].items()}
    given = {name.lower(): value for name, value in headers.items()}
    assert set(given) - UNDOCUMENTED <= set(known), f"{where}: {set(given) - UNDOCUMENTED - set(known)}"
    for name, header in known.items():
        assert name in given or not header.get("required"), f"{where} lacks {name}"
        if name in given:
            schema = header["schema"]
            value: object = int(given[name]) if schema["type"] == "integer" else given[name]
            jsonschema.validate(value, schema)


def _check_body(where: str, response: Json, headers: Mapping[str, str], body: bytes) -> None:
    content = response.get("content")
    if not body and "Content-Type" not in headers:
        return
    if content is None:
        assert not body, where
        return
    media = headers.get("Content-Type", "")
    if not body and media == "application/octet-stream":
        return  # aiohttp's name for nothing
    documented = {name.replace("; ", ";"): each for name, each in content.items()}
    found = documented.get(media.replace("; ", ";"), documented.get(media.partition(";")[0]))
    assert found is not None, f"{where} is {media}; documented: {list(content)}"
    if media.startswith("application/json"):
        schema = {**found["schema"], "components": _read_closed()["components"]}
        Draft202012Validator(schema).validate(json.loads(body))


def resolve(part: Json) -> Json:
    """The target of a reference."""
    if "$ref" not in part:
        return part
    found: Any = read_document()
    for key in part["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return dict(found)
