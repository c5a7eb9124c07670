"""Adds inlined functions to a thread's stacks where they are certain. Pure.

A stack that ends in a frame with inlined functions becomes a chain of stacks. Parents must stay before their children,
so every stack gets a new index, and whatever points at stacks has to follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from samply_operator.profiles.format.profile import Tables

OTHER_POINTERS = ("jsAllocations", "nativeAllocations")
"""Tables of a thread that point at stacks, besides samples and markers. samply writes none for CPU profiles."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """The new stack table: `prefix` (-1 is a root), `frame`, and which old row each new one comes from."""

    prefix: list[int]
    frame: list[int]
    old_of_new: list[int]
    new_of_old: list[int]


def expand(tables: Tables, chains: Mapping[int, Sequence[int]]) -> Expansion:
    """`chains`: by frame, the frames to put below it, outermost first, counted from the end of the frame table."""
    prefixes: list[int] = []
    frames: list[int] = []
    old_of_new: list[int] = []
    new_of_old: list[int] = []
    first_added = len(tables.frame_func)
    for stack, (prefix, frame) in enumerate(zip(tables.stack_prefix, tables.stack_frame, strict=True)):
        above = new_of_old[prefix] if prefix >= 0 else -1
        for each in (frame, *(first_added + added for added in chains.get(frame, ()))):
            prefixes.append(above)
            frames.append(each)
            old_of_new.append(stack)
            above = len(frames) - 1
        new_of_old.append(above)
    return Expansion(prefixes, frames, old_of_new, new_of_old)


def is_expandable(thread: Mapping[str, msgspec.Raw]) -> bool:
    """Only samples point at this thread's stacks: else they stay as they are, without inlined functions."""
    if any(key in thread for key in OTHER_POINTERS):
        return False
    return b'"stack"' not in bytes(thread.get("markers", msgspec.Raw(b"")))
