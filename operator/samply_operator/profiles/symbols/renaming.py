"""Gives functions their names: which rows of a profile's tables change when symbols are put in. Pure.

Functions of an unsymbolicated profile are addresses. Those that turn out to be one function become one row, or a
viewer would list them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from samply_operator.profiles.analysis.naming import is_address
from samply_operator.profiles.format.profile import Tables
from samply_operator.profiles.symbols.sidecar import Symbol, SymbolsByLib


class Strings:
    """A growing string table; an existing string keeps its index."""

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


@dataclass(frozen=True, slots=True)
class AddedFrame:
    """A new row of the frame table: an inlined function at the address of frame `base`."""

    base: int
    func: int
    line: int | None
    depth: int


@dataclass(slots=True)
class Renaming:
    """New columns. `kept_funcs[i]` is the old row that new row i stands on; `func_name` and `func_file` replace its
    name and file where not None. `frame_native` are offsets into `natives`, None where the frame got no symbol.
    `chains`: for a frame with inlined functions, the rows of `added` (counted from the end of the old frame table)
    that come below it, outermost first.
    """

    kept_funcs: list[int] = field(default_factory=list)
    func_name: list[int | None] = field(default_factory=list)
    func_file: list[int | None] = field(default_factory=list)
    frame_func: list[int] = field(default_factory=list)
    frame_line: list[int | None] = field(default_factory=list)
    frame_native: list[int | None] = field(default_factory=list)
    natives: list[NativeSymbol] = field(default_factory=list)
    added: list[AddedFrame] = field(default_factory=list)
    chains: dict[int, list[int]] = field(default_factory=dict)
    named_frames: int = 0


def plan(tables: Tables, symbols: SymbolsByLib, strings: Strings, *, with_inlined: bool = True) -> Renaming:
    """Adds new strings to `strings` and returns the rest."""
    planner = _Planner(strings)
    for frame, (func, address) in enumerate(zip(tables.frame_func, tables.frame_address, strict=True)):
        lib = tables.frame_lib[frame]
        symbol = symbols.get(lib, {}).get(address) if is_address(tables.strings[tables.func_name[func]]) else None
        if symbol is None:
            planner.keep_frame(func)
        else:
            planner.name_frame(func, lib, address, symbol)
            if with_inlined and symbol.is_wholly_known:
                planner.add_inlined(frame, func, lib, symbol)
    return planner.renaming


class _Planner:
    """Assigns rows: one per function, for all of its frames."""

    def __init__(self, strings: Strings) -> None:
        self.renaming = Renaming()
        self.strings = strings
        self._rows: dict[tuple[object, ...], int] = {}
        self._natives: dict[tuple[int, int], int] = {}

    def keep_frame(self, func: int) -> None:
        self.renaming.frame_func.append(self._row((func,), func, None, None))
        self.renaming.frame_line.append(None)
        self.renaming.frame_native.append(None)

    def name_frame(self, func: int, lib: int, address: int, symbol: Symbol) -> None:
        renaming, name = self.renaming, self.strings.add(symbol.name)
        native = self._natives.setdefault((lib, symbol.start), len(renaming.natives))
        if native == len(renaming.natives):
            renaming.natives.append(NativeSymbol(lib, symbol.start, symbol.size, name))
        renaming.frame_func.append(self._named_row(func, lib, name, symbol.file))
        renaming.frame_line.append(symbol.find_line(address))
        renaming.frame_native.append(native)
        renaming.named_frames += 1

    def add_inlined(self, frame: int, func: int, lib: int, symbol: Symbol) -> None:
        chain = []
        for inlined in reversed(symbol.frames[:-1]):
            if inlined.function is not None:
                row = self._named_row(func, lib, self.strings.add(inlined.function), inlined.file)
                chain.append(len(self.renaming.added))
                self.renaming.added.append(AddedFrame(frame, row, inlined.line, len(chain)))
        if chain:
            self.renaming.chains[frame] = chain

    def _named_row(self, func: int, lib: int, name: int, file: str | None) -> int:
        return self._row((lib, name, file), func, name, None if file is None else self.strings.add(file))

    def _row(self, key: tuple[object, ...], func: int, name: int | None, file: int | None) -> int:
        renaming = self.renaming
        row = self._rows.setdefault(key, len(renaming.kept_funcs))
        if row == len(renaming.kept_funcs):
            renaming.kept_funcs.append(func)
            renaming.func_name.append(name)
            renaming.func_file.append(file)
        return row
