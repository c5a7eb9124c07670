"""Which Events of a namespace concern one pipeline, and which parts of an object may be disclosed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from samply_operator.rules.recording import failures

KINDS = ("SamplyProfile", "Pod", "StatefulSet")
MAX_EVENTS = 500
MAX_OBJECTS = 200
MAX_MESSAGE = 1024

Json = dict[str, Any]
Names = Mapping[str, Collection[str]]
"""Names of the objects, by kind."""


def choose_events(events: Iterable[Mapping[str, Any]], names: Names) -> tuple[Json, ...]:
    """Events of the named objects, oldest first; the newest if there are too many."""
    chosen = [
        _shorten_event(event)
        for event in events
        if (about := event.get("involvedObject") or {}).get("name") in names.get(str(about.get("kind")), ())
    ]
    chosen.sort(key=lambda event: (event["last_seen"], event["object"]))
    return tuple(chosen[-MAX_EVENTS:])


def _shorten_event(event: Mapping[str, Any]) -> Json:
    about, source = event.get("involvedObject") or {}, event.get("source") or {}
    first = event.get("firstTimestamp") or event.get("eventTime") or ""
    return {
        "object": f"{about.get('kind')}/{about.get('name')}",
        "type": str(event.get("type") or ""),
        "reason": str(event.get("reason") or ""),
        "message": failures.clean_text(str(event.get("message") or ""))[:MAX_MESSAGE],
        "count": int(event.get("count") or 1),
        "first_seen": str(first),
        "last_seen": str(event.get("lastTimestamp") or first),
        "from": str(source.get("component") or event.get("reportingComponent") or ""),
    }


def choose_objects(objects: Iterable[Mapping[str, Any]]) -> tuple[Json, ...]:
    """Newest first, without fields of the API server and other annotations."""
    newest = sorted(objects, key=_find_birth, reverse=True)
    return tuple(_shorten_object(each) for each in newest[:MAX_OBJECTS])


def _find_birth(raw: Mapping[str, Any]) -> str:
    return str((raw.get("metadata") or {}).get("creationTimestamp") or "")


def _shorten_object(raw: Mapping[str, Any]) -> Json:
    meta = raw.get("metadata") or {}
    kept = {key: meta[key] for key in ("name", "namespace", "uid", "creationTimestamp", "labels") if key in meta}
    return {"metadata": kept, "spec": raw.get("spec") or {}, "status": raw.get("status") or {}}
