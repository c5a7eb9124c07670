"""Puts samply's sidecar into the profile, so that it opens with names anywhere. Reads two files, writes a third.

Only what has to change is decoded: sample columns, markers and whatever else is in the file go through as the bytes
they were. With the same input the output is the same, byte for byte.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from samply_operator.profiles.analysis.fact_sheet import ProfileFacts, gather
from samply_operator.profiles.analysis.tally import TimeRange
from samply_operator.profiles.errors import build_undecodable
from samply_operator.profiles.format import gzipping, reading, source, vectors
from samply_operator.profiles.format import tables as disk
from samply_operator.profiles.format.profile import Profile
from samply_operator.profiles.symbols import inlining, patching, sidecar
from samply_operator.profiles.symbols.label import Label
from samply_operator.profiles.symbols.patching import Document
from samply_operator.profiles.symbols.renaming import Strings, plan
from samply_operator.profiles.symbols.sidecar import SymbolsByLib


@dataclass(frozen=True, slots=True)
class BakeResult:
    """`facts` are those of the written file; `named_frames` counts frames that got a name from the sidecar. `warnings`:
    what of the sidecar does not belong to the profile.
    """

    facts: ProfileFacts
    named_frames: int
    size_bytes: int
    raw_bytes: int
    sha256: str
    warnings: tuple[str, ...] = ()


def bake(
    profile_path: Path,
    sidecar_path: Path | None,
    out_path: Path,
    *,
    label: Label,
    window: TimeRange | None = None,
    max_raw_bytes: int = source.MAX_RAW_BYTES,
) -> BakeResult:
    """Write `out_path` (gzip) from a profile and its sidecar. `out_path` must be another file. `window`: see
    `fact_sheet.gather`.

    Raises ProfileError; then `out_path` is unusable, and the caller publishes the raw profile, marked as such.
    """
    data = source.load_json(profile_path, max_raw_bytes=max_raw_bytes)
    profile = reading.parse(data, profile_path)
    symbols = sidecar.NOTHING if sidecar_path is None else sidecar.read(sidecar_path, profile.libs)
    document, named = build_document(data, profile, symbols.by_lib, label, has_sidecar=sidecar_path is not None)
    warnings = symbols.warnings
    del profile, symbols
    written = gzipping.write(render(document), out_path, expected_bytes=len(data))
    # The facts come from the written file, not from what was intended; the input is freed before, for its memory.
    del data, document
    facts = gather(reading.read(out_path, max_raw_bytes=written.raw_bytes), window)
    return BakeResult(facts, named, written.size_bytes, written.raw_bytes, written.sha256, warnings)


Part = Callable[[], Iterator[bytes]]
"""JSON that is built when it is written, so that a long column is not in memory twice."""

Outline = Mapping[str, object]
"""A document as it will be written: text, parts, and objects and lists of these."""


def build_document(
    data: bytes | bytearray, profile: Profile, table: SymbolsByLib, label: Label, *, has_sidecar: bool
) -> tuple[Outline, int]:
    """The new document in outline, and how many frames got a name."""
    outer, threads = open_document(data, profile.path)
    shared: Document = msgspec.json.decode(outer["shared"], type=Document) if "shared" in outer else {}
    rewritten: dict[int, Part] = {}
    named = 0
    if table and profile.all_threads:
        if profile.meta.version >= disk.TABLES_SHARED:
            named = _name_shared(profile, threads, shared, table, rewritten)
        else:
            named = _name_threads(profile, threads, shared, table, rewritten)
    for thread in threads:
        _label_thread(thread, label)
    outline: dict[str, object] = dict(outer)
    # Based on the names that were set. Without a stack there was nothing to name.
    is_named = has_sidecar and (named > 0 or not any(thread.stack_count for thread in profile.all_threads))
    outline["meta"] = _patch_meta(outer["meta"], label, profile.meta.symbolicated or is_named)
    outline["threads"] = [_outline_thread(thread, rewritten.get(index)) for index, thread in enumerate(threads)]
    if shared:
        outline["shared"] = shared
    return outline, named


class _Threads(msgspec.Struct):
    threads: list[Document]


def open_document(data: bytes | bytearray, path: Path) -> tuple[Document, list[Document]]:
    """The keys of the document, and those of each thread.

    A big file is nearly all threads. They are opened in one go; the rest is looked at with a hole in their place.
    """
    threads = reading.decode(data, _Threads, path).threads
    values = [memoryview(value) for thread in threads for value in thread.values()]
    whole = memoryview(data)
    start = min((vectors.find_place(value, whole) for value in values), default=-1)
    end = max((vectors.find_place(value, whole) + len(value) for value in values), default=0)
    if 0 <= start < end <= len(whole):
        data = b"".join((whole[:start], b"null", whole[end:]))
    return reading.decode(data, Document, path), threads


def _name_shared(
    profile: Profile, threads: list[Document], shared: Document, table: SymbolsByLib, rewritten: dict[int, Part]
) -> int:
    """From version 60 on: one set of tables, at which the samples of all threads point."""
    tables = profile.all_threads[0].load_tables(with_stacks=False)
    strings = Strings(tables.strings)
    renaming = plan(tables, table, strings, with_inlined=all(map(inlining.is_expandable, threads)))
    patching.patch_tables(shared, renaming, "shared", profile.meta.version)
    if renaming.chains:
        expansion = inlining.expand(profile.all_threads[0].load_tables(), renaming.chains)
        patching.patch_stacks(shared, expansion, "shared")
        new_of_old = array("i", expansion.new_of_old)
        for thread in profile.all_threads:
            rewritten[thread.index] = partial(patching.rewrite_column, thread, new_of_old)
    shared["stringArray"] = _encode(strings.items)
    return renaming.named_frames


def _name_threads(
    profile: Profile, threads: list[Document], shared: Document, table: SymbolsByLib, rewritten: dict[int, Part]
) -> int:
    """Up to version 59. `rewritten` gets the sample columns of threads whose stacks have changed."""
    is_shared = profile.meta.version >= disk.STRINGS_SHARED
    strings = Strings(profile.all_threads[0].load_tables(with_stacks=False).strings if is_shared else ())
    named = 0
    for thread, document in zip(profile.all_threads, threads, strict=True):
        where = f"threads[{thread.index}]"
        tables = thread.load_tables(with_stacks=False)
        if not is_shared:
            strings = Strings(tables.strings)
        renaming = plan(tables, table, strings, with_inlined=inlining.is_expandable(document))
        patching.patch_tables(document, renaming, where, profile.meta.version)
        if renaming.chains:
            expansion = inlining.expand(thread.load_tables(), renaming.chains)
            patching.patch_stacks(document, expansion, where)
            rewritten[thread.index] = partial(patching.rewrite_column, thread, array("i", expansion.new_of_old))
        if not is_shared:
            document["stringArray"] = _encode(strings.items)
        named += renaming.named_frames
    if is_shared:
        shared["stringArray"] = _encode(strings.items)
    return named


def _outline_thread(thread: Document, stacks: Part | None) -> Outline:
    if stacks is None:
        return thread
    samples: dict[str, object] = dict(msgspec.json.decode(thread["samples"], type=Document))
    samples["stack"] = stacks
    return {**thread, "samples": samples}


def _patch_meta(raw: msgspec.Raw, label: Label, is_symbolicated: bool) -> Document:
    meta: Document = msgspec.json.decode(raw, type=Document)
    meta["product"] = _encode(label.product)
    meta["symbolicated"] = _encode(is_symbolicated)
    if label.info:
        entries = [{"label": name, "format": "string", "value": value} for name, value in label.info]
        meta["extra"] = _encode([{"label": "Recording", "entries": entries}])
    return meta


def _label_thread(thread: Document, label: Label) -> None:
    """The track of a process is titled with its main thread's name, so both names get the label."""
    if not label.process:
        return
    process = _text(thread, "processName")
    thread["processName"] = _encode(f"{process} ({label.process})" if process else label.process)
    if bytes(thread.get("isMainThread", disk.NOTHING)) == b"true":
        thread["name"] = _encode(f"{_text(thread, 'name')} ({label.process})")


def _text(thread: Document, key: str) -> str:
    try:
        return msgspec.json.decode(thread.get(key, b'""'), type=str | None) or ""
    except msgspec.DecodeError as error:
        raise build_undecodable(f"threads[].{key}", error) from error


def render(value: object) -> Iterator[bytes | memoryview]:
    """The document's JSON in pieces; what is still text passes through without a copy."""
    if isinstance(value, msgspec.Raw):
        yield memoryview(value)
    elif callable(value):
        yield from value()
    elif isinstance(value, Mapping):
        opening = b"{"
        for key, inner in value.items():
            yield opening + msgspec.json.encode(key) + b":"
            yield from render(inner)
            opening = b","
        yield b"}" if value else b"{}"
    elif isinstance(value, list):
        opening = b"["
        for inner in value:
            yield opening
            yield from render(inner)
            opening = b","
        yield b"]" if value else b"[]"


def _encode(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
