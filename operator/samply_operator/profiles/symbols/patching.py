"""Turns a `Renaming` into changed tables of the JSON document. Unknown columns are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from samply_operator.profiles.analysis import tally
from samply_operator.profiles.errors import build_broken, build_undecodable
from samply_operator.profiles.format import tables as disk
from samply_operator.profiles.format.profile import Thread
from samply_operator.profiles.symbols.inlining import Expansion
from samply_operator.profiles.symbols.renaming import NativeSymbol, Renaming

Document = dict[str, msgspec.Raw]
"""One JSON object whose values are still text."""

Columns = dict[str, Any]

FILE_COLUMNS = ("fileName",)
"""Where a function's file is a string index. From version 58 it is a row of `shared.sources`, which isn't touched."""


ROWS_A_PIECE = 1 << 16


def patch_tables(holder: Document, renaming: Renaming, where: str, version: int) -> None:
    """Replace the func, frame and native symbol tables of a thread (or of `shared`) in place."""
    funcs = _decode(holder, "funcTable", where)
    frames = _decode(holder, "frameTable", where)
    natives = _decode(holder, "nativeSymbols", where)
    first_native = int(natives.get("length", 0))
    no_size = -1 if version >= disk.NO_NULL_SIZES else None
    holder["funcTable"] = _encode(patch_funcs(funcs, renaming))
    holder["frameTable"] = _encode(patch_frames(frames, renaming, first_native))
    holder["nativeSymbols"] = _encode(append_natives(natives, renaming.natives, no_size))


def patch_stacks(holder: Document, expansion: Expansion, where: str) -> None:
    """Replace the stack table in place; the sample column that points into it is `rewrite_column`'s."""
    table = _decode(holder, "stackTable", where)
    patched: Columns = {
        key: [column[row] for row in expansion.old_of_new] if isinstance(column, list) else column
        for key, column in table.items()
    }
    patched["length"] = len(expansion.frame)
    patched["frame"] = expansion.frame
    if "prefixOffset" in table:
        patched["prefixOffset"] = [0 if prefix == -1 else row - prefix for row, prefix in enumerate(expansion.prefix)]
    else:
        patched["prefix"] = [None if prefix == -1 else prefix for prefix in expansion.prefix]
    holder["stackTable"] = _encode(patched)


def rewrite_column(thread: Thread, new_of_old: Sequence[int]) -> Iterator[bytes]:
    """The JSON of a thread's sample stacks (null: none), each replaced, a piece at a time."""
    opening = b"["
    stacks = tally.read_stacks(thread)
    for start in range(0, len(stacks), ROWS_A_PIECE):
        piece: list[int] = stacks[start : start + ROWS_A_PIECE].tolist()
        replaced = [None if stack < 0 else new_of_old[stack] for stack in piece]
        yield opening + msgspec.json.encode(replaced)[1:-1]
        opening = b","
    yield b"]" if opening == b"," else b"[]"


def patch_funcs(table: Columns, renaming: Renaming) -> Columns:
    """Keep the rows that frames still use, under their new names."""
    patched: Columns = {
        key: [column[row] for row in renaming.kept_funcs] if isinstance(column, list) else column
        for key, column in table.items()
    }
    patched["length"] = len(renaming.kept_funcs)
    _overlay(patched["name"], renaming.func_name)
    for key in FILE_COLUMNS:
        if key in patched:
            _overlay(patched[key], renaming.func_file)
    return patched


def patch_frames(table: Columns, renaming: Renaming, first_native: int) -> Columns:
    """Point frames at the new rows, and at the native symbols that will follow those already there."""
    bases = [frame.base for frame in renaming.added]
    patched = {
        key: column + [column[base] for base in bases] if isinstance(column, list) else column
        for key, column in table.items()
    }
    patched["length"] = int(table.get("length", 0)) + len(bases)
    patched["func"] = renaming.frame_func + [frame.func for frame in renaming.added]
    if renaming.added and isinstance(patched.get("inlineDepth"), list):
        patched["inlineDepth"][-len(bases) :] = [frame.depth for frame in renaming.added]
    flags = patched.get("flags")
    if isinstance(flags, list) and bases:
        flags[-len(bases) :] = [flag | disk.FRAME_IS_INLINED for flag in flags[-len(bases) :]]
    lines = renaming.frame_line + [frame.line for frame in renaming.added]
    _overlay_flagged(patched, "line", lines, disk.FRAME_HAS_LINE)
    offsets = renaming.frame_native + [renaming.frame_native[base] for base in bases]
    shifted = [None if offset is None else first_native + offset for offset in offsets]
    _overlay_flagged(patched, "nativeSymbol", shifted, disk.FRAME_HAS_NATIVE)
    return patched


def _overlay_flagged(table: Columns, key: str, values: list[int | None], bit: int) -> None:
    """Replace what is known, and say so in the flags where the version has them."""
    if not isinstance(table.get(key), list):
        return
    _overlay(table[key], values)
    flags = table.get("flags")
    if isinstance(flags, list):
        _overlay(flags, [None if value is None else flag | bit for flag, value in zip(flags, values, strict=True)])


def append_natives(table: Columns, rows: list[NativeSymbol], no_size: int | None) -> Columns:
    """The native symbol table with more rows; a column that isn't known gets nulls. `no_size`: of a symbol without."""
    added: Mapping[str, list[Any]] = {
        "libIndex": [row.lib for row in rows],
        "address": [row.address for row in rows],
        "functionSize": [no_size if row.size is None else row.size for row in rows],
        "name": [row.name for row in rows],
    }
    patched = {
        key: column + added.get(key, [None] * len(rows)) if isinstance(column, list) else column
        for key, column in table.items()
    }
    patched["length"] = int(table.get("length", 0)) + len(rows)
    return patched


def _overlay(column: list[Any], values: list[int | None]) -> None:
    for index, value in enumerate(values):
        if value is not None:
            column[index] = value


def _decode(holder: Document, key: str, where: str) -> Columns:
    try:
        table = msgspec.json.decode(holder[key], type=dict[str, Any])
    except (KeyError, msgspec.DecodeError) as error:
        raise build_undecodable(f"{where}.{key}", error) from error
    lengths = {len(column) for column in table.values() if isinstance(column, list)}
    if lengths - {table.get("length")}:
        raise build_broken(f"{where}.{key}", "its columns differ in length")
    return table


def _encode(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
