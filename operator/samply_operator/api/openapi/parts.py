"""What an operation is made of: parameters, headers, and answers by status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from samply_operator import errors
from samply_operator.api import params
from samply_operator.api.openapi import shapes
from samply_operator.api.openapi.shapes import Schema
from samply_operator.model import names
from samply_operator.profiles.attribution import labels
from samply_operator.settings import MAX_DURATION_SECS, MAX_RATE_HZ, MODES

Kind = type[errors.SamplyOperatorError]
JSON = "application/json"
BYTES: Schema = {"type": "string", "contentEncoding": "binary"}
PIPELINE_PATTERN = f"^{names.PIPELINE_NAME}$"
ID_PATTERN = "^[0-9a-f-]{36}$"


@dataclass(frozen=True, slots=True)
class Param:
    """One that may be left out, unless `is_required`."""

    name: str
    place: Literal["path", "query", "header"]
    schema: Schema
    text: str
    is_required: bool = False
    example: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes with one status. `content`: schemas by media type; none: an empty body."""

    status: int
    text: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    optional_headers: tuple[str, ...] = ()
    example: Any = None
    """Of the JSON body."""


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    id: str
    tag: str
    summary: str
    text: str = ""
    params: tuple[Param, ...] = ()
    answers: tuple[Answer, ...] = ()
    errors: tuple[Kind, ...] = ()
    other_codes: tuple[str, ...] = ()
    """Codes that no class stands for."""
    is_open: bool = False
    """Answered to everybody, without a token."""


NAME = Param(
    "pipeline_name",
    "path",
    {"type": "string", "pattern": PIPELINE_PATTERN},
    "The pipeline's name. An invalid name is unknown: 404.",
    is_required=True,
    example="orders",
)
PROFILE = Param(
    "profile_id",
    "path",
    {"type": "string"},
    "The profile's id.",
    is_required=True,
    example="0b5c2f6e-7a51-4c1e-9d3b-2f1f5a1c9e10",
)
ORDINAL = Param("ordinal", "query", {**shapes.ORDINAL, "default": 0}, "Which pod of the pipeline.")
ORDINALS = Param(
    "ordinal",
    "query",
    {"anyOf": [shapes.ORDINAL, {"const": params.ALL}], "default": 0},
    "Which pod of the pipeline; `all`: each of them.",
)
DURATION = Param(
    "duration_secs",
    "query",
    {"type": "integer", "minimum": 1, "maximum": MAX_DURATION_SECS},
    "Seconds to sample. Left out: as the installation says (30).",
    example=30,
)
RATE = Param(
    "rate_hz",
    "query",
    {"type": "integer", "minimum": 1, "maximum": MAX_RATE_HZ},
    "Samples per second and thread. Left out: as the installation says (1000).",
    example=1000,
)
MODE = Param(
    "mode",
    "query",
    {"type": "string", "enum": list(MODES)},
    "How samply gets to the process: it is in the container's image (`InPlace`), is copied there (`BringOwn`), runs in "
    "an ephemeral container (`Ephemeral`), or is run by Feldera (`Pipeline`). Left out: as the installation "
    "says (`Auto`).",
)
NAMESPACE = Param(
    "namespace",
    "query",
    {"type": "string", "pattern": "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"},
    "Needed only where several namespaces hold a pipeline of this name.",
)
LATEST = Param(
    "latest",
    "query",
    {"type": "boolean", "default": False},
    "Rather wait for the one that runs (204) than get an older one.",
)
FORMAT = Param(
    "format", "query", {"type": "string", "enum": list(params.FORMATS)}, "The same profile for other programs."
)
MEASURE = Param(
    "measure",
    "query",
    {"type": "string", "enum": list(params.MEASURES), "default": "samples"},
    "What stacks are weighed by, where `format` is given; pprof has both.",
)
BY = Param(
    "by",
    "query",
    {"type": "string", "enum": list(labels.BYS), "default": "function"},
    "What samples are counted for: functions; operators, where the file has the engine's markers; groups of functions, "
    "by rules on their names. Where a file is served, only with `format`.",
)
IF_NONE_MATCH = Param("If-None-Match", "header", {"type": "string"}, "Entity tags: 304 if the file is one of them.")
RANGE = Param(
    "Range", "header", {"type": "string"}, "One range of bytes; several give the whole.", example="bytes=0-1023"
)
IF_RANGE = Param(
    "If-Range", "header", {"type": "string"}, "The entity tag that the range belongs to; else the whole is sent."
)
IF_MATCH = Param("If-Match", "header", {"type": "string"}, "Entity tags: 412 if the file is none of them.")
TENANT = Param(
    "Feldera-Tenant",
    "header",
    {"type": "string"},
    "Which of the caller's tenants, for a token of Feldera's; ignored with any other.",
)

HEADERS: Mapping[str, tuple[Schema, str]] = {
    "X-Request-Id": ({"type": "string"}, "Finds the request in the log."),
    "Cache-Control": ({"type": "string"}, "How long the answer may be kept."),
    "Retry-After": ({"type": "integer", "minimum": 1}, "Seconds."),
    "WWW-Authenticate": ({"type": "string"}, "`Bearer`."),
    "Allow": ({"type": "string"}, "Methods that are possible here."),
    "Location": ({"type": "string"}, "Where the new profile is, and its facts will be; or where the file is."),
    "Content-Disposition": ({"type": "string"}, "`attachment` with the file's name."),
    "Content-Range": ({"type": "string"}, "Which bytes, of how many."),
    "Content-Security-Policy": ({"type": "string"}, "Of what may run scripts: only its own."),
    "ETag": ({"type": "string", "pattern": '^"[0-9a-f]{64}"$'}, "Strong; of a stored file its SHA-256."),
    "Last-Modified": ({"type": "string"}, "When the profile came to be."),
    "Accept-Ranges": ({"type": "string", "enum": ["bytes"]}, "Ranges of bytes are possible."),
    "Vary": ({"type": "string"}, "Request headers that the answer depends on."),
    "Samply-Last-Failure": (
        {"type": "string"},
        "There is a newer attempt, which failed: `<id>; reason=<Reason>`. Several are separated by commas.",
    ),
    "Samply-Missing-Ordinals": ({"type": "string"}, "Ordinals that have no profile, such as `2, 5`."),
}

ALWAYS = ("X-Request-Id",)
OF_A_FILE = ("ETag", "Last-Modified", "Cache-Control")
NO_STORE = ("Cache-Control",)
