"""The OpenAPI document is complete and correct: compared with the routes, the error codes, its examples and the page.

That each answer of the contract tests is as the document says is checked where they ask (conftest.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from samply_operator import errors, settings
from samply_operator.api import app, params
from samply_operator.api.openapi import page
from samply_operator.api.openapi.document import JSON, list_codes, list_errors, read_source
from samply_operator.api.server import problems
from samply_operator.model import names
from samply_operator.model.check import Area, Status
from samply_operator.profiles import errors as profile_errors
from samply_operator.profiles.analysis import selection
from samply_operator.profiles.attribution import labels
from samply_operator.profiles.worker import jobs
from samply_operator.rules.serving import history
from support import openapi

from .conftest import Service

DOCUMENT = openapi.read_document()
PAGE = Path(__file__).parents[3] / "docs" / "http.md"
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item]


def walk(part: Any) -> Iterator[Any]:
    yield part
    for child in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from walk(child)


def walk_errors(kind: type[errors.SamplyOperatorError]) -> Iterator[type[errors.SamplyOperatorError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from walk_errors(child)


async def test_it_is_served(service: Service) -> None:
    """To everybody, and only once to the same client."""
    answer = await service.get("/openapi.json")
    assert answer.read_json() == DOCUMENT
    again = await service.get("/openapi.json", If_None_Match=answer.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


def test_routes_and_document_are_the_same() -> None:
    """A route without a description, or a description without a route, fails here."""
    routes = set()
    for table in app.TABLES:
        for route in table:
            assert isinstance(route, web.RouteDef)
            routes |= {(route.path, method) for method in [route.method.lower(), *["head"] * (route.method == "GET")]}
    assert routes == set(OPERATIONS)


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_every_route_is_on_the_page(path: str) -> None:
    """By its path, or by the part of it that comes after the pipeline's."""
    route = re.sub(r"{[^}]*}", "{}", path)
    page = re.sub(r"{[^}]*}", "{}", PAGE.read_text())
    assert f"{route}`" in page or f"{route}?" in page or f"{route.replace('/v0/pipelines/{}', '…')}`" in page


def test_every_reference_leads_somewhere() -> None:
    """And no component is there for nothing."""
    used = {part["$ref"] for part in walk(DOCUMENT) if isinstance(part, dict) and isinstance(part.get("$ref"), str)}
    assert used
    for reference in used:
        assert openapi.resolve({"$ref": reference})
    schemas = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert schemas <= used


def test_every_schema_is_valid() -> None:
    for part in walk(DOCUMENT):
        if isinstance(part, dict) and isinstance(part.get("schema"), dict):
            Draft202012Validator.check_schema(part["schema"])
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_an_operation_says_all_that_there_is_to_say(path: str, method: str) -> None:
    """Its path's parameters, a summary, its own id, and that anything may go wrong."""
    operation = DOCUMENT["paths"][path][method]
    named = {param["name"] for param in operation.get("parameters", ()) if param["in"] == "path"}
    assert named == set(re.findall(r"{(\w+)}", path))
    assert operation["summary"]
    assert "500" in operation["responses"]
    assert all(response["description"] for response in operation["responses"].values())
    ids = [each["operationId"] for item in DOCUMENT["paths"].values() for each in item.values()]
    assert ids.count(operation["operationId"]) == 1
    if operation["security"]:
        assert {"401", "403", "503"} <= set(operation["responses"])


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_examples_are_as_the_schema_says(path: str, method: str) -> None:
    """A copied example is what the service really returns."""
    for response in DOCUMENT["paths"][path][method]["responses"].values():
        for media in response.get("content", {}).values():
            schema = {**media["schema"], "components": DOCUMENT["components"]}
            for example in media.get("examples", {}).values():
                Draft202012Validator(schema).validate(openapi.resolve(example)["value"])


def find_parameter(operation_id: str, name: str) -> dict[str, Any]:
    operations = {each["operationId"]: each for item in DOCUMENT["paths"].values() for each in item.values()}
    return next(each["schema"] for each in operations[operation_id]["parameters"] if each["name"] == name)


@pytest.mark.parametrize(
    ("operation_id", "name", "key", "value"),
    [
        ("getSamplyProfile", "pipeline_name", "pattern", f"^{names.PIPELINE_NAME}$"),
        ("getSamplyProfile", "format", "enum", list(jobs.FORMATS)),
        ("getSamplyProfile", "measure", "enum", list(selection.MEASURES)),
        ("getSamplyProfile", "by", "enum", list(labels.BYS)),
        ("startSamplyProfile", "duration_secs", "maximum", settings.MAX_DURATION_SECS),
        ("startSamplyProfile", "rate_hz", "maximum", settings.MAX_RATE_HZ),
        ("startSamplyProfile", "mode", "enum", list(settings.MODES)),
        ("startSamplyProfile", "attachments", "pattern", f"^{params.KINDS_PATTERN}$"),
        ("preflightSamplyProfile", "ordinal", "maximum", params.MAX_ORDINAL),
        ("listSamplyProfiles", "state", "enum", list(history.STATES)),
        ("listSamplyProfiles", "limit", "maximum", params.MAX_PAGE),
        ("listSamplyProfiles", "limit", "default", params.PAGE),
        ("linkSamplyProfile", "expires_secs", "maximum", settings.MAX_LINK_SECS),
        ("summariseSamplyProfile", "output", "enum", list(params.OUTPUTS)),
        ("summariseSamplyProfile", "limit", "maximum", params.MAX_PAGE),
        ("summarisePipeline", "ids", "pattern", f"^{params.IDS_PATTERN}$"),
        ("compareSamplyProfiles", "output", "enum", list(params.DIFF_OUTPUTS)),
        ("getCallTree", "view", "enum", list(selection.VIEWS)),
        ("getCallTree", "by", "enum", list(selection.ROOTS)),
        ("getCallTree", "function", "pattern", f"^{params.KEY_PATTERN}$"),
        ("getCallTree", "threads", "pattern", f"^{params.RANGES_PATTERN}$"),
        ("getCallTree", "path", "pattern", f"^{params.KEYS_PATTERN}$"),
        ("getCallTree", "limit", "maximum", params.MAX_NODES),
        ("getCallTree", "limit", "default", params.NODES),
        ("getTimeline", "buckets", "maximum", params.MAX_BUCKETS),
        ("exportPipeline", "limit", "maximum", params.MAX_EXPORT),
        ("exportPipeline", "limit", "default", params.EXPORT),
    ],
)
def test_parameters_have_the_limits_of_the_code(operation_id: str, name: str, key: str, value: object) -> None:
    assert find_parameter(operation_id, name)[key] == value


