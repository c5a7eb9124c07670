"""Reads the sidecar that samply 0.13.1 writes beside a profile: names for the addresses seen, by library.

What is certain in it: addresses of one function share one entry, made for the first of them in the list.
So the outer function's name and file hold for all; inlined functions and lines only for that first address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from samply_operator import json_errors
from samply_operator.profiles.errors import UnreadableProfile, UnreadableSymbols
from samply_operator.profiles.format import json_text, source
from samply_operator.profiles.format.profile import Lib

MAX_SIDECAR_BYTES = 512 << 20
SIDECAR = "Name the *.syms.json that samply wrote beside the profile, or none: functions then appear as addresses."


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
        """Whether the symbol has a single address, for which its inlined frames and line are exact."""
        return self.addresses == 1

    def find_line(self, address: int) -> int | None:
        """The outer function's line at an address, if it is certain."""
        return self.frames[-1].line if self.frames and address == self.first_address else None


SymbolsByLib = Mapping[int, Mapping[int, Symbol]]
"""Index of a library in the profile -> address in it -> symbol."""


@dataclass(frozen=True, slots=True)
class Symbols:
    """What a sidecar has for the libraries of a profile, and what of it belongs to none of them, a sentence each."""

    by_lib: SymbolsByLib
    warnings: tuple[str, ...] = ()


NOTHING = Symbols({})
MANY = 3


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


def read(path: Path, libs: Sequence[Lib], *, max_raw_bytes: int = MAX_SIDECAR_BYTES) -> Symbols:
    """The symbols of the sidecar for the libraries of a profile. Raises UnreadableSymbols or ProfileTooLarge."""
    try:
        return parse(source.load_json(path, max_raw_bytes=max_raw_bytes), libs)
    except UnreadableProfile as error:
        raise UnreadableSymbols(error.message, remedy=error.remedy, details=error.details) from error


def parse(data: bytes | bytearray, libs: Sequence[Lib]) -> Symbols:
    """The same from bytes."""
    try:
        raw = json_text.decode(data, RawSidecar)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if _is_profile(data):
            raise UnreadableSymbols("The file with the symbols is a profile.", remedy=SIDECAR) from error
        raise _build_unreadable("the file", json_errors.describe(error)) from error
    found: dict[int, Mapping[int, Symbol]] = {}
    strangers: list[RawLibSymbols] = []
    for number, entry in enumerate(raw.data):
        indexes = find_libs(entry, libs)
        if indexes:
            found.update(dict.fromkeys(indexes, _build_symbols(entry, raw.string_table, f"data[{number}]")))
        elif entry.known_addresses:
            strangers.append(entry)
    return Symbols(found, _describe_strangers(strangers, libs, has_match=bool(found)))


def _is_profile(data: bytes | bytearray) -> bool:
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(data, type=dict[str, msgspec.Raw]).keys() >= {"meta", "threads"}
    return False


def find_libs(entry: RawLibSymbols, libs: Sequence[Lib]) -> list[int]:
    """The libraries that an entry is about: the same debug id (case, hyphens and age aside), and the same debug name.

    Several where one file is mapped by several paths.
    """
    wanted = normalise_id(entry.debug_id)
    return [
        index
        for index, lib in enumerate(libs)
        if lib.debug_name == entry.debug_name and normalise_id(lib.debug_id) == wanted
    ]


def _describe_strangers(strangers: Sequence[RawLibSymbols], libs: Sequence[Lib], *, has_match: bool) -> tuple[str, ...]:
    """Unused symbols: of another build of a library, or of a library that is not in the profile."""
    names = {lib.debug_name for lib in libs}
    other_builds = [entry.debug_name for entry in strangers if entry.debug_name in names]
    if other_builds:
        more = f" and {len(other_builds) - MANY} more" if len(other_builds) > MANY else ""
        which = f"the sidecar has symbols of another build of {', '.join(other_builds[:MANY])}{more}"
        found = f"Not used: {which}" if has_match else f"No library matched, and nothing was named: {which}"
        return (f"{found}. Take the sidecar that was written with this profile.",)
    if strangers and not has_match:
        return ("No library matched, and nothing was named: the sidecar belongs to another profile.",)
    return ()


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
        remedy=SIDECAR,
        details={"where": where},
    )
