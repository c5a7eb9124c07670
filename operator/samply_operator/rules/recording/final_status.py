"""The final status of an object from its stored manifest, and the expiry of objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from samply_operator.model import names
from samply_operator.model.manifest import Manifest
from samply_operator.model.profile import SamplyProfile, StoredStatus
from samply_operator.rules import times
from samply_operator.rules.recording import failures, status

Render = Callable[[Mapping[str, Any]], status.Status]


def choose_render(manifest: Manifest, now: float) -> Render:
    """How to render the object's status from the result of its attempt."""
    known = status.render_attempt(manifest)
    if manifest.outcome == "Succeeded":
        return lambda old: status.render_stored(old, manifest, now) | known
    failure = manifest.failure or failures.build_failure("InternalError", "It failed; the reason is unknown.")
    found = status.render_file(manifest) | {"warnings": list(manifest.warnings)}
    return lambda old: status.render_failed(old, failure, now) | found | known


def is_expired(profile: SamplyProfile, now: float, ttl_secs: float) -> bool:
    """True for an ended object without a stored profile or a pin, `ttl_secs` after its end or removal."""
    stored = profile.status.profile or StoredStatus()
    if not profile.has_ended or names.PIN in profile.annotations or (stored.id and not stored.removed_at):
        return False
    try:
        ended = times.parse_time(stored.removed_at or profile.status.finished_at or "")
    except ValueError:
        return False
    return ended > 0 and now - ended > ttl_secs
