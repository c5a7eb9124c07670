"""What names a stored file: a profile's manifest, or an additional file of it."""

from __future__ import annotations

from dataclasses import dataclass

from samply_operator.model.manifest import Manifest, StoredFile


@dataclass(frozen=True, slots=True)
class Extra:
    """An additional file of a profile."""

    manifest: Manifest
    name: str
    file: StoredFile


Stored = Manifest | Extra


def find_owner(stored: Stored) -> Manifest:
    """The manifest of the file's profile."""
    return stored if isinstance(stored, Manifest) else stored.manifest


def find_name(stored: Stored) -> str:
    """Empty: it is the profile's own file."""
    return "" if isinstance(stored, Manifest) else stored.name


def build_key(stored: Stored) -> str:
    """Identifies the file: the profile's id, and the name of an additional file behind a slash."""
    name = find_name(stored)
    return f"{find_owner(stored).id}/{name}" if name else find_owner(stored).id


def count_bytes(stored: Stored) -> int:
    return stored.file.size_bytes if stored.file else 0
