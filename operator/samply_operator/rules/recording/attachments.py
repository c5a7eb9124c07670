"""Which attachments a recording has, and when they are fetched."""

from __future__ import annotations

from collections.abc import Iterable

from samply_operator.model.attachment import BY_DEFAULT
from samply_operator.model.manifest import Attachment, JournalEntry
from samply_operator.model.pipeline import Target
from samply_operator.model.profile import SamplyProfile
from samply_operator.rules import times
from samply_operator.settings import Settings

LATE_SECS = 10.0
"""What is fetched this long after the end of sampling is still of the same seconds."""
TOO_LATE = "The operator was ended, or did not reach the pod, until sampling was long over."
NO_ROOM = "There was no room for it beside the profile."


def choose(profile: SamplyProfile, target: Target, settings: Settings) -> tuple[str, ...]:
    """What is asked for; a trigger's profile has the usual ones where Feldera can be asked about its pod."""
    if profile.spec.preflight_only:
        return ()
    if profile.spec.attachments is not None:
        return profile.spec.attachments
    return BY_DEFAULT if profile.trigger and settings.feldera.url and target.pipeline_id else ()


def find_wait(entry: JournalEntry, now: float) -> float:
    """Seconds until half of the sampling is over; 0 where its start is not known."""
    if not entry.started_at:
        return 0.0
    return max(0.0, times.parse_time(entry.started_at) + entry.duration_secs / 2 - now)


def is_too_late(entry: JournalEntry, now: float) -> bool:
    """Sampling is over for so long that Feldera would speak of other seconds."""
    if not entry.ends_at:
        return False
    end = times.parse_time(entry.ends_at)
    if entry.stopped_at and entry.mode != "Pipeline":  # Feldera cannot be told to stop
        end = min(end, max(times.parse_time(entry.started_at), times.parse_time(entry.stopped_at)))
    return now > end + LATE_SECS


def describe_missing(attachments: Iterable[Attachment]) -> tuple[str, ...]:
    """One sentence for each reason."""
    missing: dict[str, list[str]] = {}
    for each in attachments:
        if each.problem:
            missing.setdefault(each.problem, []).append(each.kind)
    return tuple(f"Without the attachments {', '.join(kinds)}: {problem}" for problem, kinds in missing.items())
