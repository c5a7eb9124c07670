"""Builds the OpenAPI 3.1 document from openapi.yaml, the structs of responses and the table of statuses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from samply_operator import __version__, errors
from samply_operator.api.server import problems
from samply_operator.model.profile import Failure
from samply_operator.profiles import errors as profile_errors
from samply_operator.profiles.analysis.breakdown import Breakdown
from samply_operator.profiles.analysis.comparing import Comparison
from samply_operator.profiles.analysis.frame_tree import FrameTree
from samply_operator.profiles.analysis.merging import Merged
from samply_operator.profiles.analysis.summary import Summary
from samply_operator.profiles.analysis.timeline import Timeline
from samply_operator.profiles.attribution.naming import NodeNames
from samply_operator.rules.recording.preflight import Finding

Document = dict[str, Any]

SOURCE = Path(__file__).with_name("openapi.yaml")
STRUCTS = (Failure, Finding, Summary, Breakdown, NodeNames, Merged, Comparison, FrameTree, Timeline)
"""Rendered as they are: msgspec derives their schemas, and those of the structs in them."""
ERROR_MODULES = (errors, profile_errors)
"""Errors of other modules never leave the operator."""
ERROR_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After", 416: "Content-Range"}
ALWAYS = ("X-Request-Id", "Cache-Control")
OPTIONAL = "Optional-"
JSON = "application/json"


@cache
def read_source() -> Document:
    source: Document = msgspec.yaml.decode(SOURCE.read_bytes())
    return source


@cache
def list_codes() -> Mapping[str, tuple[int, str]]:
    """Every `error_code` that a client may see, with its status and meaning, in the order of statuses."""
    source = read_source()
    kinds = {kind.code: kind for kind in list_errors()}
    of_kinds = {code: (problems.find_status(kinds[code]), text) for code, text in source["x-error-codes"].items()}
    others = {code: (row["status"], row["meaning"]) for code, row in source["x-protocol-codes"].items()}
    return dict(sorted((of_kinds | others).items(), key=lambda row: (row[1][0], row[0])))


def list_errors() -> list[type[errors.SamplyOperatorError]]:
    """The classes that clients may see; RecordingFailed is stored, never answered."""
    found = (kind for module in ERROR_MODULES for kind in vars(module).values() if isinstance(kind, type))
    kinds = [kind for kind in found if issubclass(kind, errors.SamplyOperatorError)]
    return [kind for kind in dict.fromkeys(kinds) if kind is not errors.RecordingFailed]


def build(base_path: str = "") -> Document:
    """The whole document; `base_path` is where the paths begin."""
    source = read_source()
    components = source["components"]
    return {
        "openapi": source["openapi"],
        "info": {**source["info"], "version": __version__},
        "servers": [{"url": base_path or "/"}],
        "tags": source["tags"],
        "paths": {path: _build_path(item) for path, item in source["paths"].items()},
        "components": {
            **components,
            "schemas": _derive_schemas() | {name: _complete(each) for name, each in components["schemas"].items()},
            "headers": _build_headers(components["headers"]),
            "examples": _build_examples(),
        },
    }


def _build_path(item: Document) -> Document:
    built: Document = {}
    for method, operation in item.items():
        built[method] = _build_operation(operation)
        if method == "get":
            built["head"] = _build_head(built[method])
    return built


def _build_operation(operation: Document) -> Document:
    responses = {str(status): _build_response(each) for status, each in operation["responses"].items()}
    for status, response in _build_errors(_flatten(operation.get("x-errors", []))).items():
        responses[status] = _join(responses[status], response) if status in responses else response
    built: Document = {"security": [{"bearer": []}], **operation, "responses": dict(sorted(responses.items()))}
    built.pop("x-errors", None)
    if "parameters" in operation:
        built["parameters"] = [{"required": False, **each} for each in _flatten(operation["parameters"])]
    return built


def _build_head(get: Document) -> Document:
    """The same without bodies."""
    name, summary = get["operationId"], get["summary"]
    return get | {
        "operationId": name.replace("get", "head", 1) if name.startswith("get") else f"{name}Head",
        "summary": f"As GET, without the body: {summary[0].lower()}{summary[1:]}",
        "responses": {
            status: {key: value for key, value in response.items() if key != "content"}
            for status, response in get["responses"].items()
        },
    }


def _flatten(values: list[Any]) -> Iterable[Any]:
    """YAML's aliases put lists into lists."""
    for value in values:
        if isinstance(value, list):
            yield from _flatten(value)
        else:
            yield value


