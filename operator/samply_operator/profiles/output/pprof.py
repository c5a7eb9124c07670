"""pprof's format: gzip of a protobuf `Profile`. Pure.

The encoder is written by hand: the format is eight small messages that haven't changed for years, fields may be
streamed in any order, and the protobuf package would be the largest dependency of this one.
Field numbers: github.com/google/pprof, proto/profile.proto.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from samply_operator.profiles.analysis import libraries, tally, weighing
from samply_operator.profiles.analysis.calltree import FunctionIndex
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.analysis.weighing import WeighedThread
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.errors import build_broken
from samply_operator.profiles.format.profile import Profile
from samply_operator.profiles.symbols.renaming import Strings

# Fields of `Profile`.
SAMPLE_TYPE, SAMPLE, MAPPING, LOCATION, FUNCTION, STRING_TABLE = 1, 2, 3, 4, 5, 6
TIME_NANOS, DURATION_NANOS, PERIOD_TYPE, PERIOD, COMMENT = 9, 10, 11, 12, 13

MAX_VARINT = 1 << 64
MAX_VALUE = (1 << 63) - 1


UNITS: dict[str, tuple[str, str, float]] = {
    "samples": ("samples", "count", 1.0),
    "bytes": ("space", "bytes", 1.0),
    "tracing-ms": ("time", "nanoseconds", 1e6),
}
"""By weight type: pprof's name and unit of it, and how many of that unit it is. Values are whole numbers there."""

FINE = 1000
"""Units per weight for weights that are not whole numbers."""


def convert(profile: Profile, *, choice: Choice = BY_FUNCTION) -> Iterator[bytes]:
    """Both measures at once: what samples weigh (such as `samples/count`), and `cpu/nanoseconds` where the profile has
    CPU times; pprof's user picks one. The operator or group is a label, for `-tagroot` and `-tagfocus`.

    Raises NotInProfile before the first piece.
    """
    weighing.check(profile, "samples")
    weighing.check_sign_of_cpu(profile.threads)
    weighing.require_samples(profile)
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    for message in encode(profile, choice):
        if packed := packer.compress(message):
            yield packed
    yield packer.flush()


def encode(profile: Profile, choice: Choice = BY_FUNCTION) -> Iterator[bytes]:
    """The fields of the `Profile` message. Strings come last, once all are known."""
    strings = Strings([""])
    index = FunctionIndex()
    columns = _choose_columns(profile)
    for column in columns:
        yield message(SAMPLE_TYPE, _value_type(strings, column.kind, column.unit))
    mappings = _Mappings(profile)
    numbers: list[bytes] = []
    for weighed in weighing.weigh(profile, index, choice=choice):
        numbers += map(varint, range(len(numbers) + 1, len(index.functions) + 1))
        yield from _samples(weighed, columns, strings, numbers)
    yield from mappings.encode(strings)
    for number, function in enumerate(index.functions, 1):
        name = strings.add(function.name)
        yield message(FUNCTION, _ints((1, number), (2, name), (3, name), (4, strings.add(function.file))))
        line = message(4, _ints((1, number)))
        yield message(LOCATION, _ints((1, number), (2, mappings.find(function.lib))) + line)
    yield from _describe(profile, columns, strings)
    for text in strings.items:
        yield message(STRING_TABLE, text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class _Column:
    """One kind of value. `per_unit`: what 1 of ours is in pprof's unit."""

    measure: Measure
    kind: str
    unit: str
    per_unit: float


def _choose_columns(profile: Profile) -> list[_Column]:
    weight_type = weighing.find_weight_type(profile.threads)
    kind, unit, per_unit = UNITS.get(weight_type, (weight_type, weight_type, 1.0))
    if per_unit == 1.0 and any(thread.samples.weight.has_fractions for thread in profile.threads):
        unit, per_unit = f"1/{FINE} {unit}", float(FINE)
    columns = [_Column("samples", kind, unit, per_unit)]
    if weighing.has_cpu_times(profile):
        columns.append(_Column("cpu", "cpu", "nanoseconds", 1000.0))
    return columns


def _describe(profile: Profile, columns: Sequence[_Column], strings: Strings) -> Iterator[bytes]:
    """Time, rate and comments."""
    yield _ints((TIME_NANOS, round(profile.meta.start_time_ms * 1e6)))
    span = tally.find_span(profile.threads) if profile.meta.has_times else None
    yield _ints((DURATION_NANOS, round((span[1] - span[0]) * 1e6) if span else 0))
    if columns[0].kind == "samples" and profile.meta.interval_ms:
        yield message(PERIOD_TYPE, _value_type(strings, "cpu", "nanoseconds"))
        yield _ints((PERIOD, round(profile.meta.interval_ms * 1e6)))
    for text in (profile.meta.product, *weighing.describe_repeats(profile)):
        yield _ints((COMMENT, strings.add(text)))


class _Mappings:
    """Libraries as mappings; 0 is none."""

    def __init__(self, profile: Profile) -> None:
        self.libs = profile.libs
        labels = libraries.label(profile.libs)
        self._numbers = {name: number for number, name in enumerate(labels[:-1], 1)}

    def find(self, lib: str) -> int:
        return self._numbers.get(lib, 0)

    def encode(self, strings: Strings) -> Iterator[bytes]:
        for number, lib in enumerate(self.libs, 1):
            file = strings.add(lib.path or lib.name)
            build_id = strings.add(lib.code_id or libraries.find_build(lib))
            # 7 is has_functions: without it pprof looks for symbols itself.
            yield message(MAPPING, _ints((1, number), (5, file), (6, build_id), (7, 1)))


def _samples(
    weighed: WeighedThread, columns: Sequence[_Column], strings: Strings, numbers: Sequence[bytes]
) -> Iterator[bytes]:
    """`numbers`: of each function its location's, encoded."""
    sums = [(weighed.pick(column.measure), column.per_unit) for column in columns]
    labels = b"".join(
        message(3, _ints((1, strings.add(key)), (2, strings.add(value))))
        for key, value in (
            ("thread", weighed.thread.name),
            ("process", weighed.thread.process_name),
            ("pid", weighed.thread.pid),
            ("tid", weighed.thread.tid),
            *(() if weighed.label is None else ((weighed.label.kind, weighed.label.title),)),
        )
        if value
    )
    for node in sorted(weighed.weight.keys() | weighed.cpu_us.keys()):
        path = weighing.walk_up(weighed.forest, node)
        path.reverse()
        values = [round(per_unit * values.get(node, 0.0)) for values, per_unit in sums]
        for column, value in zip(columns, values, strict=True):
            if value > MAX_VALUE:
                samples = weighed.thread.samples
                where = (samples.weight if column.measure == "samples" else samples.cpu).where
                raise build_broken(where, "a sum has more than the 64 bits that pprof has for it")
        locations = message(1, b"".join(map(numbers.__getitem__, path)))
        yield message(SAMPLE, locations + message(2, b"".join(map(varint, values))) + labels)


def _value_type(strings: Strings, kind: str, unit: str) -> bytes:
    return _ints((1, strings.add(kind)), (2, strings.add(unit)))


def _ints(*fields: tuple[int, int]) -> bytes:
    """Varint fields; zero is protobuf's default and left out."""
    return b"".join(varint(number << 3) + varint(value) for number, value in fields if value)


def message(number: int, payload: bytes) -> bytes:
    """A length-delimited field: a message, a string, or packed numbers."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """Negative numbers as two's complement of 64 bits, as int64 wants it."""
    value %= MAX_VARINT
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
