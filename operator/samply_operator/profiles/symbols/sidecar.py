"""Reads the sidecar that samply 0.13.1 writes beside a profile: names for the addresses seen, by library.

What is sure in it, and what is not: addresses of one function share one entry, made for the first of them in the list.
So the outer function's name and file hold for all; inlined functions and lines only for that first address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from samply_operator.profiles.errors import UnreadableProfile, UnreadableSymbols
from samply_operator.profiles.format import source
from samply_operator.profiles.format.profile import Lib

MAX_SIDECAR_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Inlined:
    """One frame of the debug data. The last of a symbol's frames is the outer function itself."""

    function: str | None
    file: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class Symbol:
    """One function of a binary. `first_address` is the one that `frames` (innermost first) were made for."""

    name: str
    start: int
    size: int | None
    frames: tuple[Inlined, ...]
    first_address: int
    addresses: int
    """How many addresses of it were seen."""

    @property
    def file(self) -> str | None:
        return self.frames[-1].file if self.frames else None

    @property
    def is_wholly_known(self) -> bool:
        """One address only: then its inlined frames and its line are the whole truth about the function here."""
        return self.addresses == 1

    def find_line(self, address: int) -> int | None:
        """The outer function's line at an address, where it is sure."""
        return self.frames[-1].line if self.frames and address == self.first_address else None


SymbolsByLib = Mapping[int, Mapping[int, Symbol]]
"""Index of a library in the profile -> address in it -> symbol."""


class RawFrame(msgspec.Struct):
    function: int | None = None
    file: int | None = None
    line: int | None = None


class RawSymbol(msgspec.Struct):
    rva: int
    symbol: int
    size: int | None = None
    frames: list[RawFrame] | None = None


class RawLibSymbols(msgspec.Struct):
    debug_name: str
    debug_id: str
    code_id: str = ""
    symbol_table: list[RawSymbol] = []
    known_addresses: list[tuple[int, int]] = []


class RawSidecar(msgspec.Struct):
    string_table: list[str]
    data: list[RawLibSymbols]


def read(path: Path, libs: Sequence[Lib], *, max_raw_bytes: int = MAX_SIDECAR_BYTES) -> SymbolsByLib:
    """The symbols of the sidecar for the libraries of a profile. Raises UnreadableSymbols or ProfileTooLarge."""
    try:
        return parse(source.load_json(path, max_raw_bytes=max_raw_bytes), libs)
    except UnreadableProfile as error:
        raise UnreadableSymbols(error.message, remedy=error.remedy, details=error.details) from error


def parse(data: bytes | bytearray, libs: Sequence[Lib]) -> SymbolsByLib:
    """The same from bytes."""
    try:
        raw = msgspec.json.decode(data, type=RawSidecar)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _build_unreadable("the file", str(error)) from error
    found: dict[int, Mapping[int, Symbol]] = {}
    for number, entry in enumerate(raw.data):
        index = find_lib(entry, libs)
        if index is not None:
            found[index] = _build_symbols(entry, raw.string_table, f"data[{number}]")
    return found


def find_lib(entry: RawLibSymbols, libs: Sequence[Lib]) -> int | None:
    """The library that an entry is about: the same debug id (case, hyphens and age aside), and the same debug name."""
    wanted = normalise_id(entry.debug_id)
    for index, lib in enumerate(libs):
        if lib.debug_name == entry.debug_name and normalise_id(lib.debug_id) == wanted:
            return index
    return None


def normalise_id(debug_id: str) -> str:
    """The 32 hex digits that both spellings have in common.

    The sidecar hyphenates the id and leaves out an age of 0; a breakpad id is in one piece with the age at its end.
    """
    return debug_id.replace("-", "").upper()[:32]


def _build_symbols(entry: RawLibSymbols, strings: list[str], where: str) -> Mapping[int, Symbol]:
    first: dict[int, int] = {}
    addresses: dict[int, int] = {}
    for address, row in entry.known_addresses:
        first.setdefault(row, address)
        addresses[row] = addresses.get(row, 0) + 1
    try:
        if any(row < 0 for row in first):
            raise IndexError(f"row {min(first)}")
        symbols = {
            row: _build_symbol(entry.symbol_table[row], strings, address, addresses[row])
            for row, address in first.items()
        }
    except IndexError as error:
        raise _build_unreadable(where, "an index is out of range") from error
    return {address: symbols[row] for address, row in entry.known_addresses}


def _build_symbol(raw: RawSymbol, strings: list[str], first_address: int, addresses: int) -> Symbol:
    return Symbol(
        name=_pick(strings, raw.symbol),
        start=raw.rva,
        size=raw.size,
        frames=tuple(
            Inlined(
                function=None if frame.function is None else _pick(strings, frame.function),
                file=None if frame.file is None else _pick(strings, frame.file),
                line=frame.line,
            )
            for frame in raw.frames or ()
        ),
        first_address=first_address,
        addresses=addresses,
    )


def _pick(strings: list[str], index: int) -> str:
    if index < 0:
        raise IndexError(index)
    return strings[index]


def _build_unreadable(where: str, what: str) -> UnreadableSymbols:
    return UnreadableSymbols(
        f"The sidecar with the symbols is broken at {where}: {what}.",
        remedy="The profile itself may be good: it is kept as samply wrote it, without names.",
        details={"where": where},
    )
