"""Permissions: what a grant allows, what a refusal may disclose, and how to check a token. Pure.

`get` allows reading, `create` starting, stopping and preflights, `delete` removing and cancelling, each in a namespace.
A caller without `get` in a namespace gets the same answer as for one that does not exist.
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
"""As logged. Hide: the answer was that for a name that does not exist."""

MAX_TOKEN_LENGTH = 7500
"""A header line may have 8190 bytes."""
MAX_SUBJECT_LENGTH = 253
FELDERA_PREFIX = "apikey:"
CURES: Mapping[str, str] = {
    "kubernetes": "a Kubernetes token: kubectl create token SERVICEACCOUNT --audience {audience}",
    "oidc": "a JWT of {issuer} for the audience {audience}",
    "apiKeys": "an API key: samply-operator key new",
    "feldera": "a Feldera API key, or a token that Feldera accepts",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """These verbs in these namespaces; EVERYWHERE means all namespaces."""

    verbs: frozenset[Verb]
    namespaces: frozenset[str]

    def allows(self, verb: Verb, namespace: str) -> bool:
        return verb in self.verbs and (namespace in self.namespaces or EVERYWHERE in self.namespaces)


EVERYTHING = Grant(frozenset(credentials.VERBS), frozenset({EVERYWHERE}))


@dataclass(frozen=True, slots=True)
class Who:
    """An authenticated caller. `subject` is its name according to `way`."""

    subject: str
    way: Way
    grants: tuple[Grant, ...] = ()
    visible: Mapping[str, str] | None = None
    """The only visible pipelines, as Feldera's names by id; None: all in the readable namespaces. The grants then apply
    only to these, in their namespaces."""
    readable: frozenset[str] | None = field(init=False)
    """Readable namespaces; None: all."""

    def __post_init__(self) -> None:
        found = frozenset[str]().union(*(grant.namespaces for grant in self.grants if "get" in grant.verbs))
        object.__setattr__(self, "readable", None if EVERYWHERE in found else found)

    def may(self, verb: Verb, namespace: str) -> bool:
        """Nothing is allowed in a namespace that is not readable."""
        is_readable = self.readable is None or namespace in self.readable
        return is_readable and any(grant.allows(verb, namespace) for grant in self.grants)

    def describe(self) -> str:
        """For status and logs: unique across authentication methods."""
        return f"{self.way}/{self.subject}"


ANYBODY = Who("anybody", "Unsafe", (EVERYTHING,))
"""Where authentication is switched off."""
NOBODY = Who("", "Unknown")
"""The caller could not be identified."""


def decide(who: Who, verb: Verb, namespace: str) -> Decision:
    if not who.may("get", namespace):
        return "Hide"
    return "Allow" if who.may(verb, namespace) else "Forbid"


def clean_subject(text: str) -> str:
    """An external name of a caller, made safe for logs and an object's status."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:MAX_SUBJECT_LENGTH]


# ------------------------------------------------------------------------------------------------------------- tokens


def parse_header(values: Sequence[str]) -> str:
    """The token from the `Authorization` headers of a request. Raises Unauthenticated."""
    if not values:
        raise Unauthenticated("No token was sent.")
    if len(values) > 1:
        raise Unauthenticated("There is more than one Authorization header.")
    scheme, _, token = values[0].strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("The Authorization header is not `Bearer TOKEN`.")
    if len(token) > MAX_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise Unauthenticated("The token is malformed.")
    return token


def choose_way(token: str, auth: Auth) -> Literal["Kubernetes", "Oidc", "ApiKey", "Feldera"]:
    """The authentication method for a token, by its format only. Raises Unauthenticated."""
    if token.startswith(FELDERA_PREFIX):
        if auth.feldera.enabled:
            return "Feldera"
        raise Unauthenticated("This is a Feldera API key, and config.auth.feldera is not enabled.")
    if credentials.is_api_key(token):
        if auth.api_keys.enabled:
            return "ApiKey"
        raise Unauthenticated("API keys are switched off.")
    issuer = read_unverified_claims(token).get("iss")
    if auth.oidc.enabled and issuer == auth.oidc.issuer:
        return "Oidc"
    if auth.feldera.enabled and issuer in auth.feldera.issuers:
        return "Feldera"
    if auth.kubernetes.enabled:
        return "Kubernetes"
    raise Unauthenticated("The token's issuer is not trusted.")


