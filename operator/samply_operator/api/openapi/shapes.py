"""JSON schemas of what is answered, made from the same structs that the answers are made of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any, get_args

import msgspec

from samply_operator.api import params
from samply_operator.api.openapi import codes
from samply_operator.model.check import Check, Status
from samply_operator.model.manifest import Quality, RecordedTarget, StoredFile
from samply_operator.model.profile import Failure
from samply_operator.profiles.analysis.breakdown import Breakdown
from samply_operator.profiles.analysis.comparing import Comparison
from samply_operator.profiles.analysis.frame_tree import FrameTree
from samply_operator.profiles.analysis.merging import Merged
from samply_operator.profiles.analysis.summary import Summary
from samply_operator.profiles.analysis.timeline import Timeline
from samply_operator.profiles.attribution.naming import NodeNames
from samply_operator.rules.recording.preflight import Finding

Schema = dict[str, Any]

PLACE = "#/components/schemas/{name}"

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "description": "RFC 3339, in UTC.", "examples": ["2026-01-31T09:30:00.000Z"]}
ORDINAL: Schema = {"type": "integer", "minimum": 0, "maximum": params.MAX_ORDINAL}
WHOLE: Schema = {"type": "integer", "minimum": 0}
HREF: Schema = {
    "type": "string",
    "description": "A path of this host.",
    "examples": ["/v0/pipelines/orders/samply_profiles/0b5c2f6e-7a51-4c1e-9d3b-2f1f5a1c9e10"],
}
ID: Schema = {
    "type": "string",
    "description": "A profile: the uid of its SamplyProfile object.",
    "examples": ["0b5c2f6e-7a51-4c1e-9d3b-2f1f5a1c9e10"],
}

QUALITY = {
    "samples": "Samples taken.",
    "coverage": "Samples taken over samples due from the CPU time that the process used: 1 is all.",
    "lost_events": "Samples that the kernel dropped.",
    "unresolved_percent": "Share of the samples whose function has no name.",
    "unresolved_by_library": "The same of the samples in one library. Near 100 its binary is stripped.",
    "throttled_secs": "CPU time that the container's limit took while it was sampled.",
    "verdict": "Null: good. Else a word such as Idle.",
}
FILE = {
    "sha256": "Of the bytes that are served; also the ETag.",
    "raw_bytes": "Size after gunzip.",
}


def refer(name: str) -> Schema:
    return {"$ref": PLACE.format(name=name)}


def allow_null(schema: Schema) -> Schema:
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


def build_object(
    properties: Mapping[str, Schema], *, description: str = "", optional: Iterable[str] = (), example: Any = None
) -> Schema:
    """All properties are always there, but the `optional` ones."""
    left = set(optional)
    schema: Schema = {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in left],
    }
    if description:
        schema["description"] = description
    if example is not None:
        schema["examples"] = [example]
    return schema


def build_list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def describe_struct(
    kind: type[msgspec.Struct], texts: Mapping[str, str], *, description: str, has_nulls: bool = False
) -> Schema:
    """As `render` writes a struct: Python's names; with `has_nulls` null for an empty text."""
    properties = {}
    for field in msgspec.structs.fields(kind):
        schema = msgspec.json.schema(field.type)
        if has_nulls and schema.get("type") == "string":
            schema = allow_null(schema)
        properties[field.name] = schema | ({"description": texts[field.name]} if field.name in texts else {})
    return build_object(properties, description=description)


def build_schemas() -> dict[str, Schema]:
    """All of them, by name."""
    kinds = (Failure, Finding, Summary, Breakdown, NodeNames, Merged, Comparison, FrameTree, Timeline)
    _, derived = msgspec.json.schema_components(kinds, ref_template=PLACE)
    for schema in derived.values():
        schema["required"] = list(schema["properties"])  # what has a default is written all the same
        schema["description"] = cleandoc(schema.get("description", ""))  # Python 3.13 does so itself
    return {
        **derived,
        **_build_errors(),
        **_build_profiles(),
        **_build_pipelines(),
        **_build_acts(),
        **_build_service(),
    }


def _build_errors() -> dict[str, Schema]:
    table = codes.list_codes()
    return {
        "ErrorCode": {
            "type": "string",
            "description": "\n".join(f"- `{code}` ({status}): {meaning}" for code, (status, meaning) in table.items()),
            "enum": list(table),
        },
        "Error": build_object(
            {
                "message": {"type": "string", "description": "What is wrong, and what to do."},
                "error_code": refer("ErrorCode"),
                "details": {
                    **build_object({"request_id": {"type": "string", "description": "As `X-Request-Id`."}}),
                    "description": "Facts for machines; its other keys depend on the code.",
                },
            },
            description="Every error has this shape.",
        ),
    }


