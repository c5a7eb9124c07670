"""Reads pprof's protobuf: written from the .proto file, independently of the encoder, so that each checks the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Pprof:
    """Stacks are names from the root to the innermost function."""

    sample_types: list[tuple[str, str]] = field(default_factory=list)
    samples: list[tuple[tuple[str, ...], list[int]]] = field(default_factory=list)
    labels: list[dict[str, str]] = field(default_factory=list)
    """Of each sample."""
    leaf_mappings: list[tuple[str, str]] = field(default_factory=list)
    """Of each sample: file and build id of the library of its innermost function."""
    period: int = 0


def parse(data: bytes) -> Pprof:
    strings: list[str] = []
    types: list[dict[int, list[bytes | int]]] = []
    samples: list[dict[int, list[bytes | int]]] = []
    functions: dict[int, int] = {}
    locations: dict[int, int] = {}
    mapping_of: dict[int, int] = {}
    mappings: dict[int, dict[int, list[bytes | int]]] = {0: {}}
    period = 0
    for number, value in fields(data):
        match number, value:
            case 1, bytes():
                types.append(collect(value))
            case 2, bytes():
                samples.append(collect(value))
            case 3, bytes():
                mapping = collect(value)
                mappings[number_of(mapping, 1)] = mapping
            case 4, bytes():
                location = collect(value)
                mapping_of[number_of(location, 1)] = number_of(location, 2)
                line = location[4][0]
                assert isinstance(line, bytes)
                locations[number_of(location, 1)] = number_of(collect(line), 1)
            case 5, bytes():
                function = collect(value)
                functions[number_of(function, 1)] = number_of(function, 2)
            case 6, bytes():
                strings.append(value.decode())
            case 12, int():
                period = value
    assert strings[0] == ""
    parsed = Pprof([(strings[number_of(each, 1)], strings[number_of(each, 2)]) for each in types], period=period)
    for sample in samples:
        stack = tuple(strings[functions[locations[number]]] for number in reversed(packed(sample, 1)))
        parsed.samples.append((stack, packed(sample, 2)))
        pairs = [collect(label) for label in sample.get(3, []) if isinstance(label, bytes)]
        parsed.labels.append({strings[number_of(pair, 1)]: strings[number_of(pair, 2)] for pair in pairs})
        mapping = mappings[mapping_of[packed(sample, 1)[0]]] if stack else {}
        parsed.leaf_mappings.append((strings[number_of(mapping, 5)], strings[number_of(mapping, 6)]))
    return parsed


def fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            yield key >> 3, data[at : at + value]
            at += value
        else:
            assert key & 7 == 0
            yield key >> 3, value


def collect(data: bytes) -> dict[int, list[bytes | int]]:
    found: dict[int, list[bytes | int]] = {}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)
    return found


def number_of(message: dict[int, list[bytes | int]], number: int) -> int:
    value = message.get(number, [0])[0]
    assert isinstance(value, int)
    return value


def packed(message: dict[int, list[bytes | int]], number: int) -> list[int]:
    data = message.get(number, [b""])[0]
    assert isinstance(data, bytes)
    numbers, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        numbers.append(value)
    return numbers


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