def test_formats_and_checks_are_those_of_the_code() -> None:
    path = "/v0/pipelines/{pipeline_name}/samply_profiles/{profile_id}/profile"
    responses = DOCUMENT["paths"][path]["get"]["responses"]
    assert set(responses["200"]["content"]) == {"application/gzip", *jobs.MEDIA_TYPES.values()}
    report = DOCUMENT["components"]["schemas"]["Report"]["properties"]
    check = report["checks"]["items"]["properties"]
    assert set(check["area"]["enum"]) == set(get_args(Area))
    assert set(report["status"]["enum"]) == set(check["status"]["enum"]) == set(get_args(Status))


def test_every_error_class_has_a_meaning() -> None:
    """A new one is described before it is answered. Those of other modules never leave the operator."""
    own = {
        kind
        for kind in walk_errors(errors.SamplyOperatorError)
        if kind.__module__ in {errors.__name__, profile_errors.__name__} and kind is not errors.RecordingFailed
    }
    assert own == set(list_errors())
    assert sorted(kind.code for kind in own) == sorted(read_source()["x-error-codes"])


def test_every_code_is_in_the_document_and_on_the_page() -> None:
    """With its status; including codes without a class."""
    table = list_codes()
    assert DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"] == list(table)
    rows = re.findall(r"^\| `([A-Z]\w+)` \| ([0-9]{3}) \| ", PAGE.read_text(), re.MULTILINE)
    assert rows == [(code, str(status)) for code, (status, _) in table.items()], "run hack/docs"
    source = "".join(Path(module.__file__ or "").read_text() for module in (problems, app))
    said = set(re.findall(r"build_response\([^,]+, \"(\w+)\"", source))
    assert said
    assert said <= set(table)


def test_every_code_comes_with_its_own_status() -> None:
    for path, method in OPERATIONS:
        for status, response in DOCUMENT["paths"][path][method]["responses"].items():
            for name in response.get("content", {}).get(JSON, {}).get("examples", {}):
                if name in list_codes():
                    assert list_codes()[name][0] == int(status)


async def test_the_page_shows_all_of_it_and_loads_nothing(service: Service) -> None:
    """No script, no address of another host, and a policy that holds it to that."""
    answer = await service.get("/docs")
    text = answer.body.decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "<script" not in text
    assert " style=" not in text
    assert set(re.findall(r"(?:href|src)=\"([^#\"][^\"]*)\"", text)) == {"openapi.json"}
    targets = set(re.findall(r" id=\"([^\"]+)\"", text))
    assert set(re.findall(r"href=\"#([^\"]+)\"", text)) <= targets
    for path, method in OPERATIONS:
        if method != "head":
            assert DOCUMENT["paths"][path][method]["operationId"] in targets
    assert set(DOCUMENT["components"]["schemas"]) <= targets
    again = await service.get("/docs", If_None_Match=answer.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


def test_the_page_takes_no_text_for_markup() -> None:
    """What is described is escaped."""
    document = json.loads(json.dumps(DOCUMENT).replace("Take a profile", "<img src=x>"))
    assert "<img" not in page.render(document)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (418, {"X-Request-Id": "1"}, b""),
        (200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, b"{}"),
        (200, {"X-Request-Id": "1", "Cache-Control": "x", "Content-Type": "application/json"}, b'{"edition": 1}'),
        (200, {"X-Request-Id": "1", "Cache-Control": "x", "Content-Type": "text/html"}, b"x"),
        (
            200,
            {"X-Request-Id": "1", "Cache-Control": "x", "X-New": "1", "Content-Type": "application/json"},
            b'{"edition": "Open source", "version": "1"}',
        ),
        (
            200,
            {"X-Request-Id": "1", "Cache-Control": "x", "Content-Type": "application/json"},
            b'{"edition": "Open source", "version": "1", "more": 1}',
        ),
    ],
    ids=["status", "header missing", "body", "media type", "header too many", "property too many"],
)
def test_the_check_of_answers_can_fail(status: int, headers: dict[str, str], body: bytes) -> None:
    """Else it would prove nothing."""
    with pytest.raises(Exception):  # noqa: B017 - AssertionError or ValidationError
        openapi.check("GET", "/v0/config", status, headers, body)