def read_unverified_claims(token: str) -> dict[str, Any]:
    """The unverified claims of a JWT; empty if it is not one."""
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


def describe_remedy(auth: Auth) -> str:
    """The remedy of a 401: which tokens are accepted."""
    kubernetes, oidc = auth.kubernetes, auth.oidc
    found = [
        CURES["kubernetes"].format(audience=kubernetes.audiences[0]) if kubernetes.enabled else "",
        CURES["oidc"].format(issuer=oidc.issuer, audience=oidc.audience) if oidc.enabled else "",
        CURES["apiKeys"] if auth.api_keys.enabled else "",
        CURES["feldera"] if auth.feldera.enabled else "",
    ]
    return f"Send `Authorization: Bearer TOKEN` with {', or '.join(filter(None, found))}."


def explain_rejected(token: str, audiences: Collection[str]) -> str:
    """Why a Kubernetes token was rejected, as far as this may be disclosed to its holder."""
    found = list_audiences(read_unverified_claims(token))
    if found and not set(found) & set(audiences):
        shown = ", ".join(map(clean_subject, found))[:200]
        return f"The token has the audience {shown}, not {' or '.join(audiences)}."
    return "The token is not valid, has expired, or its subject was deleted."


# -------------------------------------------------------------------------------------------------------------- grants


@lru_cache(credentials.MAX_KEYS)
def build_key_holder(key: ApiKey) -> Who:
    return Who(key.name, "ApiKey", (Grant(frozenset(key.verbs), frozenset(key.namespaces)),))


def build_token_holder(claims: Mapping[str, Any], oidc: Oidc) -> Who:
    """The caller from verified claims. Raises Unauthenticated if the subject's claim is missing."""
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
    """A caller authenticated by Kubernetes, with the namespaces in which it allows the verbs."""
    grants = tuple(Grant(frozenset({verb}), frozenset(found)) for verb, found in allowed.items() if found)
    return Who(subject, "Kubernetes", grants)


def describe_feldera_caller(bearer: str, tenant: str) -> str:
    """The tenant, and the subject of a JWT that Feldera has verified: a key has no name."""
    subject = read_unverified_claims(bearer).get("sub", "")
    return clean_subject("/".join(part for part in (tenant, subject) if isinstance(part, str) and part))


def build_feldera_caller(subject: str, visible: Iterable[tuple[str, str]], *, may_start: bool) -> Who:
    """A caller authenticated by Feldera. Nothing is granted until `limit_namespaces` sets the namespaces of the
    pipelines that it can see."""
    verbs: tuple[Verb, ...] = ("get", "create") if may_start else ("get",)
    return Who(subject, "Feldera", (Grant(frozenset(verbs), frozenset()),), dict(visible))


def limit_namespaces(who: Who, namespaces: Collection[str]) -> Who:
    """The same caller, with grants limited to these namespaces."""
    grants = tuple(Grant(grant.verbs, frozenset(namespaces)) for grant in who.grants)
    return Who(who.subject, who.way, grants, who.visible)


def check(who: Who, verb: Verb, namespace: str) -> None:
    """Raises Forbidden. A caller that may not read there has already got the answer for a missing namespace."""
    if not who.may(verb, namespace):
        doing = {"create": "start or stop recordings", "delete": "delete profiles", "get": "read profiles"}[verb]
        raise Forbidden(
            f"You are not allowed to {doing} in namespace {namespace}.",
            remedy=f"This needs the verb `{verb}` on samplyprofiles there.",
            details={"verb": verb, "namespace": namespace},
        )