def _build_profiles() -> dict[str, Schema]:
    common: dict[str, Schema] = {
        "id": ID,
        "namespace": TEXT,
        "name": {"type": "string", "description": "Of the SamplyProfile object."},
        "pipeline_name": TEXT,
        "ordinal": ORDINAL,
        "requested_at": TIME,
        "duration_secs": {"type": "integer", "minimum": 0, "description": "Requested seconds."},
        "href": HREF,
    }
    attempt = {
        **common,
        "state": {"type": "string", "enum": ["Succeeded", "Failed"]},
        "started_at": allow_null(TIME),
        "finished_at": TIME,
        "rate_hz": WHOLE,
        "requested_by": allow_null({"type": "string", "description": "Who asked, where that is known."}),
        "target": refer("Target"),
        "quality": refer("Quality"),
        "warnings": build_list(TEXT),
        "pinned": allow_null(
            {"type": "boolean", "description": "Whether retention keeps it; null: the operator is away."}
        ),
        "file": refer("File"),
        "failure": refer("Failure"),
    }
    recording = {
        **common,
        "state": {"type": "string", "enum": ["Pending", "Recording", "Collecting", "Succeeded", "Failed", "Cancelled"]},
        "ends_at": allow_null({**TIME, "description": "When sampling ends; null until it began."}),
        "preflight_only": FLAG,
        "queue_position": allow_null({**WHOLE, "description": "Its place among all that wait; null: it doesn't wait."}),
    }
    file = describe_struct(StoredFile, FILE, description="The stored file.")
    file["properties"]["href"] = HREF
    file["required"].append("href")
    either: Schema = {"anyOf": [refer("Attempt"), refer("Recording")]}
    return {
        "Target": describe_struct(RecordedTarget, {}, description="Which process was sampled.", has_nulls=True),
        "Quality": describe_struct(
            Quality, QUALITY, description="How good the profile is. Null: not known.", has_nulls=True
        ),
        "File": file,
        "Attempt": build_object(attempt, description="A recording that ended.", optional=("file", "failure")),
        "Recording": build_object(recording, description="One that hasn't ended."),
        "Reference": build_object(
            {
                "id": ID,
                "finished_at": TIME,
                "coverage": allow_null({"type": "number", "description": QUALITY["coverage"]}),
                "verdict": allow_null({**TEXT, "description": QUALITY["verdict"]}),
                "href": HREF,
            },
            description="A stored profile in a few words.",
        ),
        "History": build_object(
            {
                "profiles": build_list(either),
                "next": allow_null({**ID, "description": "`after` for the next page; null: this is the last one."}),
            },
            description="Newest first; those that run are on top of the first page.",
        ),
    }


def _build_pipelines() -> dict[str, Schema]:
    status: Schema = {
        "type": "string",
        "enum": ["Running", "Stopped", "Gone", "Unknown"],
        "description": "Gone: only its profiles are left. Unknown: the operator is away.",
    }
    ordinal = {
        "ordinal": ORDINAL,
        "pod": allow_null(TEXT),
        "node": allow_null({**TEXT, "description": "Where the pod runs."}),
        "status": status,
        "in_progress": allow_null({**ID, "description": "The profile that is being taken."}),
        "last_profile": allow_null(refer("Reference")),
    }
    pipeline = {"name": TEXT, "namespace": TEXT, "status": status, "ordinals": build_list(refer("Ordinal"))}
    return {
        "Ordinal": build_object(ordinal, description="One pod of a pipeline."),
        "Pipeline": build_object(pipeline),
        "Pipelines": build_object(
            {
                "pipelines": build_list(refer("Pipeline")),
                "complete": {"type": "boolean", "description": "False while the operator is away."},
            }
        ),
    }


def _build_acts() -> dict[str, Schema]:
    started = {
        "ordinal": ORDINAL,
        "profile": ID,
        "state": {"type": "string", "enum": ["Pending", "Recording", "Ended"]},
        "href": HREF,
    }
    refused = {"ordinal": ORDINAL, "message": TEXT, "error_code": refer("ErrorCode"), "details": {"type": "object"}}
    preflight = {
        "verdict": {"type": "string", "enum": ["Go", "GoWithWarning", "Refuse"]},
        "pipeline_name": TEXT,
        "namespace": TEXT,
        "ordinal": ORDINAL,
        "profile": ID,
        "object": {"type": "string", "description": "Name of the SamplyProfile object that keeps the verdict."},
        "pod": allow_null(TEXT),
        "container": allow_null(TEXT),
        "mode": allow_null({"type": "string", "description": "How it would be recorded."}),
        "facts": {
            "type": "object",
            "description": "What was found where samply would run.",
            "additionalProperties": TEXT,
        },
        "findings": build_list(refer("Finding")),
        "failure": allow_null(refer("Failure")),
    }
    return {
        "Link": _build_link(),
        "Started": build_object(started),
        "Refused": build_object(refused, description="As the error of one ordinal."),
        "StartedAll": build_object(
            {"started": build_list(refer("Started")), "refused": build_list(refer("Refused"))},
            description="What became of each ordinal.",
        ),
        "Preflight": build_object(preflight, description="Whether a recording would work; nothing was recorded."),
    }


def _build_link() -> Schema:
    url: Schema = {
        "type": "string",
        "description": "The same with a host: from the settings, else as the request came.",
    }
    viewer = {"type": "string", "description": "Null where a browser wouldn't load it: neither https nor this machine."}
    return build_object(
        {"profile": ID, "expires_at": TIME, "href": HREF, "url": url, "firefox_profiler": allow_null(viewer)}
    )


_STATUS_OF_CHECK: Schema = {"type": "string", "enum": list(get_args(Status))}


def _build_check() -> Schema:
    texts = {
        "message": "What was found.",
        "remedy": "What to do; empty where it passed.",
        "namespace": "Empty: it is about the installation as a whole.",
    }
    return describe_struct(Check, texts, description="One check.")


def _build_service() -> dict[str, Schema]:
    operator: Schema = {"type": "string", "enum": ["Connected", "Away"]}
    return {
        "Config": build_object(
            {"edition": TEXT, "version": TEXT, "samply_operator": build_object({"version": TEXT})},
            example={"edition": "Enterprise", "version": "0.369.0", "samply_operator": {"version": "0.1.0"}},
        ),
        "Report": build_object(
            {"status": _STATUS_OF_CHECK, "checks": build_list(_build_check())},
            description="All checks; `status` is that of the worst.",
        ),
        "Health": build_object({"status": {"type": "string", "enum": ["ok"]}}),
        "Readiness": build_object({"status": TEXT, "operator": operator}),
    }
