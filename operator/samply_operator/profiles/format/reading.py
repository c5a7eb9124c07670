"""From a file to a `Profile`: decodes, distinguishes versions, checks every index. Reads files, writes nothing."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import msgspec

from samply_operator import json_errors
from samply_operator.profiles.errors import (
    BrokenProfile,
    UnreadableProfile,
    UnsupportedVersion,
    build_broken,
    build_undecodable,
)
from samply_operator.profiles.format import file_types, json_text, markers, source, vectors
from samply_operator.profiles.format import tables as disk
from samply_operator.profiles.format.columns import Column
from samply_operator.profiles.format.profile import Lib, LoadTables, Meta, Profile, Samples, Tables, Thread

CPU_UNIT_US = {"ms": 1000, "µs": 1, "ns": 1e-3}
BYTE = re.compile(r"\(byte (\d+)\)")
NO_NUMBER = re.compile(rb"-?(?:NaN|Infinity)")
MAX_INTERVAL_MS = 3_600_000
"""What is longer was not meant: it is taken for unknown, as zero is."""

Decoded = TypeVar("Decoded")


def read(path: Path, *, max_raw_bytes: int = source.MAX_RAW_BYTES) -> Profile:
    """Read a profile, gzip or plain, of format versions 47 to 75.

    Raises UnreadableProfile, ProfileTooLarge, UnsupportedVersion or BrokenProfile.
    """
    return parse(source.load_json(path, max_raw_bytes=max_raw_bytes), path)


def parse(data: bytes | bytearray, path: Path) -> Profile:
    """The same from unpacked bytes; `path` is for messages only."""
    try:
        raw = decode(data, disk.RawProfile, path)
    except BrokenProfile:
        check_kind(decode(data, dict[str, msgspec.Raw], path), path)
        check_version(decode(data, disk.RawVersionOnly, path).meta.preprocessed_profile_version)
        raise
    version = check_version(raw.meta.preprocessed_profile_version)
    return _Builder(raw, version).build(path, len(data))


def check_kind(document: dict[str, msgspec.Raw], path: Path) -> None:
    """Raises BrokenProfile if the keys belong to another format."""
    found = file_types.recognize_keys(document)
    if found is not None:
        what = f"{path.name} is {found.what}."
        raise BrokenProfile(what, remedy=found.remedy, details={"where": "the file"})


def check_version(version: int | None) -> int:
    """The format version. Raises UnsupportedVersion if it is not supported."""
    if version is None:
        raise build_broken(
            "meta",
            "`preprocessedProfileVersion` is missing, so this is no processed profile",
            remedy=f"It may be as Firefox hands it out (Gecko). {file_types.VIEWER}",
        )
    if not disk.OLDEST <= version <= disk.NEWEST:
        raise UnsupportedVersion(
            f"The profile has format version {version}; {disk.OLDEST} to {disk.NEWEST} are known here.",
            remedy="Open the file itself at profiler.firefox.com, or use a newer release of this program.",
            details={"version": version, "oldest": disk.OLDEST, "newest": disk.NEWEST},
        )
    return version


def decode(data: bytes | bytearray, shape: type[Decoded], path: Path) -> Decoded:
    """JSON bytes in the given shape. Raises UnreadableProfile (no JSON) or BrokenProfile (other JSON)."""
    try:
        return json_text.decode(data, shape)
    except msgspec.ValidationError as error:
        raise build_undecodable("the file", error, has_place=True) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        what, remedy = explain_malformed(data, error)
        raise UnreadableProfile(
            f"{path.name} is not JSON: {what}.", remedy=remedy, details={"path": path.name}
        ) from error


def explain_malformed(data: bytes | bytearray, error: Exception) -> tuple[str, str]:
    """What is wrong with text that is no JSON, and what to do."""
    if "truncated" in str(error):
        return "it ends too early", "It was cut off while it was written or copied; take it again."
    at = BYTE.search(str(error))
    found = NO_NUMBER.search(data, int(at[1]) - 1, int(at[1]) + 9) if at else None
    if at and found:
        word = found[0].decode()
        return f"{word} at byte {at[1]}, which is no number in JSON", "Have its writer put null there instead."
    return json_errors.describe(error), "It was damaged or changed; take it again."


class _Builder:
    """Holds the decoded outline while the parts are put together; one per file."""

    def __init__(self, raw: disk.RawProfile, version: int) -> None:
        self.raw = raw
        self.version = version
        self.shared_strings: list[str] | None = None

    def build(self, path: Path, raw_bytes: int) -> Profile:
        meta = self.raw.meta
        # Not an attribute: a reference cycle with `self` would keep the file's text until it is collected.
        load_shared = lru_cache(maxsize=2)(self._load_shared)
        units = meta.sample_units or disk.RawSampleUnits()
        if self.version >= disk.STRINGS_SHARED:
            self.shared_strings = read_strings(self._shared().string_array, "shared.stringArray")
        threads = [self._thread(index, thread, load_shared) for index, thread in enumerate(self.raw.threads)]
        counted, repeats = split_repeats(threads)
        return Profile(
            path=path,
            raw_bytes=raw_bytes,
            meta=Meta(
                version=self.version,
                product=meta.product,
                interval_ms=meta.interval if 0 < meta.interval <= MAX_INTERVAL_MS else 0.0,
                start_time_ms=meta.start_time,
                oscpu=meta.oscpu or "",
                symbolicated=bool(meta.symbolicated),
                cpu_unit_us=CPU_UNIT_US.get(units.thread_cpu_delta, 0),
                clock_start_ms=(meta.clock_start_ns or 0) / 1e6,
                has_times=units.time == "ms",
            ),
            libs=tuple(Lib(lib.name, lib.path, lib.debug_name, lib.breakpad_id, lib.code_id) for lib in self.raw.libs),
            threads=counted,
            repeats=repeats,
        )

    def _shared(self) -> disk.RawTables:
        if self.raw.shared is None:
            raise build_broken("shared", f"it is missing, though version {self.version} needs it")
        return self.raw.shared

    def _thread(self, index: int, raw: disk.RawThread, load_shared: LoadTables) -> Thread:
        where = f"threads[{index}]"
        is_shared = self.version >= disk.TABLES_SHARED
        stacks = (self._shared() if is_shared else raw).stack_table
        return Thread(
            index=index,
            name=raw.name,
            process_name=raw.process_name or "",
            pid=_id(raw.pid),
            tid="" if raw.tid is None else _id(raw.tid),
            is_main=raw.is_main_thread,
            table_key=-1 if is_shared else index,
            stack_count=stacks.length if stacks else 0,
            load_tables=load_shared if is_shared else partial(self._load_own, raw, where),
            samples=_samples(raw.samples, f"{where}.samples"),
            load_markers=partial(self._load_markers, raw, where),
        )

    def _load_markers(self, raw: disk.RawThread, where: str) -> markers.Markers:
        strings = self.shared_strings
        if strings is None:
            strings = read_strings(raw.string_array, f"{where}.stringArray")
        return markers.read(
            raw.markers, f"{where}.markers", [category.name for category in self.raw.meta.categories], strings
        )

    def _load_shared(self, *, with_stacks: bool = True) -> Tables:
        return self._tables(self._shared(), "shared", self.shared_strings or [], with_stacks=with_stacks)

    def _load_own(self, raw: disk.RawThread, where: str, *, with_stacks: bool = True) -> Tables:
        strings = self.shared_strings
        if strings is None:
            strings = read_strings(raw.string_array, f"{where}.stringArray")
        return self._tables(raw, where, strings, with_stacks=with_stacks)

    def _tables(self, raw: disk.RawTables, where: str, strings: list[str], *, with_stacks: bool) -> Tables:
        stacks, frames, funcs = raw.stack_table, raw.frame_table, raw.func_table
        if stacks is None or frames is None or funcs is None:
            raise build_broken(where, "a stack, frame or func table is missing")
        func_name = _ints(funcs.name, f"{where}.funcTable.name", funcs.length)
        frame_func = _ints(frames.func, f"{where}.frameTable.func", frames.length)
        stack_prefix, stack_frame = array("i"), array("i")
        if with_stacks:
            stack_prefix = self._prefixes(stacks, where)
            stack_frame = _ints(stacks.frame, f"{where}.stackTable.frame", stacks.length)
        check_indexes(func_name, len(strings), f"{where}.funcTable.name")
        check_indexes(frame_func, funcs.length, f"{where}.frameTable.func")
        check_indexes(stack_frame, frames.length, f"{where}.stackTable.frame")
        files, func_file = self._files(raw, where, strings)
        flags = self._flags(frames.flags, f"{where}.frameTable", frames.length, disk.FRAME_FLAGS)
        frame_address = _ints(frames.address, f"{where}.frameTable.address", frames.length, typecode="q")
        frame_line = _ints(frames.line, f"{where}.frameTable.line", frames.length)
        return Tables(
            stack_prefix=stack_prefix,
            stack_frame=stack_frame,
            frame_func=frame_func,
            frame_address=_keep(frame_address, flags, disk.FRAME_HAS_ADDRESS),
            frame_lib=self._libs_of_frames(raw, where, frame_func, flags),
            frame_line=_keep(frame_line, flags, disk.FRAME_HAS_LINE),
            func_name=func_name,
            func_file=func_file,
            strings=strings,
            files=files,
        )

    def _prefixes(self, stacks: disk.RawStacks, where: str) -> array[int]:
        if self.version >= disk.PREFIX_OFFSET:
            where = f"{where}.stackTable.prefixOffset"
            offsets = _ints(stacks.prefix_offset, where, stacks.length)
            prefixes = vectors.turn_offsets(offsets)
        else:
            where = f"{where}.stackTable.prefix"
            prefixes = _ints(stacks.prefix, where, stacks.length)
        # Parents come first in every version: with that checked, there can be no cycle.
        if not vectors.are_parents_earlier(prefixes):
            raise build_broken(where, "a stack's parent isn't an earlier stack")
        return prefixes

    def _flags(self, raw: msgspec.Raw, where: str, length: int, since: int) -> array[int] | None:
        """None: in this version, each column marks missing values itself."""
        return _ints(raw, f"{where}.flags", length) if self.version >= since else None

    def _libs_of_frames(
        self, raw: disk.RawTables, where: str, frame_func: array[int], flags: array[int] | None
    ) -> array[int]:
        funcs, frames, resources = raw.func_table, raw.frame_table, raw.resource_table
        if funcs is None or frames is None:  # pragma: no cover - told by the caller already
            raise build_broken(where, "a table is missing")
        if self.version >= disk.LIB_ON_FRAME:
            frame_lib = _ints(frames.lib, f"{where}.frameTable.lib", frames.length)
            frame_lib = _keep(frame_lib, flags, disk.FRAME_HAS_ADDRESS)
            check_indexes(frame_lib, len(self.raw.libs), f"{where}.frameTable.lib", lowest=-1)
            return frame_lib
        func_resource = _ints(funcs.resource, f"{where}.funcTable.resource", funcs.length)
        if resources is None:
            raise build_broken(where, "the resource table is missing")
        check_indexes(func_resource, resources.length, f"{where}.funcTable.resource", lowest=-1)
        resource_lib = _ints(resources.lib, f"{where}.resourceTable.lib", resources.length)
        check_indexes(resource_lib, len(self.raw.libs), f"{where}.resourceTable.lib", lowest=-1)
        resource_lib.append(-1)
        return vectors.take(vectors.take(resource_lib, func_resource), frame_func)

    def _files(self, raw: disk.RawTables, where: str, strings: list[str]) -> tuple[list[str], array[int]]:
        funcs = raw.func_table
        if funcs is None:  # pragma: no cover - told by the caller already
            raise build_broken(where, "the func table is missing")
        if self.version < disk.SOURCES:
            files, column, name = strings, funcs.file_name, "fileName"
        else:
            files, column, name = self._sources(), funcs.source, "source"
        flags = self._flags(funcs.flags, f"{where}.funcTable", funcs.length, disk.FUNC_FLAGS)
        func_file = _keep(_ints(column, f"{where}.funcTable.{name}", funcs.length), flags, disk.FUNC_HAS_SOURCE)
        check_indexes(func_file, len(files), f"{where}.funcTable.{name}", lowest=-1)
        return files, func_file

    def _sources(self) -> list[str]:
        sources = self._shared().sources
        if sources is None:
            return []
        strings = self.shared_strings or []
        filename = _ints(sources.filename, "shared.sources.filename", sources.length)
        check_indexes(filename, len(strings), "shared.sources.filename")
        return [strings[index] for index in filename]


def split_repeats(threads: Sequence[Thread]) -> tuple[tuple[Thread, ...], tuple[Thread, ...]]:
    """The threads that are counted, and those of samply's process "CPU", number 0: one for all CPUs, one for each.

    A label may stand behind its name. Without any other thread, the one for all CPUs counts.
    """
    repeats = tuple(thread for thread in threads if _is_for_cpus(thread))
    counted = tuple(thread for thread in threads if thread not in repeats)
    if repeats and not any(thread.samples.length for thread in counted):
        return (*counted, repeats[0]), repeats[1:]
    return counted, repeats


def _is_for_cpus(thread: Thread) -> bool:
    return thread.pid.partition(".")[0] == "0" and thread.process_name.partition(" (")[0] == "CPU"


def read_strings(raw: msgspec.Raw, where: str) -> list[str]:
    try:
        return json_text.decode(raw, list[str]) if len(raw) else []
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise build_undecodable(where, error) from error


def _keep(column: array[int], flags: array[int] | None, bit: int) -> array[int]:
    return column if flags is None or not column else vectors.keep_flagged(column, flags, bit)


def _id(value: str | int | float) -> str:
    """A process or thread id as text, however JSON spells it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def check_indexes(column: array[int], size: int, where: str, *, lowest: int = 0) -> None:
    """Every number is a row of the table it points into (or -1 where that means none)."""
    if column and not vectors.are_within(column, lowest, size):
        raise build_broken(where, f"an index is outside the table of {size} rows")


def _ints(raw: msgspec.Raw, where: str, length: int, *, typecode: str = "i") -> array[int]:
    column = Column(raw, where, length)
    if column.is_absent:
        if length > 0 and where.endswith((".line", ".address", ".fileName", ".source")):
            return array(typecode, [-1]) * length
        if length > 0:
            raise build_broken(where, "the column is missing")
        return array(typecode)
    return column.ints(typecode)


def _samples(raw: disk.RawSamples | None, where: str) -> Samples:
    if raw is None:
        raise build_broken(where, "it is missing")
    has_deltas = bool(len(raw.time_deltas)) and not len(raw.time)
    stack = Column(raw.stack, f"{where}.stack", raw.length)
    if stack.is_absent and raw.length:
        raise build_broken(stack.where, "the column is missing")
    return Samples(
        length=raw.length,
        stack=stack,
        weight=Column(raw.weight, f"{where}.weight", raw.length),
        weight_type=raw.weight_type or "samples",
        cpu=Column(raw.thread_cpu_delta, f"{where}.threadCPUDelta", raw.length),
        time=Column(
            *((raw.time_deltas, f"{where}.timeDeltas") if has_deltas else (raw.time, f"{where}.time")), raw.length
        ),
        has_time_deltas=has_deltas,
    )
