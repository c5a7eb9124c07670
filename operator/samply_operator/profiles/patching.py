"""Turns a `Renaming` into changed tables of the JSON document. Columns that aren't known here are carried along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from samply_operator.profiles.errors import build_broken
from samply_operator.profiles.renaming import NativeSymbol, Renaming

Document = dict[str, msgspec.Raw]
"""One JSON object whose values are still text."""

Columns = dict[str, Any]

FILE_COLUMNS = ("fileName",)
"""Where a function's file is a string index. From version 58 it is a row of `shared.sources`, which isn't touched."""


def patch_tables(holder: Document, renaming: Renaming, where: str) -> None:
    """Replace the func, frame and native symbol tables of a thread (or of `shared`) in place."""
    funcs = _decode(holder, "funcTable", where)
    frames = _decode(holder, "frameTable", where)
    natives = _decode(holder, "nativeSymbols", where)
    first_native = int(natives.get("length", 0))
    holder["funcTable"] = _encode(patch_funcs(funcs, renaming))
    holder["frameTable"] = _encode(patch_frames(frames, renaming, first_native))
    holder["nativeSymbols"] = _encode(append_natives(natives, renaming.natives))


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
    patched = dict(table)
    patched["func"] = renaming.frame_func
    if isinstance(patched.get("line"), list):
        _overlay(patched["line"], renaming.frame_line)
    if isinstance(patched.get("nativeSymbol"), list):
        shifted = [None if offset is None else first_native + offset for offset in renaming.frame_native]
        _overlay(patched["nativeSymbol"], shifted)
    return patched


def append_natives(table: Columns, rows: list[NativeSymbol]) -> Columns:
    """The native symbol table with more rows; a column that isn't known gets nulls."""
    added: Mapping[str, list[Any]] = {
        "libIndex": [row.lib for row in rows],
        "address": [row.address for row in rows],
        "functionSize": [row.size for row in rows],
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
        raise build_broken(f"{where}.{key}", str(error)) from error
    lengths = {len(column) for column in table.values() if isinstance(column, list)}
    if lengths - {table.get("length")}:
        raise build_broken(f"{where}.{key}", "its columns differ in length")
    return table


def _encode(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
