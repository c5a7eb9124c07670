"""Converts a recording of format version 55 to other versions.

The recordings in `tests/data/profiles` are real, made by Debian's samply 0.13.1, which writes version 55. Other samplys
write 49 (0.13.1 from crates.io), 57 (Feldera's fork) and 66 to 71 (upstream's main branch); the viewer reads up to 75.
What each version changed is in `samply_operator/profiles/format/tables.py`. Tables are moved, not interned anew, so
indexes are larger than samply's own would be; the meaning is the same.
"""

from __future__ import annotations

import copy
from itertools import accumulate
from typing import Any

Document = dict[str, Any]

TABLES = ("stackTable", "frameTable", "funcTable", "resourceTable", "nativeSymbols")


def rewrite(document: Document, version: int) -> Document:
    """A version 55 document as `version` (49, 55, 57, 58, 60, 66, 70, 71, 74 or 75) has it."""
    changed = copy.deepcopy(document)
    changed["meta"]["preprocessedProfileVersion"] = version
    if version < 50:
        _use_absolute_times(changed)
        _add_old_columns(changed)
    if version >= 56:
        _share_strings(changed)
    if version >= 58:
        _share_sources(changed)
    if version >= 60:
        _share_tables(changed)
    if version >= 64:
        _add_new_columns(changed["shared"])
    if version >= 66:
        _use_prefix_offsets(changed["shared"]["stackTable"])
    if version >= 70:
        _put_libs_on_frames(changed["shared"])
        _use_flags(changed["shared"], version)
    return changed


def _use_flags(shared: Document, version: int) -> None:
    if version >= 71:
        _put_flags_on_frames(shared["frameTable"])
    if version >= 74:
        natives = shared["nativeSymbols"]
        natives["functionSize"] = [-1 if size is None else size for size in natives.get("functionSize", [])]
    if version >= 75:
        _put_flags_on_functions(shared["funcTable"])


def _use_absolute_times(document: Document) -> None:
    for thread in document["threads"]:
        samples = thread["samples"]
        samples["time"] = list(accumulate(samples.pop("timeDeltas")))


def _add_old_columns(document: Document) -> None:
    for thread in document["threads"]:
        stacks, frames = thread["stackTable"], thread["frameTable"]
        stacks["category"] = [frames["category"][frame] for frame in stacks["frame"]]
        stacks["subcategory"] = [frames["subcategory"][frame] for frame in stacks["frame"]]
        frames["implementation"] = [None] * frames["length"]


def _share_strings(document: Document) -> None:
    strings: list[str] = []
    numbers: dict[str, int] = {}
    for thread in document["threads"]:
        own = thread.pop("stringArray")
        for text in own:
            if numbers.setdefault(text, len(strings)) == len(strings):
                strings.append(text)
        moved = [numbers[text] for text in own]
        for table, column in (
            ("funcTable", "name"),
            ("funcTable", "fileName"),
            ("resourceTable", "name"),
            ("nativeSymbols", "name"),
            ("markers", "name"),
        ):
            values = thread[table][column]
            thread[table][column] = [None if value is None else moved[value] for value in values]
    document["shared"] = {"stringArray": strings}


def _share_sources(document: Document) -> None:
    filenames: list[int] = []
    for thread in document["threads"]:
        funcs = thread["funcTable"]
        sources = []
        for name in funcs.pop("fileName"):
            if name is not None and name not in filenames:
                filenames.append(name)
            sources.append(None if name is None else filenames.index(name))
        funcs["source"] = sources
    count = len(filenames)
    document["shared"]["sources"] = {"length": count, "id": [None] * count, "filename": filenames}


def _share_tables(document: Document) -> None:
    shared = document["shared"]
    for table in TABLES:
        shared[table] = {"length": 0}
    for thread in document["threads"]:
        start = {table: shared[table]["length"] for table in TABLES}
        moves = {
            ("stackTable", "prefix"): start["stackTable"],
            ("stackTable", "frame"): start["frameTable"],
            ("frameTable", "func"): start["funcTable"],
            ("frameTable", "nativeSymbol"): start["nativeSymbols"],
            ("funcTable", "resource"): start["resourceTable"],
        }
        for table in TABLES:
            _append(shared[table], thread.pop(table), {key: value for (of, key), value in moves.items() if of == table})
        stacks = thread["samples"]["stack"]
        thread["samples"]["stack"] = [None if stack is None else stack + start["stackTable"] for stack in stacks]


def _append(table: Document, rows: Document, moves: dict[str, int]) -> None:
    for key, column in rows.items():
        if key == "length":
            table["length"] += column
            continue
        offset = moves.get(key, 0)
        moved = [value if value is None or value == -1 else value + offset for value in column] if offset else column
        table.setdefault(key, []).extend(moved)


def _add_new_columns(shared: Document) -> None:
    """What 61 and 64 added, as samply's main branch fills it: columns of nulls."""
    count = shared["sources"]["length"]
    shared["sources"] |= {
        "startLine": [1] * count,
        "startColumn": [1] * count,
        "sourceMapURL": [None] * count,
        "content": [None] * count,
    }
    shared["sourceLocationTable"] = {"length": 0, "source": [], "line": [], "column": []}
    for table in ("frameTable", "funcTable"):
        shared[table]["originalLocation"] = [None] * shared[table]["length"]


def _use_prefix_offsets(stacks: Document) -> None:
    prefixes = stacks.pop("prefix", [])
    stacks["prefixOffset"] = [0 if prefix is None else index - prefix for index, prefix in enumerate(prefixes)]


def _put_libs_on_frames(shared: Document) -> None:
    libs = shared["resourceTable"].pop("lib", [])
    resources = shared["funcTable"].get("resource", [])
    shared["frameTable"]["lib"] = [
        -1 if resources[func] == -1 or libs[resources[func]] is None else libs[resources[func]]
        for func in shared["frameTable"].get("func", [])
    ]


def _put_flags_on_frames(frames: Document) -> None:
    """What a frame doesn't have is 0, and its flag is off."""
    flags = [1 if depth else 0 for depth in frames.pop("inlineDepth", [])]
    has_address = [a != -1 and lib != -1 for a, lib in zip(frames.get("address", []), frames["lib"], strict=True)]
    for row, is_there in enumerate(has_address):
        flags[row] |= 2 if is_there else 0
    for key in ("address", "lib"):
        frames[key] = [v if is_there else 0 for v, is_there in zip(frames.get(key, []), has_address, strict=True)]
    for key, bit in (("category", 4), ("nativeSymbol", 8), ("line", 16), ("column", 32), ("originalLocation", 64)):
        _flag(frames, flags, key, bit)
    frames["flags"] = flags


def _put_flags_on_functions(funcs: Document) -> None:
    flags = [0] * funcs["length"]
    for key, bit in (("isJS", 1), ("relevantForJS", 2)):
        values = funcs.pop(key, [False] * len(flags))
        flags = [flag | bit * value for flag, value in zip(flags, values, strict=True)]
    bits = {"resource": 4, "source": 8, "lineNumber": 16, "columnNumber": 32, "originalLocation": 64}
    for key, bit in bits.items():
        _flag(funcs, flags, key, bit)
    funcs["flags"] = flags


def _flag(table: Document, flags: list[int], key: str, bit: int) -> None:
    values = table.get(key, [])
    for row, value in enumerate(values):
        if value is None or value == -1:
            values[row] = 0
        else:
            flags[row] |= bit
