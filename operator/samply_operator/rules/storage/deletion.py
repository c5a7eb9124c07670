"""May a profile go because its object is gone? Absence is not deletion.

A deletion counts only while what the object stood on still stands: the CRD's deletion, and a namespace's, delete every
object too, and no user meant the profiles by that. Where it isn't certain, the profile is an orphan: served as before,
left to retention.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from samply_operator.model.manifest import ObjectOrigin
from samply_operator.rules import times

Presence = Literal["Stands", "Leaving", "Absent", "Unknown"]
"""Leaving: being deleted. Unknown: nobody could be asked, or it mayn't be read."""

FRESH_SECS = 60.0
"""So long a deletion that was seen counts even if it isn't known where the object lived."""
PATIENCE_SECS = 7 * 86400.0
"""So long it is asked what the object stood on: a namespace whose Role is gone is never told of again."""
CONFIRM_SECS = 5.0
"""Where the CRD can't be read, the API server's list of kinds tells of its end, a little late."""


@dataclass(frozen=True, slots=True)
class ResourceState:
    """What objects stand on: a namespace, or the CRD. `uid` empty: it can't be read."""

    presence: Presence
    uid: str = ""


@dataclass(frozen=True, slots=True)
class OriginState:
    """How both stood when they were asked, which must be after the object was found missing."""

    namespace: ResourceState
    definition: ResourceState

    @property
    def origin(self) -> ObjectOrigin:
        """Of an object that is there at this time; empty parts are not known."""
        return ObjectOrigin(
            namespace_uid=self.namespace.uid if self.namespace.presence == "Stands" else "",
            definition_uid=self.definition.uid if self.definition.presence == "Stands" else "",
        )


@dataclass(frozen=True, slots=True)
class Remove:
    """The deletion is certain."""


@dataclass(frozen=True, slots=True)
class Keep:
    """It is an orphan."""

    why: str


@dataclass(frozen=True, slots=True)
class AskLater:
    after_secs: float
    why: str


Verdict = Remove | Keep | AskLater

NEXT_SWEEP_SECS = 60.0


def decide_seen(origin: ObjectOrigin, state: OriginState, *, seen_secs: float) -> Verdict:
    """The API server said that the object was deleted, `seen_secs` ago. `origin` is where it lived, if known."""
    verdict = _check_grounds(origin, state)
    if isinstance(verdict, AskLater) and seen_secs > PATIENCE_SECS:
        return Keep(f"{verdict.why}, for too long")
    if verdict is not None:
        return verdict
    if not origin.namespace_uid and seen_secs > FRESH_SECS:
        return Keep("it isn't known which cluster its object lived in")
    if not state.definition.uid and seen_secs < CONFIRM_SECS:
        return AskLater(CONFIRM_SECS - seen_secs, "the CRD itself can't be read")
    return Remove()


def decide_absent(
    origin: ObjectOrigin, state: OriginState, *, absent_secs: float, grace_secs: float, has_witness: bool
) -> Verdict:
    """Complete lists lack the object since `absent_secs`, and nobody saw it go.

    `has_witness`: an object that is older than it is still there, so the CRD was never deleted in between. It counts
    where the CRD's uid can't be read.
    """
    if not origin.namespace_uid:
        return Keep("it isn't known which cluster its object lived in")
    verdict = _check_grounds(origin, state)
    if verdict is not None:
        return verdict
    if not (origin.definition_uid and state.definition.uid) and not has_witness:
        return Keep("the CRD can't be read, and no older object shows that it was never deleted in between")
    if absent_secs < grace_secs:
        return AskLater(grace_secs - absent_secs, "its object is absent, but not for long")
    return Remove()


def has_witness(requested_at: str, created: Iterable[str]) -> bool:
    """Whether any of the objects made at `created` is older than the one made at `requested_at` (RFC 3339)."""
    try:
        before = times.parse_time(requested_at)
        return any(0 < times.parse_time(at) < before for at in created)
    except ValueError:
        return False


def _check_grounds(origin: ObjectOrigin, state: OriginState) -> Verdict | None:
    """None: both stand, and are those that the object stood on."""
    for name, ground, uid in (
        ("namespace", state.namespace, origin.namespace_uid),
        ("CRD", state.definition, origin.definition_uid),
    ):
        match ground.presence:
            case "Unknown":
                return AskLater(NEXT_SWEEP_SECS, f"the {name} can't be asked for")
            case "Leaving" | "Absent":
                return Keep(f"its {name} is {'being deleted' if ground.presence == 'Leaving' else 'gone'}")
            case "Stands" if uid and ground.uid and uid != ground.uid:
                return Keep(f"its object lived in another life of the {name}, or in another cluster")
    return None
