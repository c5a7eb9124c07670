"""Specs that must be taken and refused, and every status that the operator writes: for the schema and the real API."""

from __future__ import annotations

from typing import Any

from samply_operator.model import manifest, profile
from samply_operator.model.comparison import BaselineProfile, Change, ComparisonStatus
from samply_operator.rules.recording import status
from samply_operator.rules.storage import comparison

NOW = 1_800_000_000.0

GOOD: list[dict[str, Any]] = [
    {"pipeline": "demo"},
    {"pipeline": "x" * 100, "ordinal": 0, "durationSeconds": 3600, "rateHz": 10000},
    {"pipeline": "Orders_1-EU.v2"},
    {"pipeline": "_-9"},
    {"pipeline": "p", "comparison": {"baseline": "None"}},
    {"pipeline": "p", "comparison": {"baseline": "SameHourYesterday", "regressedAbove": 2.5}},
    {"pipeline": "p", "attachments": []},
    {"pipeline": "p", "attachments": ["Stats", "Metrics", "CircuitProfile", "HeapProfile"]},
    {"pipeline": "p", "container": "pipeline-0", "mode": "InPlace", "preflightOnly": True, "process": "pipeline [x]"},
]
BAD: list[dict[str, Any]] = [
    {},
    {"pipeline": ""},
    {"pipeline": "x" * 101},
    {"pipeline": "a/b"},
    {"pipeline": ".."},
    {"pipeline": ".hidden"},
    {"pipeline": "a b"},
    {"pipeline": "Übung"},
    {"pipeline": "a;b"},
    {"pipeline": "a\\b"},
    {"pipeline": "a\nb"},
    {"pipeline": "a\x00"},
    {"pipeline": "\x7f"},
    {"pipeline": None},
    {"pipeline": "p", "ordinal": -1},
    {"pipeline": "p", "ordinal": "0"},
    {"pipeline": "p", "durationSeconds": 0},
    {"pipeline": "p", "durationSeconds": 3601},
    {"pipeline": "p", "durationSeconds": 1.5},
    {"pipeline": "p", "rateHz": 0},
    {"pipeline": "p", "rateHz": 10001},
    {"pipeline": "p", "container": "A"},
    {"pipeline": "p", "process": "a\tb"},
    {"pipeline": "p", "mode": "auto"},
    {"pipeline": "p", "preflightOnly": "yes"},
    {"pipeline": "p", "comparison": {}},
    {"pipeline": "p", "comparison": {"baseline": "Tomorrow"}},
    {"pipeline": "p", "comparison": {"baseline": "Last", "regressedAbove": -1}},
    {"pipeline": "p", "attachments": "Stats"},
    {"pipeline": "p", "attachments": ["stats"]},
    {"pipeline": "p", "attachments": ["Stats", None]},
    {"pipeline": "p", "duration": 1},
]

AT = "2026-01-31T09:30:00Z"
ENTRY = manifest.JournalEntry(
    id="u", namespace="n", name="o", pipeline="p", ordinal=0, step="Recording", pod="p-0", pod_uid="pu",
    container="c", container_id="ci", folder="/tmp/x", duration_secs=5, rate_hz=1000,
    requested_at=AT, admitted_at=AT, started_at=AT, ends_at=AT,
)  # fmt: skip
QUALITY = manifest.Quality(
    samples=1, threads=1, coverage=0.98, cpu_secs=1.5, lost_events=0, unresolved_percent=0.1, symbolicated=True,
    unresolved_by_library={"libc.so.6": 3.0},
    verdict="Idle",
)  # fmt: skip
MANIFEST = manifest.Manifest(
    id="u", namespace="n", name="o", pipeline="p", ordinal=0, outcome="Succeeded", requested_at=AT, finished_at=AT,
    file=manifest.StoredFile(size_bytes=1, sha256="0" * 64, raw_bytes=2), quality=QUALITY, warnings=("w",),
    attachments=(
        manifest.Attachment("Stats", "attachment-stats.json.gz", manifest.StoredFile(1, "0" * 64), AT),
        manifest.Attachment("HeapProfile", problem="m"),
    ),
)  # fmt: skip
STATUSES = {
    "pending": status.render_pending({}, "Queued", "m", NOW),
    "recording": status.render_recording({}, ENTRY, NOW),
    "collecting": status.render_collecting({}, ENTRY, NOW),
    "stored": status.render_stored({}, MANIFEST, NOW),
    "compared": comparison.render(
        {},
        ComparisonStatus(
            "Compared",
            "m",
            "+1.0 f",
            BaselineProfile("i", "n", AT),
            "cpu",
            *3 * [(Change("f", 1.0, 2.0, 1.0),)],
            notes=("n",),
            path="/v0",
            url="/console",
        ),
        NOW,
    ),
    "failed": status.render_failed({}, profile.Failure("Reason", "m", "r", "l"), NOW),
    "cancelled": status.render_cancelled({}, "m", NOW),
    "preflight passed": status.render_preflight_passed({}, ENTRY, ["w"], NOW),
}


def merge(patch: Any) -> Any:
    """What a JSON merge patch leaves: null removes."""
    if isinstance(patch, tuple):
        return list(patch)
    if not isinstance(patch, dict):
        return patch
    return {key: merge(value) for key, value in patch.items() if value is not None}
