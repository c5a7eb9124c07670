"""The processed profile format on disk, as far as it is read here: names of tables and columns by version.

| since | what moved |
| --- | --- |
| 47 | `pid` is text |
| 50 | `samples.timeDeltas` may stand for `samples.time` |
| 53 | stack table without category columns (they are never read here) |
| 56 | strings in `shared.stringArray` instead of one array per thread |
| 58 | `funcTable.source` into `shared.sources` instead of `funcTable.fileName` |
| 60 | stack, frame, func, resource and native symbol tables in `shared` instead of one set per thread |
| 66 | `stackTable.prefixOffset` (0 is a root, k is row i - k) instead of `prefix` |
| 70 | `frameTable.lib` (-1 is none) instead of `resourceTable.lib`: one function, several libraries |
| 71 | `frameTable.flags` says which of a frame's columns mean something, and whether it is inlined; no `inlineDepth` |
| 74 | `nativeSymbols.functionSize`: -1 for null |
| 75 | `funcTable.flags`, likewise |

What the others changed is not read here: 48, 49, 51, 52, 54, 55, 57, 69, 72, 73 (schemas of markers and counters), 59
(windows), 61 to 64 (columns of sources and counters), 65, 67, 68 (columns that may be typed arrays in JsonSlabs files).

Columns stay JSON text (`msgspec.Raw`), so a file is walked once and nothing that isn't needed is decoded.
"""

from __future__ import annotations

import msgspec

OLDEST = 47
NEWEST = 75
STRINGS_SHARED = 56
SOURCES = 58
TABLES_SHARED = 60
PREFIX_OFFSET = 66
LIB_ON_FRAME = 70
FRAME_FLAGS = 71
NO_NULL_SIZES = 74
FUNC_FLAGS = 75

FRAME_IS_INLINED, FRAME_HAS_ADDRESS, FRAME_HAS_NATIVE, FRAME_HAS_LINE = 1, 2, 8, 16
FUNC_HAS_SOURCE = 8

NOTHING = msgspec.Raw(b"")


class RawTable(msgspec.Struct, rename="camel"):
    """Base of all tables: columns, and how many rows each has."""

    length: int


class RawSamples(RawTable):
    stack: msgspec.Raw = NOTHING
    time: msgspec.Raw = NOTHING
    time_deltas: msgspec.Raw = NOTHING
    weight: msgspec.Raw = NOTHING
    weight_type: str | None = None
    thread_cpu_delta: msgspec.Raw = msgspec.field(default=NOTHING, name="threadCPUDelta")


class RawMarkers(RawTable):
    start_time: msgspec.Raw = NOTHING
    end_time: msgspec.Raw = NOTHING
    category: msgspec.Raw = NOTHING
    name: msgspec.Raw = NOTHING
    phase: msgspec.Raw = NOTHING
    data: msgspec.Raw = NOTHING


class RawStacks(RawTable):
    frame: msgspec.Raw = NOTHING
    prefix: msgspec.Raw = NOTHING
    prefix_offset: msgspec.Raw = NOTHING


class RawFrames(RawTable):
    func: msgspec.Raw = NOTHING
    address: msgspec.Raw = NOTHING
    line: msgspec.Raw = NOTHING
    inline_depth: msgspec.Raw = NOTHING
    lib: msgspec.Raw = NOTHING
    flags: msgspec.Raw = NOTHING


class RawFuncs(RawTable):
    name: msgspec.Raw = NOTHING
    resource: msgspec.Raw = NOTHING
    file_name: msgspec.Raw = NOTHING
    source: msgspec.Raw = NOTHING
    flags: msgspec.Raw = NOTHING


class RawResources(RawTable):
    lib: msgspec.Raw = NOTHING


class RawSources(RawTable):
    filename: msgspec.Raw = NOTHING


class RawTables(msgspec.Struct, rename="camel"):
    """What sits in each thread (up to 59) or in `shared` (from 60)."""

    stack_table: RawStacks | None = None
    frame_table: RawFrames | None = None
    func_table: RawFuncs | None = None
    resource_table: RawResources | None = None
    string_array: msgspec.Raw = NOTHING
    sources: RawSources | None = None


class RawThread(RawTables):
    name: str = ""
    process_name: str | None = None
    pid: str | int | float = ""
    tid: str | int | float | None = None
    is_main_thread: bool = False
    samples: RawSamples | None = None
    markers: RawMarkers | None = None


class RawCategory(msgspec.Struct):
    name: str = ""


class RawSampleUnits(msgspec.Struct):
    time: str = "ms"
    thread_cpu_delta: str = msgspec.field(default="µs", name="threadCPUDelta")


class RawMeta(msgspec.Struct, rename="camel"):
    interval: float
    preprocessed_profile_version: int
    start_time: float = 0.0
    product: str = ""
    oscpu: str | None = None
    symbolicated: bool | None = None
    sample_units: RawSampleUnits | None = None
    clock_start_ns: float | None = msgspec.field(default=None, name="startTimeAsClockMonotonicNanosecondsSinceBoot")
    categories: list[RawCategory] = []


class RawLib(msgspec.Struct, rename="camel"):
    name: str
    path: str = ""
    debug_name: str = ""
    debug_path: str = ""
    breakpad_id: str = ""
    code_id: str | None = None
    arch: str | None = None


class RawProfile(msgspec.Struct):
    meta: RawMeta
    threads: list[RawThread]
    libs: list[RawLib] = []
    shared: RawTables | None = None


class RawVersion(msgspec.Struct, rename="camel"):
    preprocessed_profile_version: int | None = None


class RawVersionOnly(msgspec.Struct):
    """Read if decoding fails, so that an unknown version is reported as such, not as a missing column."""

    meta: RawVersion
