"""Who may: what a grant allows, what a refusal may tell, which way a token is to be checked. Facts in, decision out.

`get` is to read, `create` to start, to stop and to try (preflight), `delete` to remove or cancel, each in a namespace.
Whoever may not `get` in a namespace is told of it what is told of one that doesn't exist.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import msgspec

from samply_operator.errors import Forbidden, Unauthenticated
from samply_operator.rules.access import credentials
from samply_operator.rules.access.credentials import EVERYWHERE, ApiKey
from samply_operator.settings import Auth, Oidc, Verb

Way = Literal["Kubernetes", "Oidc", "ApiKey", "Feldera", "Link", "Unsafe", "Unknown"]
Decision = Literal["Allow", "Forbid", "Hide", "Unauthenticated", "Undecided"]
"""What a log says. Hide: the answer was the one for a name that nobody has."""

MAX_TOKEN_LENGTH = 7500
"""A header line may have 8190 bytes."""
MAX_SUBJECT_LENGTH = 253
FELDERA_PREFIX = "apikey:"
CURES: Mapping[str, str] = {
    "kubernetes": "a Kubernetes token: kubectl create token SERVICEACCOUNT --audience {audience}",
    "oidc": "a JWT of {issuer} for the audience {audience}",
    "apiKeys": "an API key: samply-operator key new",
    "feldera": "an API key of Feldera's, or a token that it accepts",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """These verbs in these namespaces; EVERYWHERE in place of a namespace means all."""

    verbs: frozenset[Verb]
    namespaces: frozenset[str]

    def allows(self, verb: Verb, namespace: str) -> bool:
        return verb in self.verbs and (namespace in self.namespaces or EVERYWHERE in self.namespaces)


EVERYTHING = Grant(frozenset(credentials.VERBS), frozenset({EVERYWHERE}))


@dataclass(frozen=True, slots=True)
class Who:
    """A caller whose token was found good. `subject` is what the way calls them."""

    subject: str
    way: Way
    grants: tuple[Grant, ...] = ()
    visible: Mapping[str, str] | None = None
    """The only pipelines that may be seen, Feldera's name by its id; None: all of the readable namespaces. The grants
    then hold for these alone, in the namespaces where they are."""
    readable: frozenset[str] | None = field(init=False)
    """Namespaces that may be read; None: all."""

    def __post_init__(self) -> None:
        found = frozenset[str]().union(*(grant.namespaces for grant in self.grants if "get" in grant.verbs))
        object.__setattr__(self, "readable", None if EVERYWHERE in found else found)

    def may(self, verb: Verb, namespace: str) -> bool:
        """Nothing may be done in a namespace that may not be read."""
        is_readable = self.readable is None or namespace in self.readable
        return is_readable and any(grant.allows(verb, namespace) for grant in self.grants)

    def describe(self) -> str:
        """For status and logs: two ways never say the same."""
        return f"{self.way}/{self.subject}"


ANYBODY = Who("anybody", "Unsafe", (EVERYTHING,))
"""Where authentication is switched off."""
NOBODY = Who("", "Unknown")
"""Who calls could not be found out."""


def decide(who: Who, verb: Verb, namespace: str) -> Decision:
    if not who.may("get", namespace):
        return "Hide"
    return "Allow" if who.may(verb, namespace) else "Forbid"


def clean_subject(text: str) -> str:
    """Somebody else's name for a caller, as it may stand in a log and in an object's status."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:MAX_SUBJECT_LENGTH]


# ------------------------------------------------------------------------------------------------------------- tokens


def parse_header(values: Sequence[str]) -> str:
    """The token of all `Authorization` headers of a request. Raises Unauthenticated."""
    if not values:
        raise Unauthenticated("No token was sent.")
    if len(values) > 1:
        raise Unauthenticated("There is more than one Authorization header.")
    scheme, _, token = values[0].strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("The Authorization header is not `Bearer TOKEN`.")
    if len(token) > MAX_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise Unauthenticated("The token can't be one.")
    return token


def choose_way(token: str, auth: Auth) -> Literal["Kubernetes", "Oidc", "ApiKey", "Feldera"]:
    """By what the token looks like; it is believed in nothing else. Raises Unauthenticated."""
    if token.startswith(FELDERA_PREFIX):
        if auth.feldera.enabled:
            return "Feldera"
        raise Unauthenticated("This is an API key of Feldera's, which this service doesn't know.")
    if credentials.is_api_key(token):
        if auth.api_keys.enabled:
            return "ApiKey"
        raise Unauthenticated("API keys are switched off.")
    issuer = peek(token).get("iss")
    if auth.oidc.enabled and issuer == auth.oidc.issuer:
        return "Oidc"
    if auth.feldera.enabled and issuer in auth.feldera.issuers:
        return "Feldera"
    if auth.kubernetes.enabled:
        return "Kubernetes"
    raise Unauthenticated("The token is of no issuer that is trusted here.")


