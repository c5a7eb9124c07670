"""Writes a synthetic profile of any size, shaped like samply's, and a sidecar for it.

    python bench/profiles/generate.py FOLDER --samples 8000000
    python bench/profiles/generate.py FOLDER --samples 1000000 --markers 1000000

Format version 55 (57 with markers), eight threads. A stack is some 40 frames deep; a new sample shares most of its
stack with one seen before and differs in its last few frames, as in a real program. The same arguments give the same
files.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

THREADS = 8
OPERATORS, NESTED = 60, 8
"""Operators of the circuit, and nodes in each of them, with itself."""
FRAMES = 12_000
DEPTH = 40
NEW_STACKS_A_SAMPLE = 2.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=8_000_000)
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"addresses in each thread (default {FRAMES})")
    parser.add_argument("--markers", type=int, default=0, help="evaluations of operators, over all threads (default 0)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(options.folder / "profile.json.gz", "wb", compresslevel=6) as file:
        write_profile(file, options.samples, options.frames, options.markers)
    (options.folder / "profile.json.syms.json").write_text(json.dumps(build_sidecar(options.frames)))


def write_profile(file: BinaryIO, samples: int, frames: int, markers: int) -> None:
    lib = {"name": "pipeline", "path": "/pipeline", "debugName": "pipeline", "debugPath": "/pipeline"}
    head = {
        "meta": {
            "interval": 1.0,
            "preprocessedProfileVersion": 57 if markers else 55,
            "product": "synthetic",
            "startTime": 1.7e12,
            "symbolicated": False,
            "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "µs"},
            "categories": [
                {"name": name, "color": "grey", "subcategories": ["Other"]} for name in ("Other", "Operator")
            ],
            "markerSchema": [],
        },
        "libs": [{**lib, "breakpadId": "0" * 31 + "10", "codeId": None, "arch": None}],
    }
    file.write(json.dumps(head).encode()[:-1] + b',"threads":[')
    for number in range(THREADS):
        file.write(b"," if number else b"")
        write_thread(file, number, samples // THREADS, frames, markers // THREADS)
    file.write(b"]")
    if markers:
        texts = chain.from_iterable(build_texts(n, markers // THREADS, samples // THREADS) for n in range(THREADS))
        file.write(b',"shared":{"stringArray":')
        write_column(file, map(json.dumps, chain(name_frames(frames), texts)))
        file.write(b"}")
    file.write(b"}")


def write_thread(file: BinaryIO, number: int, samples: int, frames: int, markers: int) -> None:
    dice = random.Random(number)
    prefix, frame, stack_of_sample = walk(dice, samples, frames)
    addresses = [16 * row for row in range(frames)]
    head: dict[str, object] = {
        "name": f"worker-{number}",
        "processName": "pipeline",
        "pid": "1",
        "tid": str(number),
        "isMainThread": number == 0,
        "markers": build_markers(markers, samples, frames + 2 * number * markers),
        "frameTable": {
            "length": frames,
            "address": addresses,
            "inlineDepth": [0] * frames,
            "category": [0] * frames,
            "subcategory": [0] * frames,
            "func": list(range(frames)),
            "nativeSymbol": [None] * frames,
            "innerWindowID": [0] * frames,
            "line": [None] * frames,
            "column": [None] * frames,
        },
        "funcTable": {
            "length": frames,
            "name": list(range(frames)),
            "isJS": [False] * frames,
            "relevantForJS": [False] * frames,
            "resource": [0] * frames,
            "fileName": [None] * frames,
            "lineNumber": [None] * frames,
            "columnNumber": [None] * frames,
        },
        "resourceTable": {"length": 1, "lib": [0], "name": [0], "host": [None], "type": [1]},
        "nativeSymbols": {"length": 0, "address": [], "functionSize": [], "libIndex": [], "name": []},
    }
    if not markers:
        head["stringArray"] = list(name_frames(frames))
    file.write(json.dumps(head, separators=(",", ":")).encode()[:-1])
    file.write(b',"stackTable":{"length":%d,"prefix":' % len(frame))
    write_column(file, ("null" if above < 0 else str(above) for above in prefix))
    file.write(b',"frame":')
    write_column(file, map(str, frame))
    file.write(b'},"samples":{"length":%d,"weightType":"samples","stack":' % samples)
    write_column(file, map(str, stack_of_sample))
    file.write(b',"timeDeltas":')
    write_column(file, (f"{dice.gauss(1.0, 0.02):.6f}" for _ in range(samples)))
    file.write(b',"weight":')
    write_column(file, ("1" for _ in range(samples)))
    file.write(b',"threadCPUDelta":')
    write_column(file, (str(int(dice.gauss(1000, 20))) for _ in range(samples)))
    file.write(b"}}")


def name_frames(frames: int) -> Iterator[str]:
    return (f"0x{16 * row:x}" for row in range(frames))


def build_markers(markers: int, samples: int, first: int) -> dict[str, object]:
    """Evaluations one after the other over the time of the samples; each has a text and a name of its own among the
    strings, from `first` on, as the engine writes them. Every eighth holds the seven after it, as a nested circuit.
    """
    width = samples / markers if markers else 0.0
    return {
        "length": markers,
        "category": [1] * markers,
        "data": [{"type": "FelderaMarker", "name": first + 2 * row} for row in range(markers)],
        "startTime": [1.0 + width * row for row in range(markers)],
        "endTime": [1.0 + width * (row + (1 if row % NESTED else NESTED)) for row in range(markers)],
        "name": [first + 2 * row + 1 for row in range(markers)],
        "phase": [1] * markers,
    }


def build_texts(seed: int, markers: int, samples: int) -> Iterator[str]:
    dice = random.Random(seed)
    used = 1000 * samples // markers if markers else 0
    for row in range(markers):
        node = f"nn{row // NESTED % OPERATORS}" + (f"_n{row % NESTED}" if row % NESTED else "")
        cpu_us = int(used * dice.uniform(0.5, 1.0)) * (1 if row % NESTED else NESTED)
        yield f"JoinTrace {node} used {cpu_us + dice.randrange(100)}μs real time, {cpu_us}μs CPU time"
        yield "eval"


def walk(dice: random.Random, samples: int, frames: int) -> tuple[array[int], array[int], array[int]]:
    """The stack table, and the stack of each sample."""
    prefix, frame, depth = array("i", [-1]), array("i", [0]), array("i", [0])
    known: dict[int, int] = {}
    stack_of_sample = array("i")
    stack = 0
    limit = int(samples * NEW_STACKS_A_SAMPLE)
    for _ in range(samples):
        for _ in range(dice.randint(2, 6)):
            if depth[stack]:
                stack = prefix[stack]
        for _ in range(dice.randint(2, 6)):
            if depth[stack] >= DEPTH + 20:
                break
            call = pick_call(dice, frame[stack], depth[stack], frames)
            key = stack * frames + call
            below = known.get(key)
            if below is None:
                if len(frame) >= limit:
                    break
                below = known[key] = len(frame)
                prefix.append(stack)
                frame.append(call)
                depth.append(depth[stack] + 1)
            stack = below
        stack_of_sample.append(stack)
        if dice.random() < 0.001:
            stack = dice.randrange(len(frame))
    return prefix, frame, stack_of_sample


def pick_call(dice: random.Random, caller: int, depth: int, frames: int) -> int:
    """What a function calls is a handful of places, some much more often than others; few functions call themselves.

    Frames are numbered in layers by depth, so that calls lead downwards as in a program without much recursion.
    """
    if caller % 500 == 133 and dice.random() < 0.5:
        return caller
    layer = frames // (DEPTH + 20)
    return min(depth, DEPTH + 19) * layer + (caller * 31 + 7 * int(dice.paretovariate(0.7))) % layer


def build_sidecar(frames: int) -> dict[str, object]:
    per_function = 4
    functions = -(-frames // per_function)
    return {
        "string_table": [
            "src/operator.rs",
            *(f"dbsp::operator::join::Join<K, V{row}>::eval::{{{{closure}}}}" for row in range(functions)),
        ],
        "data": [
            {
                "debug_name": "pipeline",
                "debug_id": "00000000-0000-0000-0000-000000000001",
                "code_id": "",
                "symbol_table": [
                    {
                        "rva": 16 * per_function * row,
                        "size": 16 * per_function,
                        "symbol": row + 1,
                        "frames": [{"function": row + 1, "file": 0, "line": row}],
                    }
                    for row in range(functions)
                ],
                "known_addresses": [[16 * row, row // per_function] for row in range(frames)],
            }
        ],
    }


def write_column(file: BinaryIO, values: Iterable[str]) -> None:
    opening = b"["
    batch: list[str] = []
    for value in values:
        batch.append(value)
        if len(batch) == 100_000:
            file.write(opening + ",".join(batch).encode())
            opening, batch = b",", []
    if batch:
        file.write(opening + ",".join(batch).encode())
        opening = b","
    file.write(b"]" if opening == b"," else b"[]")


if __name__ == "__main__":
    main()
