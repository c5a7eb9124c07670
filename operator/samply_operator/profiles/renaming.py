"""Gives functions their names: which rows of a profile's tables change when symbols are put in. Pure.

Functions of an unsymbolicated profile are addresses. Those that turn out to be one function become one row, or a
viewer would list them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from samply_operator.profiles.fact_sheet import is_address
from samply_operator.profiles.profile import Tables
from samply_operator.profiles.symbols import Symbol, SymbolsByLib


class Strings:
    """A string table that grows; a string that it has already keeps its index."""

    def __init__(self, strings: Sequence[str]) -> None:
        self.items = list(strings)
        self._index = {text: index for index, text in enumerate(self.items)}

    def add(self, text: str) -> int:
        index = self._index.setdefault(text, len(self.items))
        if index == len(self.items):
            self.items.append(text)
        return index


@dataclass(frozen=True, slots=True)
class NativeSymbol:
    """A row of the native symbol table, which the viewer's assembly view reads."""

    lib: int
    address: int
    size: int | None
    name: int


@dataclass(slots=True)
class Renaming:
    """New columns. `kept_funcs[i]` is the old row that new row i stands on; `func_name` and `func_file` replace its
    name and file where not None. `frame_native` are offsets into `natives`, None where the frame got no symbol.
    """

    kept_funcs: list[int] = field(default_factory=list)
    func_name: list[int | None] = field(default_factory=list)
    func_file: list[int | None] = field(default_factory=list)
    frame_func: list[int] = field(default_factory=list)
    frame_line: list[int | None] = field(default_factory=list)
    frame_native: list[int | None] = field(default_factory=list)
    natives: list[NativeSymbol] = field(default_factory=list)
    named_frames: int = 0


def plan(tables: Tables, symbols: SymbolsByLib, strings: Strings) -> Renaming:
    """New strings go into `strings`; the rest is in the answer."""
    renaming = Renaming()
    rows: dict[tuple[object, ...], int] = {}
    natives: dict[tuple[int, int], int] = {}
    for func, address in zip(tables.frame_func, tables.frame_address, strict=True):
        lib = tables.func_lib[func]
        symbol = symbols.get(lib, {}).get(address) if is_address(tables.strings[tables.func_name[func]]) else None
        if symbol is None:
            _keep_frame(renaming, rows, func)
        else:
            _name_frame(renaming, rows, natives, strings, func, lib, address, symbol)
    return renaming


def _keep_frame(renaming: Renaming, rows: dict[tuple[object, ...], int], func: int) -> None:
    row = rows.setdefault((func,), len(renaming.kept_funcs))
    if row == len(renaming.kept_funcs):
        renaming.kept_funcs.append(func)
        renaming.func_name.append(None)
        renaming.func_file.append(None)
    renaming.frame_func.append(row)
    renaming.frame_line.append(None)
    renaming.frame_native.append(None)


def _name_frame(
    renaming: Renaming,
    rows: dict[tuple[object, ...], int],
    natives: dict[tuple[int, int], int],
    strings: Strings,
    func: int,
    lib: int,
    address: int,
    symbol: Symbol,
) -> None:
    name = strings.add(symbol.name)
    row = rows.setdefault((lib, name, symbol.file), len(renaming.kept_funcs))
    if row == len(renaming.kept_funcs):
        renaming.kept_funcs.append(func)
        renaming.func_name.append(name)
        renaming.func_file.append(None if symbol.file is None else strings.add(symbol.file))
    native = natives.setdefault((lib, symbol.start), len(renaming.natives))
    if native == len(renaming.natives):
        renaming.natives.append(NativeSymbol(lib, symbol.start, symbol.size, name))
    renaming.frame_func.append(row)
    renaming.frame_line.append(symbol.find_line(address))
    renaming.frame_native.append(native)
    renaming.named_frames += 1
