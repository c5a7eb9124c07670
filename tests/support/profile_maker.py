"""Makes small profiles of format version 55 for tests, with defaults for everything a test does not set."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: its stack from the root to the innermost function, what it weighs, and CPU time."""

    path: tuple[str, ...]
    weight: float = 1
    cpu_us: float = 1000


def build(
    threads: Sequence[Sequence[Sample]],
    *,
    interval_ms: float = 1.0,
    weight_type: str = "samples",
    has_cpu: bool = True,
    build_id: str = "A0",
) -> Document:
    """A profile of one library, with one thread per list of samples."""
    document = _build(threads, interval_ms, build_id)
    for thread in document["threads"]:
        thread["samples"]["weightType"] = weight_type
        if not has_cpu:
            del thread["samples"]["threadCPUDelta"]
    return document


def _build(threads: Sequence[Sequence[Sample]], interval_ms: float, build_id: str) -> Document:
    return {
        "meta": {
            "interval": interval_ms,
            "preprocessedProfileVersion": 55,
            "product": "made",
            "startTime": 1.7e12,
            "symbolicated": True,
            "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "µs"},
        },
        "libs": [
            {
                "name": "app",
                "path": "/app",
                "debugName": "app",
                "debugPath": "/app",
                "breakpadId": build_id,
                "codeId": None,
            }
        ],
        "threads": [_build_thread(number, samples) for number, samples in enumerate(threads)],
    }


def _build_thread(number: int, samples: Sequence[Sample]) -> Document:
    names = list(dict.fromkeys(name for sample in samples for name in sample.path))
    stacks: dict[tuple[str, ...], int] = {}
    for sample in samples:
        for depth in range(1, len(sample.path) + 1):
            stacks.setdefault(sample.path[:depth], len(stacks))
    count = len(names)
    return {
        "name": f"thread-{number}",
        "processName": "app",
        "pid": "1",
        "tid": str(number),
        "isMainThread": number == 0,
        "markers": {"length": 0, "name": []},
        "samples": {
            "length": len(samples),
            "weightType": "samples",
            "stack": [stacks.get(sample.path) for sample in samples],
            "timeDeltas": [1.0] * len(samples),
            "weight": [sample.weight for sample in samples],
            "threadCPUDelta": [sample.cpu_us for sample in samples],
        },
        "stackTable": {
            "length": len(stacks),
            "prefix": [stacks.get(path[:-1]) for path in stacks],
            "frame": [names.index(path[-1]) for path in stacks],
        },
        "frameTable": {
            "length": count,
            "func": list(range(count)),
            "address": [16 * row for row in range(count)],
            "category": [0] * count,
            "subcategory": [0] * count,
            "inlineDepth": [0] * count,
            "line": [None] * count,
            "nativeSymbol": [None] * count,
        },
        "funcTable": {
            "length": count,
            "name": list(range(count)),
            "resource": [0] * count,
            "fileName": [None] * count,
        },
        "resourceTable": {"length": 1, "lib": [0], "name": [None], "host": [None], "type": [1]},
        "nativeSymbols": {"length": 0, "address": [], "functionSize": [], "libIndex": [], "name": []},
        "stringArray": names,
    }


def save(document: Document, path: Path) -> Path:
    """As gzip JSON, which `profiles.read` takes."""
    path.write_bytes(gzip.compress(json.dumps(document).encode(), compresslevel=1))
    return path


NAMES = strategies.sampled_from(["main", "run", "step", "a;b", "<b>&\"'", "tab\there", "zwölf", "\x1b[31mred", "]]>"])
SAMPLES = strategies.builds(
    Sample,
    path=strategies.lists(NAMES, max_size=6).map(tuple),
    weight=strategies.integers(0, 5) | strategies.integers(0, 40).map(lambda eighths: eighths / 8),
    cpu_us=strategies.integers(0, 10_000) | strategies.integers(0, 400).map(lambda quarters: quarters / 4),
)
THREADS = strategies.lists(strategies.lists(SAMPLES, max_size=12), max_size=4)
"""Threads of samples with recursion, empty stacks, weights of zero and names that no format likes."""
