"""A profile in memory: an outline, with tables and sample columns as text until they are needed.

Pure data. Every index in `Tables` has been checked against the table that it points into; those in `Samples` are
checked when they are read (`tally.py`).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from samply_operator.profiles.format.columns import Column
from samply_operator.profiles.format.markers import Markers


@dataclass(frozen=True, slots=True)
class Lib:
    """A binary or shared library. `debug_id` is the breakpad id: identity of the debug data, with an age suffix."""

    name: str
    path: str
    debug_name: str
    debug_id: str
    code_id: str | None


@dataclass(frozen=True, slots=True)
class Tables:
    """Stacks point at their parent (`prefix`, always earlier; -1 is a root) and at a frame, frames at a function.

    Columns of one table have one length; those of stacks are empty where they weren't asked for. `frame_address`:
    relative to the library, -1 is none. `frame_lib`: index into the profile's libs, -1 is none. `func_file`: index into
    `files`, -1 is none.
    """

    stack_prefix: array[int]
    stack_frame: array[int]
    frame_func: array[int]
    frame_address: array[int]
    frame_lib: array[int]
    frame_line: array[int]
    func_name: array[int]
    func_file: array[int]
    strings: list[str]
    files: list[str]


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of one thread. `weight` absent: every sample counts 1. `cpu`: units of `Meta.cpu_unit_us`."""

    length: int
    stack: Column
    weight: Column
    weight_type: str
    cpu: Column
    time: Column
    has_time_deltas: bool


class LoadMarkers(Protocol):
    """Decodes the markers that the recorded program wrote itself. It raises BrokenProfile."""

    def __call__(self) -> Markers: ...


class LoadTables(Protocol):
    """Decodes a thread's tables; the stacks, which are nearly all of them, only where they are needed."""

    def __call__(self, *, with_stacks: bool = True) -> Tables: ...


@dataclass(frozen=True, slots=True)
class Thread:
    """Threads of one process have one pid. Threads with the same `table_key` share their tables (from version 60 on
    all do). `load_tables` decodes them anew unless they are shared: hold on to them only while they are needed, so
    that one thread's tables at a time are in memory. It raises BrokenProfile.
    """

    index: int
    name: str
    process_name: str
    pid: str
    tid: str
    is_main: bool
    table_key: int
    stack_count: int
    load_tables: LoadTables
    samples: Samples
    load_markers: LoadMarkers


@dataclass(frozen=True, slots=True)
class Meta:
    version: int
    product: str
    interval_ms: float
    """Between samples; 0 where it is unknown."""
    start_time_ms: float
    """Unix time at which the recording began. Sample times may count from the machine's boot instead; only their
    differences are meaningful."""
    oscpu: str
    symbolicated: bool
    cpu_unit_us: float
    """What a CPU time of 1 in the file means; 0 where the unit isn't known."""
    clock_start_ms: float = 0.0
    """Where the file's times begin on the node's clock (monotonic, since its start); samply counts from 0 as a rule."""
    has_times: bool = True
    """False: the file's times are offsets in bytes."""


@dataclass(frozen=True, slots=True)
class Profile:
    path: Path
    raw_bytes: int
    meta: Meta
    libs: tuple[Lib, ...]
    threads: tuple[Thread, ...]
    """Threads that are counted."""
    repeats: tuple[Thread, ...] = ()
    """Threads that stand for CPUs (`--per-cpu-threads`): each of their samples is another thread's as well."""

    @property
    def all_threads(self) -> tuple[Thread, ...]:
        """As the file has them."""
        return tuple(sorted((*self.threads, *self.repeats), key=lambda thread: thread.index))
