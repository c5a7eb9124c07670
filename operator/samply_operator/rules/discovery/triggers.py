"""The annotation trigger: its value, its conversion to a claim, and the names of a claim's objects.

One annotation creates exactly one profile per ordinal, whatever is killed in between: a JSON patch with a `test`
converts the trigger to a claim `<uuid>/<value>`; the objects' names follow from the uuid; then the claim is removed. A
claim that could not be completed at once becomes `<uuid>/<value>#<ordinals with objects>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from samply_operator.errors import InvalidSpec
from samply_operator.model import names
from samply_operator.rules import times

_CLAIM = re.compile(
    r"(?P<request>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/(?P<value>[^#]*)(#(?P<made>[0-9,]*))?",
    re.DOTALL,
)

Patch = list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Claim:
    """A trigger in progress: `request` is the uuid that names its objects."""

    request: str
    duration_secs: int
    text: str
    made: frozenset[int] = frozenset()
    """Ordinals whose objects were created."""


def _pointer(annotation: str) -> str:
    return "/metadata/annotations/" + annotation.replace("~", "~0").replace("/", "~1")


def render_claim(request: str, value: str) -> str:
    return f"{request}/{value}"


def parse_claim(text: str) -> Claim:
    """Raises InvalidSpec for an annotation that the operator did not write."""
    match = _CLAIM.fullmatch(text)
    if match is None:
        raise InvalidSpec(
            f"The annotation {names.CLAIM} is reserved for the operator.", remedy=f"Set {names.TRIGGER} instead."
        )
    made = frozenset(int(ordinal) for ordinal in (match["made"] or "").split(",") if ordinal)
    return Claim(match["request"], times.parse_duration(match["value"]), text, made)


def build_claim_patch(value: str, request: str) -> Patch:
    """Trigger → claim. Fails completely if the trigger was changed or removed in between."""
    return [
        {"op": "test", "path": _pointer(names.TRIGGER), "value": value},
        {"op": "remove", "path": _pointer(names.TRIGGER)},
        {"op": "add", "path": _pointer(names.CLAIM), "value": render_claim(request, value)},
    ]


def build_progress_patch(claim: Claim, made: Iterable[int]) -> Patch:
    """Records in the claim which ordinals have their objects."""
    listed = ",".join(map(str, sorted(made)))
    return [
        {"op": "test", "path": _pointer(names.CLAIM), "value": claim.text},
        {"op": "replace", "path": _pointer(names.CLAIM), "value": f"{claim.text.partition('#')[0]}#{listed}"},
    ]


def describe_refusals(refused: Mapping[int, str]) -> str:
    """Groups ordinals with the same reason."""
    by_reason: dict[str, list[int]] = {}
    for ordinal, why in sorted(refused.items()):
        by_reason.setdefault(why, []).append(ordinal)
    return " ".join(
        f"ordinal{'s' if len(ordinals) > 1 else ''} {', '.join(map(str, ordinals))}: {why}"
        for why, ordinals in by_reason.items()
    )


def find_cure(message: str) -> str:
    """Remedy for an object that the API server refused, by its message."""
    if "exceeded quota" in message:
        return "Delete SamplyProfiles that have ended, or raise the ResourceQuota of the namespace."
    if 'unknown field "spec.' in message:
        return "The CRD of SamplyProfiles is older than the operator: apply the one of the same version."
    if "is invalid" in message:
        return "Correct the value named in the message."
    return "Ask the owner of that policy or webhook, or exempt samplyprofiles.samply.feldera.com from it."


def build_refusal_patch(annotation: str, value: str, message: str) -> Patch:
    """An invalid trigger → the reason, so that the same command works again after a correction."""
    return [
        {"op": "test", "path": _pointer(annotation), "value": value},
        {"op": "remove", "path": _pointer(annotation)},
        {"op": "add", "path": _pointer(names.REFUSED), "value": message},
    ]


def build_release_patch(claim: Claim, *, had_refusal: bool) -> Patch:
    """All objects of the claim exist: remove it and an older refusal."""
    patch: Patch = [
        {"op": "test", "path": _pointer(names.CLAIM), "value": claim.text},
        {"op": "remove", "path": _pointer(names.CLAIM)},
    ]
    if had_refusal:
        patch.append({"op": "remove", "path": _pointer(names.REFUSED)})
    return patch


def build_name(request: str, ordinal: int) -> str:
    """The object's name, from the request's uuid and the ordinal: a claim always gives the same names."""
    return f"profile-{request.replace('-', '')[:16]}-{ordinal}"
