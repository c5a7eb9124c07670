"""The annotation trigger: what a value means, how it turns into a claim, how the objects of a claim are named.

One annotation gives exactly one profile per ordinal, whatever is killed in between: a JSON patch with a `test` turns
the trigger into a claim `<uuid>/<value>`; the objects' names follow from the uuid; then the claim goes. A claim that
could not be carried out at once becomes `<uuid>/<value>#<ordinals that have their objects>`.
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
    """A trigger that was taken: `request` is the uuid that names its objects."""

    request: str
    duration_secs: int
    text: str
    made: frozenset[int] = frozenset()
    """Ordinals that have their objects, or had them."""


def _pointer(annotation: str) -> str:
    return "/metadata/annotations/" + annotation.replace("~", "~0").replace("/", "~1")


def render_claim(request: str, value: str) -> str:
    return f"{request}/{value}"


def parse_claim(text: str) -> Claim:
    """Raises InvalidSpec when somebody wrote the annotation by hand."""
    match = _CLAIM.fullmatch(text)
    if match is None:
        raise InvalidSpec(
            f"The annotation {names.CLAIM} is the operator's own.", remedy=f"Set {names.TRIGGER} instead."
        )
    made = frozenset(int(ordinal) for ordinal in (match["made"] or "").split(",") if ordinal)
    return Claim(match["request"], times.parse_duration(match["value"]), text, made)


def build_claim_patch(value: str, request: str) -> Patch:
    """Trigger → claim. Fails as a whole if somebody else took or changed the trigger."""
    return [
        {"op": "test", "path": _pointer(names.TRIGGER), "value": value},
        {"op": "remove", "path": _pointer(names.TRIGGER)},
        {"op": "add", "path": _pointer(names.CLAIM), "value": render_claim(request, value)},
    ]


def build_progress_patch(claim: Claim, made: Iterable[int]) -> Patch:
    """The claim says which ordinals have their objects."""
    listed = ",".join(map(str, sorted(made)))
    return [
        {"op": "test", "path": _pointer(names.CLAIM), "value": claim.text},
        {"op": "replace", "path": _pointer(names.CLAIM), "value": f"{claim.text.partition('#')[0]}#{listed}"},
    ]


def describe_refusals(refused: Mapping[int, str]) -> str:
    """Ordinals with the same reason together."""
    by_reason: dict[str, list[int]] = {}
    for ordinal, why in sorted(refused.items()):
        by_reason.setdefault(why, []).append(ordinal)
    return " ".join(
        f"ordinal{'s' if len(ordinals) > 1 else ''} {', '.join(map(str, ordinals))}: {why}"
        for why, ordinals in by_reason.items()
    )


def find_cure(message: str) -> str:
    """What to do about an object that the API server refused, from what it says."""
    if "exceeded quota" in message:
        return "Delete SamplyProfiles that have ended, or raise the ResourceQuota of the namespace."
    if "is invalid" in message:
        return "Correct the value that the message names."
    return "Ask whoever owns that policy or webhook, or exempt samplyprofiles.samply.feldera.com from it."


def build_refusal_patch(annotation: str, value: str, message: str) -> Patch:
    """A trigger that can't be carried out → the reason, so that the same command works again after a correction."""
    return [
        {"op": "test", "path": _pointer(annotation), "value": value},
        {"op": "remove", "path": _pointer(annotation)},
        {"op": "add", "path": _pointer(names.REFUSED), "value": message},
    ]


def build_release_patch(claim: Claim, *, had_refusal: bool) -> Patch:
    """All objects of the claim exist: it goes, and so does an older refusal."""
    patch: Patch = [
        {"op": "test", "path": _pointer(names.CLAIM), "value": claim.text},
        {"op": "remove", "path": _pointer(names.CLAIM)},
    ]
    if had_refusal:
        patch.append({"op": "remove", "path": _pointer(names.REFUSED)})
    return patch


def build_name(request: str, ordinal: int) -> str:
    """The object's name, from the request's uuid and the ordinal alone: the same claim always gives the same name."""
    return f"profile-{request.replace('-', '')[:16]}-{ordinal}"
