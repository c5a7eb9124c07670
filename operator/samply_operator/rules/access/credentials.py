"""The Secrets with API keys and link keys: parsing of their entries, and lookup of a key by its token. Pure.

An API key is `samply_<name>_<random>`. The Secret holds only its hash: the entry `<name>` is the JSON `{"sha256": …,
"verbs": […], "namespaces": […], "expires": …}`. A key has 256 random bits, so a plain hash is safe from search. An
invalid entry grants nothing and is reported; it does not affect the others.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from samply_operator import json_errors
from samply_operator.rules import times
from samply_operator.settings import NAMESPACE, Verb

VERBS: tuple[Verb, ...] = ("get", "create", "delete")
EVERYWHERE = "*"
"""As a namespace: all of them."""

PREFIX = "samply_"
RANDOM_BYTES = 32
MAX_KEYS = 1000
MIN_LINK_KEY_BYTES = 32
LINK_ENTRIES = ("current", "previous")
"""Entries of the Secret that signs links: the first one signs, both verify."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)

Namespace = Annotated[str, msgspec.Meta(pattern=NAMESPACE)]


class ApiKey(msgspec.Struct, frozen=True, rename="camel"):
    """The hash of a key and what it grants. `namespaces` may contain EVERYWHERE; `expires_at` is Unix time."""

    name: str
    sha256: str
    verbs: tuple[Verb, ...]
    namespaces: tuple[str, ...]
    expires_at: float | None = None


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry of the Secret."""

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    verbs: Annotated[tuple[Verb, ...], msgspec.Meta(min_length=1)]
    namespaces: Annotated[tuple[Namespace, ...], msgspec.Meta(min_length=1, max_length=1000)]
    expires: str | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """`faults` name invalid entries, never their content."""

    keys: tuple[ApiKey, ...] = ()
    faults: tuple[str, ...] = ()


def parse_keys(data: Mapping[str, bytes]) -> Parsed:
    """All entries of the Secret with the API keys."""
    keys, faults = [], []
    for name, raw in sorted(data.items()):
        try:
            keys.append(_parse_key(name, raw))
        except ValueError as error:
            faults.append(f"entry {name}: {json_errors.describe(error)[:200]}")
    if len(keys) > MAX_KEYS:
        faults.append(f"there are {len(keys)} keys; only the first {MAX_KEYS} are used")
    return Parsed(tuple(keys[:MAX_KEYS]), tuple(faults))


def _parse_key(name: str, raw: bytes) -> ApiKey:
    """Raises ValueError (msgspec's errors are such)."""
    if not is_name(name):
        raise ValueError("invalid name: use at most 63 lower-case letters, digits and dashes")
    entry = msgspec.json.decode(raw, type=Entry)
    expires_at = None
    if entry.expires is not None:
        if not entry.expires.endswith("Z"):
            raise ValueError("expires is not a time in UTC, such as 2027-01-31T00:00:00Z")
        expires_at = times.parse_time(entry.expires)
    return ApiKey(name, entry.sha256, entry.verbs, entry.namespaces, expires_at)


def parse_link_keys(data: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """The keys that sign links, the current one first. Short keys are dropped, since they could be guessed."""
    found = (data.get(entry, b"") for entry in LINK_ENTRIES)
    return tuple(key for key in found if len(key) >= MIN_LINK_KEY_BYTES)


def is_name(name: str) -> bool:
    """Whether it is a valid name of a key and of its entry in the Secret."""
    return _NAME.fullmatch(name) is not None


def build_key(name: str, random: bytes) -> str:
    """The key to give to a user. `random` must be RANDOM_BYTES from the system's own source."""
    return f"{PREFIX}{name}_{random.hex()}"


def build_entry(key: str, verbs: Iterable[str], namespaces: Iterable[str], expires: str | None = None) -> bytes:
    """The entry of the Secret for a key; `parse_keys` validates it."""
    entry = {"sha256": hash_key(key), "verbs": list(verbs), "namespaces": list(namespaces)}
    return msgspec.json.encode(entry | ({"expires": expires} if expires else {}))


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def is_api_key(token: str) -> bool:
    return token.startswith(PREFIX)


def find_key(token: str, keys: Iterable[ApiKey], now: float) -> ApiKey | None:
    """The key that matches a token; None: none, or it has expired. Compares all keys, so that the time discloses
    nothing."""
    digest, found = hash_key(token), None
    for key in keys:
        if hmac.compare_digest(digest, key.sha256):
            found = key
    return found if found is not None and (found.expires_at is None or now < found.expires_at) else None
