"""The JSON documents of the volume (manifests, journal entries and tombstones): encoding, decoding, validation.

An unreadable document is a CorruptManifest with its id, collected next to the readable ones, whatever the cause: a
folder, a pipe, a link, or an error of the disk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from samply_operator.errors import CorruptManifest, StoreError
from samply_operator.model.manifest import JournalEntry, Manifest, PipelineNames, Tombstone

MAX_BYTES = 1024 * 1024
"""Far above the size of any document; a larger file is damaged and not read."""
OPENING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Does not follow a link, and does not block on a pipe without a writer."""
NO_FILE = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR})
"""Errors of `open` for something that cannot be a document."""

Document = TypeVar("Document")

_manifests = msgspec.json.Decoder(Manifest)
_entries = msgspec.json.Decoder(JournalEntry)
_tombstones = msgspec.json.Decoder(Tombstone)
_names = msgspec.json.Decoder(PipelineNames)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Reading(Generic[Document]):
    """The readable documents, and the faults."""

    items: tuple[Document, ...]
    faults: tuple[CorruptManifest, ...] = ()


def encode(document: Manifest | JournalEntry | Tombstone | PipelineNames) -> bytes:
    return msgspec.json.format(_encoder.encode(document), indent=1) + b"\n"


def collect(ids: Iterable[str], read: Callable[[str], Document | None]) -> Reading[Document]:
    """Read each id; missing ones are omitted, unreadable ones become faults."""
    items: list[Document] = []
    faults: list[CorruptManifest] = []
    for profile_id in ids:
        try:
            item = read(profile_id)
        except CorruptManifest as fault:
            faults.append(fault)
            continue
        except StoreError as error:
            faults.append(_fault(profile_id, error.message))
            continue
        if item is not None:
            items.append(item)
    return Reading(tuple(items), tuple(faults))


def read_manifest(path: Path, profile_id: str) -> Manifest | None:
    """The manifest at `path`; None if there is none. Raises CorruptManifest, OSError."""
    data = _read(path, profile_id)
    return None if data is None else decode_manifest(data, profile_id)


def decode_manifest(data: bytes, profile_id: str) -> Manifest:
    """Raises CorruptManifest."""
    manifest = _decode(_manifests, data, profile_id)
    if manifest.id != profile_id:
        raise _fault(profile_id, "it names another id")
    if manifest.outcome == "Succeeded" and manifest.file is None:
        raise _fault(profile_id, "it has no file")
    return manifest


def read_entry(path: Path, profile_id: str) -> JournalEntry | None:
    """The journal's entry at `path`; None if there is none. Raises CorruptManifest, OSError."""
    data = _read(path, profile_id)
    if data is None:
        return None
    entry = _decode(_entries, data, profile_id)
    if entry.id != profile_id:
        raise _fault(profile_id, "it names another id")
    return entry


def read_tombstone(path: Path, profile_id: str) -> Tombstone | None:
    """The tombstone at `path`; None if there is none. Raises CorruptManifest, OSError."""
    data = _read(path, profile_id)
    if data is None:
        return None
    tombstone = _decode(_tombstones, data, profile_id)
    if tombstone.id != profile_id:
        raise _fault(profile_id, "it names another id")
    return tombstone


def read_names(path: Path) -> PipelineNames:
    """Empty if there is none. Raises CorruptManifest, OSError."""
    data = _read(path, "pipelines")
    return PipelineNames() if data is None else _decode(_names, data, "pipelines")


def _read(path: Path, profile_id: str) -> bytes | None:
    try:
        fd = os.open(path, OPENING)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in NO_FILE:
            raise _fault(profile_id, "it is no file") from error
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _fault(profile_id, "it is no file")
        # Its size, and not the maximum: a buffer of a MiB for each small file took a third of the time of a start.
        data = os.read(fd, min(found.st_size, MAX_BYTES) + 1)
    finally:
        os.close(fd)
    if len(data) > MAX_BYTES:
        raise _fault(profile_id, "it is too large")
    return data


def _decode(decoder: msgspec.json.Decoder[Document], data: bytes, profile_id: str) -> Document:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _fault(profile_id, str(error)) from error
    except RecursionError as error:
        raise _fault(profile_id, "it is nested too deeply") from error


def _fault(profile_id: str, why: str) -> CorruptManifest:
    return CorruptManifest(
        f"the document of {profile_id} cannot be read: {why}.",
        remedy="Remove its folder from the volume if the profile is not needed.",
        details={"profile": profile_id},
    )
