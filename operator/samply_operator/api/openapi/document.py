"""Puts schemas and operations together into one OpenAPI 3.1 document. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from samply_operator import __version__, errors
from samply_operator.api.openapi import codes, operations, parts, shapes
from samply_operator.api.openapi.parts import JSON, Answer, Operation, Param

Document = dict[str, Any]

DESCRIPTION = """\
CPU profiles of running Feldera pipelines, on demand. The paths of `samply_profile` are Feldera's own: its SDK, its web
console and its `curl` lines work here.

Unknown query keys are ignored; a known key given twice is refused. Every error has the schema `Error`. Each response
has an `X-Request-Id`, which finds it in the log."""

TAGS = {
    "Profiles": "Take, get, look through, stop and remove.",
    "Reading": "What is in a profile, without a viewer.",
    "Service": "What there is, and whether it answers.",
}
EVERYWHERE: tuple[parts.Kind, ...] = (errors.SamplyOperatorError,)
ERROR_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After", 416: "Content-Range"}
OPTIONAL = "Optional-"


def build(base_path: str = "") -> Document:
    """The whole document; `base_path` is where the paths begin."""
    paths: Document = {}
    for operation in operations.OPERATIONS:
        there = paths.setdefault(operation.path, {})
        there[operation.method] = _build_operation(operation)
        if operation.method == "get":
            there["head"] = _build_head(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "samply-operator",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_path or "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": shapes.build_schemas(),
            "headers": _build_headers(),
            "examples": _build_examples(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A Kubernetes token, a JWT or an API key, as the installation has it. "
                    "A Feldera API key is unknown here: 401.",
                }
            },
        },
    }


def _build_operation(operation: Operation) -> Document:
    responses = {str(answer.status): _build_response(answer) for answer in operation.answers}
    for status, response in _build_errors(operation).items():
        responses[status] = _join(responses[status], response) if status in responses else response
    built: Document = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": dict(sorted(responses.items())),
    }
    if operation.text:
        built["description"] = operation.text
    if operation.params:
        built["parameters"] = [_build_param(param) for param in operation.params]
    # Without a token: an installation may have authentication switched off.
    built["security"] = [] if operation.is_open else [{"bearer": []}]
    return built


def _build_head(operation: Operation) -> Document:
    """The same without bodies."""
    built = _build_operation(operation)
    responses = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in built["responses"].items()
    }
    summary = f"As GET, without the body: {operation.summary[0].lower()}{operation.summary[1:]}"
    return built | {
        "operationId": operation.id.replace("get", "head", 1)
        if operation.id.startswith("get")
        else f"{operation.id}Head",
        "summary": summary,
        "responses": responses,
    }


def _build_param(param: Param) -> Document:
    built: Document = {
        "name": param.name,
        "in": param.place,
        "required": param.is_required,
        "description": param.text,
        "schema": param.schema,
    }
    if param.example is not None:
        built["example"] = param.example
    return built


def _build_headers() -> Document:
    """Each twice: as one that is always there, and as one that may be."""
    built = {name: {"description": text, "schema": schema} for name, (schema, text) in parts.HEADERS.items()}
    must = {name: {**header, "required": True} for name, header in built.items()}
    return must | {f"{OPTIONAL}{name}": header for name, header in built.items()}


def _refer_headers(names: Iterable[str], optional: Iterable[str] = ()) -> Document:
    must = {name: {"$ref": f"#/components/headers/{name}"} for name in (*parts.ALWAYS, *names)}
    return must | {name: {"$ref": f"#/components/headers/{OPTIONAL}{name}"} for name in optional}


def _build_examples() -> Document:
    return {
        code: {
            "value": {"message": meaning.replace("`", ""), "error_code": code, "details": {"request_id": "5f0c2a91-1b"}}
        }
        for code, (_, meaning) in codes.list_codes().items()
    }


def _build_response(answer: Answer) -> Document:
    built: Document = {
        "description": answer.text,
        "headers": _refer_headers(answer.headers, answer.optional_headers),
    }
    if answer.content:
        built["content"] = {media: {"schema": schema} for media, schema in answer.content.items()}
    if answer.example is not None:
        built["content"][JSON]["examples"] = {"one": {"value": answer.example}}
    return built


def _build_errors(operation: Operation) -> dict[str, Document]:
    """One response for each status, with the codes that may come with it."""
    table = codes.list_codes()
    kinds: tuple[parts.Kind, ...] = (*EVERYWHERE, *operation.errors)
    names = {kind.code for kind in kinds} | set(operation.other_codes)
    by_status: dict[int, list[str]] = {}
    for code in table:
        if code in names:
            by_status.setdefault(table[code][0], []).append(code)
    return {str(status): _build_error(status, found) for status, found in sorted(by_status.items())}


def _build_error(status: int, found: list[str]) -> Document:
    table = codes.list_codes()
    header = ERROR_HEADERS.get(status)
    schema = {"allOf": [shapes.refer("Error"), {"properties": {"error_code": {"enum": found}}}]}
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in found}
    return {
        "description": "\n".join(f"`{code}`: {table[code][1]}" for code in found),
        "headers": _refer_headers((*parts.NO_STORE, *([header] if header else []))),
        "content": {JSON: {"schema": schema, "examples": examples}},
    }


def _join(first: Document, second: Document) -> Document:
    """Two answers of the same status and media type."""
    schemas = [each["content"][JSON]["schema"] for each in (first, second)]
    optional = {name: value for name, value in second["headers"].items() if name in first["headers"]}
    return {
        "description": f"{first['description']} {second['description']}",
        "headers": optional,
        "content": {JSON: {"schema": {"anyOf": schemas}}},
    }
