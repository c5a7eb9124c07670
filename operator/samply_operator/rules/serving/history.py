"""Which attempts and recordings the reader of a history asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from samply_operator.model.manifest import Manifest
from samply_operator.rules import times

State = Literal["Running", "Succeeded", "Failed"]
STATES: tuple[State, ...] = ("Running", "Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Filter:
    """All must hold; None or empty: any does. `words`: in lower case, each a part of one of the texts. `since` and
    `until`, which is not included: Unix time of the end, or, of what runs, of the request."""

    ordinal: int | None = None
    state: State | None = None
    words: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None


def is_attempt_wanted(wanted: Filter, found: Manifest) -> bool:
    target, trigger = found.target, found.trigger
    failure = (found.failure.reason, found.failure.message) if found.failure else ()
    texts = (found.id, found.requested_by, trigger.name if trigger else "", target.mode, target.pod, target.node)
    verdict = found.quality.verdict or ""
    return is_wanted(wanted, found.ordinal, found.outcome, found.finished_at, (*texts, verdict, *failure))


def is_wanted(wanted: Filter, ordinal: int, state: State, time: str, texts: Iterable[str]) -> bool:
    return (
        wanted.ordinal in (None, ordinal)
        and wanted.state in (None, state)
        and _is_within(wanted, time)
        and _has_words(wanted.words, texts)
    )


def _is_within(wanted: Filter, time: str) -> bool:
    if wanted.since is None and wanted.until is None:
        return True
    try:
        unix = times.parse_time(time)
    except ValueError:
        return False
    return (wanted.since is None or wanted.since <= unix) and (wanted.until is None or unix < wanted.until)


def _has_words(words: tuple[str, ...], texts: Iterable[str]) -> bool:
    if not words:
        return True
    text = "\n".join(texts).lower()
    return all(word in text for word in words)
