"""Facts about a profile without opening it: how much is in it, how much of it has names. Pure."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass

from samply_operator.profiles.analysis import libraries, naming, tally
from samply_operator.profiles.analysis.tally import TimeRange
from samply_operator.profiles.format import vectors
from samply_operator.profiles.format.profile import Profile, Tables

MIN_SAMPLES_TO_JUDGE = 20
STRIPPED_PERCENT = 90.0


@dataclass(frozen=True, slots=True)
class LibShare:
    """Samples whose innermost frame lies in one library, and how many of these frames have no name."""

    lib: str
    samples: int
    unresolved: int

    @property
    def unresolved_percent(self) -> float:
        return 100.0 * self.unresolved / self.samples if self.samples else 0.0

    @property
    def looks_stripped(self) -> bool:
        """Whether nearly nothing in it has a name: no symbols in the binary, or none were found."""
        return self.samples >= MIN_SAMPLES_TO_JUDGE and self.unresolved_percent >= STRIPPED_PERCENT


@dataclass(frozen=True, slots=True)
class ProfileFacts:
    """`samples`: rows with a stack. `unresolved_percent`: of these, the share whose innermost frame has no name; None
    without samples. `duration_ms`: from the first to the last sample. `started_at_ms`: Unix time. `cpu_ms`: None
    where none was recorded.
    """

    version: int
    product: str
    samples: int
    empty_samples: int
    threads: int
    symbolicated: bool
    interval_ms: float
    duration_ms: float
    started_at_ms: float
    cpu_ms: float | None
    unresolved_percent: float | None
    unresolved_by_lib: tuple[LibShare, ...]
    raw_bytes: int
    weight_type: str = "samples"
    """What the samples weigh in; `mixed` where threads differ."""
    samples_by_pid: tuple[tuple[str, int], ...] = ()
    """Of each process, its samples: children that the target started are recorded too."""
    within_by_pid: tuple[tuple[str, int], ...] = ()
    """Of these, what was taken in the window that was asked for; empty where none was, or where the file's times are of
    another clock."""
    program_build: str = ""
    """Build id of the executable; empty: unknown."""

    @property
    def stripped_libs(self) -> tuple[str, ...]:
        return tuple(share.lib for share in self.unresolved_by_lib if share.looks_stripped)


def gather(profile: Profile, window: TimeRange | None = None) -> ProfileFacts:
    """Reads every sample once. `window` is a part of the time on the node's clock, in milliseconds since its start."""
    total = empty = 0
    cpu_ms: float | None = None
    by_lib: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    by_pid: Counter[str] = Counter()
    within: Counter[str] = Counter()
    labels = libraries.label(profile.libs)
    nameless: list[bool] = []
    key: int | None = None
    for thread in profile.threads:
        tables = thread.load_tables()
        pairs, rows = vectors.group_pairs(tables.frame_func, tables.frame_lib)
        counts, without = tally.count(thread, _find_leaves(tables, rows), len(pairs))
        empty += without
        total += sum(counts.values())
        by_pid[thread.pid] += sum(counts.values())
        if window is not None:
            within[thread.pid] += tally.count_within(thread, window, profile.meta.clock_start_ms)
        used = tally.sum_cpu_ms(thread, profile.meta)
        if used is not None:
            cpu_ms = used + (cpu_ms or 0.0)
        if thread.table_key != key:
            key, nameless = thread.table_key, [naming.is_unresolved(tables.strings[name]) for name in tables.func_name]
        for row, count in counts.items():
            func, lib = pairs[row]
            share = by_lib[labels[lib]]
            share[0] += count
            share[1] += count if nameless[func] else 0
    shares = [LibShare(lib, samples, unresolved) for lib, (samples, unresolved) in by_lib.items()]
    unresolved = sum(share.unresolved for share in shares)
    span = tally.find_span(profile.threads)
    return ProfileFacts(
        version=profile.meta.version,
        product=profile.meta.product,
        samples=total,
        empty_samples=empty,
        threads=len(profile.threads),
        symbolicated=profile.meta.symbolicated,
        interval_ms=profile.meta.interval_ms,
        duration_ms=span[1] - span[0] if span and profile.meta.has_times else 0.0,
        started_at_ms=profile.meta.start_time_ms,
        cpu_ms=cpu_ms,
        unresolved_percent=100.0 * unresolved / total if total else None,
        unresolved_by_lib=tuple(sorted(shares, key=lambda share: (-share.samples, share.lib))),
        raw_bytes=profile.raw_bytes,
        weight_type=_find_weight_type(profile),
        samples_by_pid=tuple(sorted(by_pid.items())),
        within_by_pid=tuple(sorted((+within).items())),
        program_build=libraries.find_program(profile.libs, {lib: counts[0] for lib, counts in by_lib.items()}),
    )


def _find_weight_type(profile: Profile) -> str:
    types = {thread.samples.weight_type for thread in profile.threads if thread.samples.length}
    return "mixed" if len(types) > 1 else next(iter(types), "samples")


def _find_leaves(tables: Tables, row_of_frame: array[int]) -> array[int]:
    """The row of each stack's innermost frame, and -1 for no stack at the end."""
    leaves = vectors.take(row_of_frame, tables.stack_frame)
    leaves.append(-1)
    return leaves