def _build_response(response: Document) -> Document:
    built = {**response, "headers": _refer_headers(response.get("x-headers", ()))}
    built.pop("x-headers", None)
    return built


def _refer_headers(names: Iterable[str]) -> Document:
    """Those that every response has, and `names`; one that ends in `?` may be absent."""
    return {
        name.removesuffix("?"): {"$ref": f"#/components/headers/{_name_header(name)}"} for name in (*ALWAYS, *names)
    }


def _name_header(name: str) -> str:
    return f"{OPTIONAL}{name[:-1]}" if name.endswith("?") else name


def _build_headers(headers: Document) -> Document:
    """Each twice: as one that is always there, and as one that may be."""
    must = {name: {**header, "required": True} for name, header in headers.items()}
    return must | {f"{OPTIONAL}{name}": header for name, header in headers.items()}


def _build_examples() -> Document:
    return {
        code: {
            "value": {"message": meaning.replace("`", ""), "error_code": code, "details": {"request_id": "5f0c2a91-1b"}}
        }
        for code, (_, meaning) in list_codes().items()
    }


def _build_errors(codes: Iterable[str]) -> dict[str, Document]:
    """One response for each status, with the codes that may come with it. InternalError may come from any operation."""
    names = {errors.SamplyOperatorError.code, *codes}
    by_status: dict[int, list[str]] = {}
    for code, (status, _) in list_codes().items():
        if code in names:
            by_status.setdefault(status, []).append(code)
    return {str(status): _build_error(status, found) for status, found in by_status.items()}


def _build_error(status: int, codes: list[str]) -> Document:
    table = list_codes()
    error = {"$ref": "#/components/schemas/Error"}
    schema = {"allOf": [error, {"properties": {"error_code": {"enum": codes}}}]}
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return {
        "description": "\n".join(f"`{code}`: {table[code][1]}" for code in codes),
        "headers": _refer_headers([ERROR_HEADERS[status]] if status in ERROR_HEADERS else []),
        "content": {JSON: {"schema": schema, "examples": examples}},
    }


def _join(first: Document, second: Document) -> Document:
    """Two responses of the same status and media type."""
    schemas = [each["content"][JSON]["schema"] for each in (first, second)]
    return {
        "description": f"{first['description']} {second['description']}",
        "headers": {name: value for name, value in second["headers"].items() if name in first["headers"]},
        "content": {JSON: {"schema": {"anyOf": schemas}}},
    }


def _derive_schemas() -> Document:
    _, derived = msgspec.json.schema_components(STRUCTS, ref_template="#/components/schemas/{name}")
    for schema in derived.values():
        schema["required"] = list(schema["properties"])  # what has a default is written all the same
        schema["description"] = cleandoc(schema.get("description", ""))  # Python 3.13 does so itself
    table = list_codes()
    lines = (f"- `{code}` ({status}): {meaning}" for code, (status, meaning) in table.items())
    return {**derived, "ErrorCode": {"type": "string", "description": "\n".join(lines), "enum": list(table)}}


def _complete(schema: Document) -> Document:
    """What has properties is an object, and all of them are required except those of `x-optional`."""
    if "items" in schema:
        return {**schema, "items": _complete(schema["items"])}
    if "properties" not in schema:
        return schema
    left = schema.get("x-optional", [])
    return {
        "type": "object",
        **{key: value for key, value in schema.items() if key != "x-optional"},
        "properties": {name: _complete(each) for name, each in schema["properties"].items()},
        "required": [name for name in schema["properties"] if name not in left],
    }