def peek(token: str) -> dict[str, Any]:
    """What a JWT says of itself, unverified; empty if it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = msgspec.json.decode(payload)
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def list_audiences(claims: Mapping[str, Any]) -> tuple[str, ...]:
    found = claims.get("aud")
    values = found if isinstance(found, list) else [found]
    return tuple(value for value in values if isinstance(value, str))


def tell_cure(auth: Auth) -> str:
    """Which tokens are taken here."""
    kubernetes, oidc = auth.kubernetes, auth.oidc
    found = [
        CURES["kubernetes"].format(audience=kubernetes.audiences[0]) if kubernetes.enabled else "",
        CURES["oidc"].format(issuer=oidc.issuer, audience=oidc.audience) if oidc.enabled else "",
        CURES["apiKeys"] if auth.api_keys.enabled else "",
        CURES["feldera"] if auth.feldera.enabled else "",
    ]
    return f"Send `Authorization: Bearer TOKEN` with {', or '.join(filter(None, found))}."


def explain_rejected(token: str, audiences: Collection[str]) -> str:
    """Why a Kubernetes token was not found good, as far as it can be told from what its holder knows anyway."""
    told = list_audiences(peek(token))
    if told and not set(told) & set(audiences):
        shown = ", ".join(map(clean_subject, told))[:200]
        return f"The token is for the audience {shown}, not for {' or '.join(audiences)}."
    return "The token is not valid, not valid any more, or of somebody who is gone."


# -------------------------------------------------------------------------------------------------------------- grants


@lru_cache(credentials.MAX_KEYS)
def build_key_holder(key: ApiKey) -> Who:
    return Who(key.name, "ApiKey", (Grant(frozenset(key.verbs), frozenset(key.namespaces)),))


def build_token_holder(claims: Mapping[str, Any], oidc: Oidc) -> Who:
    """Of verified claims. Raises Unauthenticated where the subject's claim isn't there."""
    subject = claims.get(oidc.subject_claim)
    if not isinstance(subject, str) or not subject:
        raise Unauthenticated(f"The token has no claim {oidc.subject_claim}.")
    groups = _list_texts(claims.get(oidc.groups_claim))
    return Who(
        clean_subject(subject),
        "Oidc",
        tuple(
            Grant(frozenset(grant.verbs), frozenset(grant.namespaces))
            for grant in oidc.grants
            if (grant.subject and grant.subject == subject) or (grant.group and grant.group in groups)
        ),
    )


def _list_texts(value: object) -> frozenset[str]:
    values = value if isinstance(value, list) else [value]
    return frozenset(item for item in values if isinstance(item, str))


def build_reviewed(subject: str, allowed: Mapping[Verb, Collection[str]]) -> Who:
    """Whom Kubernetes knows, and where it allows them what was asked."""
    grants = tuple(Grant(frozenset({verb}), frozenset(found)) for verb, found in allowed.items() if found)
    return Who(subject, "Kubernetes", grants)


def describe_feldera_caller(bearer: str, tenant: str) -> str:
    """Its tenant, and of a JWT that Feldera has verified the subject: a key tells no name."""
    subject = peek(bearer).get("sub", "")
    return clean_subject("/".join(part for part in (tenant, subject) if isinstance(part, str) and part))


def build_feldera_caller(subject: str, visible: Iterable[tuple[str, str]], *, may_start: bool) -> Who:
    """Whom Feldera knows. Where the pipelines are that they see there is for the caller of this to say:
    `limit_namespaces`; until then nothing is granted."""
    verbs: tuple[Verb, ...] = ("get", "create") if may_start else ("get",)
    return Who(subject, "Feldera", (Grant(frozenset(verbs), frozenset()),), dict(visible))


def limit_namespaces(who: Who, namespaces: Collection[str]) -> Who:
    """The same caller, whose grants hold in these namespaces."""
    grants = tuple(Grant(grant.verbs, frozenset(namespaces)) for grant in who.grants)
    return Who(who.subject, who.way, grants, who.visible)


def check(who: Who, verb: Verb, namespace: str) -> None:
    """Raises Forbidden. Whoever may not read there was told already that it doesn't exist."""
    if not who.may(verb, namespace):
        doing = {"create": "start or stop recordings", "delete": "delete profiles", "get": "read profiles"}[verb]
        raise Forbidden(
            f"You may not {doing} in namespace {namespace}.",
            remedy=f"It needs `{verb}` on samplyprofiles there.",
            details={"verb": verb, "namespace": namespace},
        )
