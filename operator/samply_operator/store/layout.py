"""Names on the volume, only as strings: no file access.

    profiles/<id>/profile.json.gz    the published bytes
    profiles/<id>/manifest.json      the facts beside them (a failure has only this)
    profiles/<id>/profile.operators.json    what Feldera calls the operators of the circuit
    profiles/<id>/attachment-…       what Feldera said of the pipeline in the same seconds
    profiles/<id>/raw…               what else was kept
    journal/<id>.json                what a restarted operator must finish
    tombstones/<id>.json             a profile that is to go, or went and whose object must be told
    pins/<id>                        retention leaves it alone, even if its object is lost
    clock                            the time of the last pass of retention
    pipelines.json                   what the pipelines of Feldera's ids are called now
    ballast                          room held back for the journal
    lock                             locked by the one process that writes
    tmp/<id>-<name>                  files that grow; tmp/<id>-publish-… and tmp/<id>-removed-… are folders on their way

`<id>` is the uid that the API server gave to an object. No text of a user ever becomes part of a name.
"""

from __future__ import annotations

import re

from samply_operator.errors import StoreError

PROFILES = "profiles"
JOURNAL = "journal"
TOMBSTONES = "tombstones"
PINS = "pins"
EMERGENCY = "ballast"
CLOCK = "clock"
LOCK = "lock"
PIPELINES = "pipelines.json"
TMP = "tmp"
PROFILE_FILE = "profile.json.gz"
MANIFEST_FILE = "manifest.json"
OPERATORS_FILE = "profile.operators.json"
PUBLISHING = "publish-"
REMOVED = "removed-"
DRAFT = "draft-"
OWN = (PUBLISHING, REMOVED, DRAFT)
"""Prefixes in tmp/ that are reserved for the store."""

ID_LENGTH = 36
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


def is_id(text: str) -> bool:
    """Whether `text` is a uid of the API server: a lower-case UUID."""
    return _ID.fullmatch(text) is not None


def check_id(text: str) -> str:
    """`text` itself if it is an id. Raises StoreError: nothing else may become a path."""
    if not is_id(text):
        raise StoreError(f"not the id of a profile: {text[:64]!r}.")
    return text


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and ".." not in text


def check_name(text: str) -> str:
    """`text` itself if it is a plain lower-case file name. Raises StoreError."""
    if not _is_name(text):
        raise StoreError(f"not a file name of the store: {text[:64]!r}.")
    return text


def is_extra(text: str) -> bool:
    """Whether a file beside a profile is an additional one. Its name is plain, and may be unknown here: a later version
    stores other files, which this one copies and removes all the same."""
    return _is_name(text) and text not in {PROFILE_FILE, MANIFEST_FILE}


def check_extra(text: str) -> str:
    """`text` itself if it may be the name of an additional file. Raises StoreError."""
    if not is_extra(text):
        raise StoreError(f"not the name of an additional file of a profile: {text[:64]!r}.")
    return text


def build_folder(profile_id: str) -> str:
    return f"{PROFILES}/{check_id(profile_id)}"


def build_journal(profile_id: str) -> str:
    return f"{JOURNAL}/{check_id(profile_id)}.json"


def build_tombstone(profile_id: str) -> str:
    return f"{TOMBSTONES}/{check_id(profile_id)}.json"


def build_pin(profile_id: str) -> str:
    return f"{PINS}/{check_id(profile_id)}"


def build_tmp(profile_id: str, name: str) -> str:
    return f"{TMP}/{check_id(profile_id)}-{check_name(name)}"


def parse_journal(name: str) -> str | None:
    """The id in the name of a journal entry or a tombstone; None if there is none."""
    stem = name.removesuffix(".json")
    return stem if stem != name and is_id(stem) else None


def parse_tmp(name: str) -> tuple[str, str] | None:
    """(id, rest) of a name in tmp/; None if it has another form."""
    profile_id, rest = name[:ID_LENGTH], name[ID_LENGTH:]
    return (profile_id, rest[1:]) if is_id(profile_id) and rest.startswith("-") else None
