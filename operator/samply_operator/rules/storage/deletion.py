"""Whether a profile may be removed because its object is gone. Absence is not deletion.

A deletion counts only while the object's namespace and CRD still exist: their deletion deletes every object too, and
users do not mean to delete profiles with it. If it is not certain, the profile is an orphan: still served, and subject
to retention.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from samply_operator.model.manifest import ObjectOrigin
from samply_operator.rules import times

Presence = Literal["Stands", "Leaving", "Absent", "Unknown"]
"""Leaving: being deleted. Unknown: it could not be read, or may not be."""

FRESH_SECS = 60.0
"""For this long an observed deletion counts even if the object's origin is unknown."""
MAX_DOUBT_SECS = 7 * 86400.0
"""How long to wait for the state of namespace and CRD: a namespace whose Role is gone never reports again."""
CONFIRM_SECS = 5.0
"""If the CRD cannot be read, the API server's list of kinds shows its deletion, with a delay."""


@dataclass(frozen=True, slots=True)
class ResourceState:
    """A namespace or the CRD. `uid` empty: it cannot be read."""

    presence: Presence
    uid: str = ""


@dataclass(frozen=True, slots=True)
class OriginState:
    """The state of both, read after the object was found missing."""

    namespace: ResourceState
    definition: ResourceState

    @property
    def origin(self) -> ObjectOrigin:
        """The origin of an object that exists now; empty parts are unknown."""
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
    """For a deletion that the API server reported `seen_secs` ago. `origin` is the object's, if known."""
    verdict = _check_origin(origin, state)
    if isinstance(verdict, AskLater) and seen_secs > MAX_DOUBT_SECS:
        return Keep(f"{verdict.why} for too long")
    if verdict is not None:
        return verdict
    if not origin.namespace_uid and seen_secs > FRESH_SECS:
        return Keep("it isn't known which cluster its object lived in")
    if not state.definition.uid and seen_secs < CONFIRM_SECS:
        return AskLater(CONFIRM_SECS - seen_secs, "the CRD itself cannot be read")
    return Remove()


def decide_absent(
    origin: ObjectOrigin, state: OriginState, *, absent_secs: float, grace_secs: float, has_older_object: bool
) -> Verdict:
    """For an object that is missing in complete lists since `absent_secs`, without an observed deletion.

    `has_older_object`: an older object still exists, so the CRD was not deleted in between. It counts if the CRD's uid
    cannot be read."""
    if not origin.namespace_uid:
        return Keep("it isn't known which cluster its object lived in")
    verdict = _check_origin(origin, state)
    if verdict is not None:
        return verdict
    if not (origin.definition_uid and state.definition.uid) and not has_older_object:
        return Keep("the CRD cannot be read, and no older object proves that it was not deleted in between")
    if absent_secs < grace_secs:
        return AskLater(grace_secs - absent_secs, "its object is absent, but not for long")
    return Remove()


def has_older_object(requested_at: str, created: Iterable[str]) -> bool:
    """Whether any of the objects created at `created` is older than the one created at `requested_at` (RFC 3339)."""
    try:
        before = times.parse_time(requested_at)
        return any(0 < times.parse_time(at) < before for at in created)
    except ValueError:
        return False


def _check_origin(origin: ObjectOrigin, state: OriginState) -> Verdict | None:
    """None: both exist and are the object's own."""
    for name, owner, uid in (
        ("namespace", state.namespace, origin.namespace_uid),
        ("CRD", state.definition, origin.definition_uid),
    ):
        match owner.presence:
            case "Unknown":
                return AskLater(NEXT_SWEEP_SECS, f"the {name} cannot be read")
            case "Leaving" | "Absent":
                return Keep(f"its {name} is {'being deleted' if owner.presence == 'Leaving' else 'gone'}")
            case "Stands" if uid and owner.uid and uid != owner.uid:
                return Keep(f"its object belonged to an earlier {name} of the same name, or to another cluster")
    return None
