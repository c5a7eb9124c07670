"""All routes of the api: those that need no token, and those that do."""

from __future__ import annotations

from support.service import make_id

PROFILE = "/v0/pipelines/orders/samply_profile"
HISTORY = f"{PROFILE}s"
ATTACHMENT = "attachment-stats.json.gz"
OPEN = ("/", "/healthz", "/readyz", "/v0/config", "/openapi.json", "/docs")
GUARDED = (
    ("GET", "/v0/pipelines"),
    ("GET", "/v0/doctor"),
    ("POST", "/v0/alerts"),
    ("GET", PROFILE),
    ("HEAD", PROFILE),
    ("GET", f"{PROFILE}?ordinal=all"),
    ("POST", PROFILE),
    ("POST", f"{PROFILE}?ordinal=all"),
    ("POST", f"{PROFILE}/preflight"),
    ("GET", HISTORY),
    ("GET", f"{HISTORY}/{make_id(1)}"),
    ("GET", f"{HISTORY}/{make_id(1)}/profile"),
    ("GET", f"{HISTORY}/{make_id(1)}/summary"),
    ("GET", f"{HISTORY}/{make_id(1)}/operators"),
    ("GET", f"{HISTORY}/{make_id(1)}/attachments/{ATTACHMENT}"),
    ("GET", f"{HISTORY}/{make_id(1)}/tree"),
    ("GET", f"{HISTORY}/{make_id(1)}/timeline"),
    ("GET", f"/v0/pipelines/orders/diff?before={make_id(1)}&after={make_id(1)}"),
    ("GET", "/v0/pipelines/orders/export"),
    ("GET", "/v0/pipelines/orders/summary"),
    ("GET", "/v0/pipelines/orders/summary?since=2026-01-01T00:00:00Z"),
    ("POST", f"{HISTORY}/{make_id(1)}/links"),
    ("POST", f"{HISTORY}/{make_id(1)}/stop"),
    ("PUT", f"{HISTORY}/{make_id(1)}/pin"),
    ("DELETE", f"{HISTORY}/{make_id(1)}/pin"),
    ("DELETE", f"{HISTORY}/{make_id(1)}"),
)
