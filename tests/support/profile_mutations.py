"""Good profiles, damaged and unusual variants of them: the same seed gives the same bytes."""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable
from typing import Any

from support import marker_maker, profile_maker, profile_versions
from support.marker_maker import evaluate
from support.profile_maker import Document, Sample

VERSIONS = (49, 55, 57, 60, 66, 70, 71, 75)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 0.5, -0.25, 2.0, 1e-300, 1e300, 2**31 - 1, 2**31, 2**32, 2**53, 2**63, -(2**63),
    10**30, "", "x", "0x12", "fun_1f", "\ud800", "\x00", "é" * 50, "bytes", "CPU", [], {}, [[]], [0], [None], {"a": 1},
)  # fmt: skip


def build_good(dice: random.Random) -> Document:
    """Several threads of any weight type, with recursion, addresses, markers, and threads that stand for CPUs."""
    names = ["main", "run", "step", "0x10", "0x20", "fun_30", "a;b", "<b>"]
    threads = [
        [
            Sample(
                tuple(dice.choice(names) for _ in range(dice.randint(0, 6))),
                dice.choice([1, 1, 2, 0.5]),
                dice.randint(0, 2000),
            )
            for _ in range(dice.randint(0, 12))
        ]
        for _ in range(dice.randint(1, 3))
    ]
    document = profile_maker.build(threads, weight_type=dice.choice(["samples", "samples", "bytes", "tracing-ms"]))
    if dice.random() < 0.5:
        marker_maker.add(
            document, 0, [evaluate(1, 4, "Map nn2"), evaluate(2, 3, "Join nn3"), evaluate(5, 9, "Map nn2")]
        )
    if dice.random() < 0.3:
        document["threads"][-1] |= {"name": "CPU", "processName": "CPU", "pid": "0"}
    return profile_versions.rewrite(document, dice.choice(VERSIONS))


def mutate(dice: random.Random) -> bytes:
    """A good profile with one to four things wrong, as the bytes of a file."""
    document = build_good(dice)
    for _ in range(dice.randint(1, 4)):
        change_document(document, dice)
    data = json.dumps(document).encode()
    if dice.random() < 0.3:
        data = _change_bytes(data, dice)
    return gzip.compress(data, 1) if dice.random() < 0.5 else data


def change_document(document: Document, dice: random.Random) -> None:
    """One value somewhere: replaced, dropped, doubled, moved or cut."""
    holder, key = _pick_place(document, dice)
    value = holder[key]
    change = dice.choice(("replace", "replace", "drop", "shift", "cut", "grow", "shuffle"))
    if change == "replace":
        holder[key] = copy.deepcopy(dice.choice(VALUES))
    elif change == "drop":
        del holder[key]
    elif change == "shift" and isinstance(value, (int, float)):
        holder[key] = value + dice.choice((-1, 1, 100, -100, 0.5))
    elif isinstance(value, list):
        holder[key] = LIST_CHANGES[change](value, dice) if change in LIST_CHANGES else value


LIST_CHANGES: dict[str, Callable[[list[Any], random.Random], list[Any]]] = {
    "cut": lambda value, dice: value[: dice.randint(0, len(value))],
    "grow": lambda value, dice: value + [copy.deepcopy(dice.choice(VALUES)) for _ in range(dice.randint(1, 3))],
    "shuffle": lambda value, dice: dice.sample(value, len(value)),
}


def _pick_place(document: Document, dice: random.Random) -> tuple[Any, Any]:
    """A value at any depth; each level is as likely to be the last."""
    holder: Any = document
    while True:
        key = dice.choice(list(holder)) if isinstance(holder, dict) else dice.randrange(len(holder))
        inner = holder[key]
        if not inner or not isinstance(inner, (dict, list)) or dice.random() < 0.15:
            return holder, key
        holder = inner


def _change_bytes(data: bytes, dice: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(out)) if out else 0
        change = dice.choice(("flip", "cut", "insert", "drop", "double"))
        if change == "flip" and out:
            out[at] ^= 1 << dice.randrange(8)
        elif change == "cut":
            del out[at:]
        elif change == "insert":
            out[at:at] = dice.choice((b"\x00", b"\xff", b",", b"[", b"}", b"\xef\xbb\xbf", b"9" * 400, b"[" * 3000))
        elif change == "drop":
            del out[at : at + dice.randint(1, 40)]
        else:
            out[at:at] = out[at : at + 60]
    return bytes(out)
