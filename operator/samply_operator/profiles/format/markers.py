"""Markers that the recorded program wrote into its own profile: intervals with a category, a name and a text. Pure.

Feldera's engine writes them (crate `feldera-samply`): type `FelderaMarker`, the text as a string index in `data.name`,
times in ms on the clock of the samples. Markers of other types, such as samply's own `mmap`, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from samply_operator.profiles.errors import build_broken, build_undecodable
from samply_operator.profiles.format import json_text, vectors
from samply_operator.profiles.format.columns import MAX_NUMBER, Column
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.tables import RawMarkers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from samply_operator.profiles.format.vectors import Floats, Longs

TYPE = "FelderaMarker"
INTERVAL = 1
"""The phase of a marker that has a start and an end."""

ALIKE = b'{"type":"FelderaMarker","name":'
"""How the engine writes the data of a marker, up to the index of its text."""

Item = TypeVar("Item")


class _Data(msgspec.Struct, gc=False):
    type: str = ""
    name: Any = None


@dataclass(frozen=True, slots=True)
class Markers:
    """Columns of one length, in the order of the file. Times are in ms; `category` and `name` are indexes into
    `categories` and `strings`. `broken`: how many more have no start or no end; `reversed`: end before they begin.
    """

    start_ms: Floats
    end_ms: Floats
    category: Longs
    name: Longs
    text: list[str]
    categories: tuple[str, ...] = ()
    strings: Sequence[str] = ()
    broken: int = 0
    reversed: int = 0

    def find_category(self, *names: str) -> NDArray[np.bool_]:
        """Which rows are of a category with one of these names."""
        is_named = np.array([name in names for name in self.categories], dtype=bool)
        found: NDArray[np.bool_] = is_named[self.category]
        return found


def read(raw: RawMarkers | None, where: str, categories: Sequence[str], strings: Sequence[str]) -> Markers:
    """One thread's markers. Raises BrokenProfile where columns differ in length or an index leads nowhere."""
    if raw is None or TYPE.encode() not in bytes(raw.data):
        none = vectors.as_longs([])
        return Markers(vectors.join_floats(()), vectors.join_floats(()), none, none, [])
    ours, text = _read_data(raw, f"{where}.data")
    start, end = (
        vectors.as_floats(_decode(column, list[float | None], f"{where}.{name}", raw.length))
        for column, name in ((raw.start_time, "startTime"), (raw.end_time, "endTime"))
    )
    phase, category, name = (
        read_longs(Column(column, f"{where}.{name}", raw.length))
        for column, name in ((raw.phase, "phase"), (raw.category, "category"), (raw.name, "name"))
    )
    # Both exist: comparisons with NaN are false.
    is_interval = (phase[ours] == INTERVAL) & (np.abs(end[ours]) <= MAX_NUMBER) & (np.abs(start[ours]) <= MAX_NUMBER)
    is_reversed = is_interval & (end[ours] < start[ours])
    good = np.flatnonzero(is_interval & ~is_reversed)
    rows = ours[good]
    _check(category[rows], categories, f"{where}.category")
    _check(name[rows], strings, f"{where}.name")
    _check(text[good], strings, f"{where}.data")
    return Markers(
        start_ms=start[rows],
        end_ms=end[rows],
        category=category[rows],
        name=name[rows],
        text=list(map(strings.__getitem__, text[good].tolist())),
        categories=tuple(categories),
        strings=strings,
        broken=int(len(ours) - is_interval.sum()),
        reversed=int(is_reversed.sum()),
    )


def read_longs(column: Column) -> Longs:
    """Often they are all the same: of the engine's markers all phases are."""
    first = bytes(memoryview(column.raw)[1:10]).partition(b",")[0]
    if first.isdigit() and column.is_all(first):
        return np.full(column.length, int(first))
    return vectors.view_longs(column.ints("q"))


def _read_data(raw: RawMarkers, where: str) -> tuple[Longs, Longs]:
    """The rows of the engine's markers, and for each the index of its text. Where a thread has no others, and they are
    written as the engine writes them, not one of them is decoded."""
    data = bytes(raw.data)
    if data.startswith(b'[{"type": '):
        data = data.replace(b": ", b":").replace(b", ", b",")
    # What is not alike leaves something that is no number.
    found = vectors.parse_longs(data[len(ALIKE) + 1 : -2].replace(b"}," + ALIKE, b","))
    if found is not None and len(found) == raw.length and data.startswith(b"[" + ALIKE):
        return np.arange(raw.length), found
    items = _decode(raw.data, list[_Data | None], where, raw.length)
    ours = [(row, each.name) for row, each in enumerate(items) if each is not None and each.type == TYPE]
    if any(not isinstance(name, int) or abs(name) > MAX_NUMBER for _, name in ours):
        raise build_broken(where, "the text of a marker is no index of a string")
    return vectors.as_longs([row for row, _ in ours]), vectors.as_longs([name for _, name in ours])


def _decode(raw: msgspec.Raw, shape: type[list[Item]], where: str, length: int) -> list[Item]:
    try:
        items = json_text.decode(raw, shape) if len(raw) else []
    except (msgspec.DecodeError, RecursionError) as error:
        raise build_undecodable(where, error) from error
    if len(items) != length:
        raise build_broken(where, f"{len(items)} rows where the table has {length}")
    return items


def _check(rows: Longs, items: Sequence[str], where: str) -> None:
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(items)):
        raise build_broken(where, f"an index is outside the table of {len(items)} rows")
