"""Reads the output of preflight.sh. A pod's output is not trusted: invalid lines are ignored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from samply_operator.model.container import ContainerFacts, Process, Sections
from samply_operator.rules.recording import failures

# The value of cgroup v1 without a limit: the largest multiple of a page below 2^63.
NO_LIMIT = 1 << 62
_PROCESS = re.compile(r"(\d+) (\d+) (\S) (\d+) (\d+) (\d+) (\d+) (\S{1,255}) (.{0,64})", re.ASCII | re.DOTALL)
_PROGRAM = re.compile(r"(\d+) (\S{1,255}) ((?:[0-9a-f]{2}){1,2048})((?: \d+){4,400})", re.ASCII)
MAX_PROCESSES = 200
MAX_PROGRAMS = 20
MAX_TEXT = 2048
MAX_PROGRAM_TEXT = 16384
EVERYBODY = ["0", "0", "4294967295"]
COMPRESSED = 0x800
NOBITS = 8


def parse_facts(text: str) -> ContainerFacts:
    """Parse `key=value` lines; `process` and `program` may be repeated, of other keys the first one counts."""
    raw: dict[str, str] = {}
    processes: list[Process] = []
    programs: dict[tuple[int, str], Sections | None] = {}
    for line in text.splitlines():
        key, found, value = line.partition("=")
        if key == "program" and len(programs) < MAX_PROGRAMS:
            programs |= _parse_program(value[:MAX_PROGRAM_TEXT])
            continue
        value = failures.clean_text(value)[:MAX_TEXT]
        if key == "process" and len(processes) < MAX_PROCESSES:
            processes += filter(None, [_parse_process(value)])
        elif found:
            raw.setdefault(key, value)
    kind, _, options = raw.get("folder_fs", "").partition(" ")
    return ContainerFacts(
        samply=raw.get("samply", ""),
        version=raw.get("version", "").removeprefix("samply ")[:64],
        flags=frozenset(raw.get("flags", "").split()),
        arch=raw.get("arch", "")[:32],
        kernel=raw.get("kernel", "")[:512],
        page_bytes=_kibibytes(raw, "page_kib"),
        paranoid=_integer(raw, "paranoid"),
        uid=_integer(raw, "uid") or 0,
        effective_caps=_hex(raw.get("capeff", "")),
        bounding_caps=_hex(raw.get("capbnd", "")),
        has_no_new_privs=raw.get("nonewprivs") == "1",
        seccomp=_integer(raw, "seccomp"),
        security=raw.get("security", "")[:128],
        uid_map=_show_map(raw.get("uid_map", "")),
        is_user_namespace=_is_mapped(raw.get("uid_map", "")),
        online_cpus=count_cpus(raw.get("online", "")),
        allowed_cpus=count_cpus(raw.get("allowed", "")),
        quota_cpus=_quota(raw.get("quota", "")),
        mlock_kib=_integer(raw, "mlock_kib"),
        memlock_bytes=_integer(raw, "memlock"),
        open_files=_integer(raw, "nofile"),
        max_rate_hz=_integer(raw, "max_rate"),
        memory_limit=_limit(raw, ""),
        memory_used=_used(raw, ""),
        has_group_oom=raw.get("oom_group") == "1",
        target_allowed_cpus=count_cpus(raw.get("target_allowed", "")),
        target_quota_cpus=_quota(raw.get("target_quota", "")),
        target_memory_limit=_limit(raw, "target_"),
        target_memory_used=_used(raw, "target_"),
        node_available=_kibibytes(raw, "available_kib"),
        folder=raw.get("folder", ""),
        free_bytes=_kibibytes(raw, "free_kib"),
        is_tmpfs=kind == "tmpfs",
        is_noexec="noexec" in options.split(","),
        processes=tuple(replace(p, sections=programs.get((p.binary_bytes, p.program))) for p in processes),
    )


def _parse_process(text: str) -> Process | None:
    match = _PROCESS.fullmatch(text)
    numbers = [_natural(match[i]) for i in (1, 2, 4, 5, 6, 7)] if match else []
    if match is None or None in numbers:
        return None
    pid, parent, threads, ticks, started, size = (number or 0 for number in numbers)
    return Process(pid, parent, match[3], threads, ticks, started, size, match[9], "" if match[8] == "-" else match[8])


def _parse_program(text: str) -> dict[tuple[int, str], Sections | None]:
    """By the size and name of the file, as in the lines of its processes."""
    match = _PROGRAM.fullmatch(text)
    numbers = [_natural(word) for word in match[4].split()] if match else []
    if match is None or None in numbers or len(numbers) % 4:
        return {}
    names = bytes.fromhex(match[3])
    size = _natural(match[1])
    return {} if size is None else {(size, match[2]): _sum_sections(names, [number or 0 for number in numbers])}


def _sum_sections(names: bytes, numbers: list[int]) -> Sections:
    """Section headers of ELF as numbers by four: name (offset in `names`) and type, flags, size, and the size before
    compression."""
    sums = Sections()
    for i in range(0, len(numbers), 4):
        head, flags, size, inner = numbers[i : i + 4]
        if head >> 32 == NOBITS:
            continue
        is_packed = bool(flags & COMPRESSED)
        size = max(size, inner) if is_packed else size
        name = names[head & 0xFFFFFFFF :].partition(b"\0")[0]
        if name.startswith(b".debug_"):
            lines = size if name == b".debug_line" else 0
            packed = size if is_packed else 0
            sums = replace(sums, lines=sums.lines + lines, debug=sums.debug + size, packed=sums.packed + packed)
        elif name == b".symtab":
            sums = replace(sums, symbols=sums.symbols + size)
        elif name == b".eh_frame_hdr":
            sums = replace(sums, unwind=sums.unwind + size)
    return sums


def _integer(raw: Mapping[str, str], key: str) -> int | None:
    text = raw.get(key, "")
    number = _natural(text.removeprefix("-"))
    return None if number is None else -number if text.startswith("-") else number


def _natural(digits: str) -> int | None:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def _hex(text: str) -> int:
    is_hex = 0 < len(text) <= 16 and all(c in "0123456789abcdefABCDEF" for c in text)
    return int(text, 16) if is_hex else 0


def _show_map(uid_map: str) -> str:
    fields = uid_map.split()
    return "" if fields == EVERYBODY else " ".join(fields)[:64]


def _is_mapped(uid_map: str) -> bool:
    """True if root in the container is another user outside: `inside outside count`."""
    fields = uid_map.split()
    return len(fields) == 3 and fields[:2] != ["0", "0"]


def _kibibytes(raw: Mapping[str, str], key: str) -> int | None:
    number = _integer(raw, key)
    return None if number is None else number * 1024


def _limit(raw: Mapping[str, str], prefix: str) -> int | None:
    limit = _integer(raw, f"{prefix}memory_limit")
    return limit if limit is not None and 0 < limit < NO_LIMIT else None


def _used(raw: Mapping[str, str], prefix: str) -> int | None:
    used = _integer(raw, f"{prefix}memory_used")
    return None if used is None else max(0, used - (_integer(raw, f"{prefix}memory_cache") or 0))


def count_cpus(ranges: str) -> int:
    """Number of CPUs in a kernel list such as `0-3,8`; 0 if invalid."""
    total = 0
    for part in ranges.split(","):
        low, _, high = part.strip().partition("-")
        first, last = _natural(low), _natural(high or low)
        if first is None or last is None or last < first:
            return 0
        total += last - first + 1
    return total


def _quota(text: str) -> float | None:
    """`quota period` in µs, as in cgroup v2's cpu.max; `max` or -1 means none."""
    quota, period = map(_natural, text.strip().partition(" ")[::2])
    return quota / period if quota is not None and period else None
