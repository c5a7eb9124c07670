"""Turns the copied file into the published one: symbols baked in, facts computed, size and hashes.

If baking fails, the file is published as samply wrote it and marked so.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from samply_operator import __version__, profiles
from samply_operator.errors import ProfileError, SamplyOperatorError
from samply_operator.model.manifest import JournalEntry, StoredFile
from samply_operator.profiles import ProfileFacts, TimeRange
from samply_operator.profiles.errors import UnreadableSymbols
from samply_operator.profiles.format import source
from samply_operator.profiles.worker import bounded
from samply_operator.recorder.context import Context
from samply_operator.store import content

BAKED = "baked.json.gz"
GZIP_MAGIC = b"\x1f\x8b"
PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finished:
    path: Path
    file: StoredFile
    facts: ProfileFacts | None
    """None: this release cannot read the profile; it is published anyway."""
    warnings: tuple[str, ...]


def build_label(entry: JournalEntry) -> profiles.Label:
    return profiles.Label(
        product=f"{entry.pipeline} ordinal {entry.ordinal}",
        process=f"{entry.pipeline}-{entry.ordinal}",
        info=(
            ("Pipeline", entry.pipeline),
            ("Ordinal", str(entry.ordinal)),
            ("Pod", f"{entry.namespace}/{entry.pod}"),
            ("Container", entry.container),
            ("Recorded by", f"samply-operator {__version__}, samply {entry.samply_version}, {entry.mode}"),
        ),
    )


class HalfFileError(SamplyOperatorError):
    """The copied file is not a profile: samply was ended while it wrote, or the copy was damaged."""

    code = "HalfFile"


async def finish(
    context: Context, entry: JournalEntry, raw: Path, sidecar: Path | None, window_secs: tuple[float, float] | None
) -> Finished:
    """`window_secs`: in which samples are counted apart, on the node's clock. Raises HalfFileError."""
    baked = context.volume.tmp_path(entry.id, BAKED)
    try:
        limits = bounded.Limits(memory_bytes=context.settings.recording.finish_memory_bytes)
        window = None if window_secs is None else TimeRange(*(1000 * at for at in window_secs))
        result = await bounded.bake(raw, sidecar, baked, label=build_label(entry), limits=limits, window=window)
    except UnreadableSymbols as error:
        # The profile itself may be valid: samply writes it first.
        found = await finish(context, entry, raw, None, window_secs)
        return replace(found, warnings=(f"Without names: {error.message}", *found.warnings))
    except ProfileError as error:
        await asyncio.to_thread(baked.unlink, missing_ok=True)
        if await asyncio.to_thread(is_half, raw):
            raise HalfFileError(f"{raw.name} is cut off or broken.") from error
        file = await asyncio.to_thread(content.describe, raw, 0)
        return Finished(raw, file, None, (f"Published as samply wrote it, without names: {error}",))
    file = await asyncio.to_thread(content.describe, baked, result.raw_bytes)
    stripped = tuple(
        f"{lib} has no symbols (stripped?): its functions show as addresses." for lib in result.facts.stripped_libs
    )
    return Finished(baked, file, result.facts, (*result.warnings, *stripped))


def is_half(path: Path) -> bool:
    """True of a file that is no profile of any version: gzip that ends or breaks before its end, or neither gzip nor
    JSON, such as an empty one. Nothing is kept of it, however much it holds."""
    with path.open("rb") as file:
        head = file.read(len(GZIP_MAGIC))
    if head != GZIP_MAGIC:
        return not head.startswith(b"{")
    left = source.MAX_RAW_BYTES
    try:
        with gzip.open(path) as file:
            while left > 0 and (piece := file.read(PIECE_BYTES)):
                left -= len(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return True
    return False
