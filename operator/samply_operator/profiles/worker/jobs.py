"""The jobs of a child process and their results: typed at both ends, JSON in between. Starts no process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec

from samply_operator.profiles.analysis import breakdown, comparing, fact_sheet, frame_tree, merging, summary, timeline
from samply_operator.profiles.analysis.tally import TimeRange
from samply_operator.profiles.analysis.weighing import Measure
from samply_operator.profiles.attribution import naming
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.attribution.labels import By
from samply_operator.profiles.format import gzipping, reading, source
from samply_operator.profiles.format.profile import Profile
from samply_operator.profiles.output import breakdown_text, flamegraph, folded, pprof, speedscope, text
from samply_operator.profiles.symbols import baking

Format = Literal["folded", "speedscope", "pprof", "svg"]
FORMATS: tuple[Format, ...] = ("folded", "speedscope", "pprof", "svg")
MEDIA_TYPES: dict[Format, str] = {
    "folded": "text/plain; charset=utf-8",
    "speedscope": "application/json",
    "pprof": "application/gzip",
    "svg": "image/svg+xml",
}
SUFFIXES: dict[Format, str] = {
    "folded": ".folded.txt",
    "speedscope": ".speedscope.json",
    "pprof": ".pb.gz",
    "svg": ".svg",
}
Output = Literal["json", "text"]


class Job(msgspec.Struct, frozen=True, tag_field="job", kw_only=True):
    """Base of all. Paths are the caller's: nothing in a file says what is read or written."""

    max_raw_bytes: int = source.MAX_RAW_BYTES


class View(Job, frozen=True, kw_only=True):
    """Base of those that show a profile by function, operator or group. `rules`: see `choosing.Choice`."""

    by: By = "function"
    rules: str = ""

    @property
    def choice(self) -> Choice:
        return Choice(self.by, self.rules)


class Facts(Job, frozen=True, tag="facts"):
    """Answers `fact_sheet.ProfileFacts` as JSON."""

    profile: str


class Bake(Job, frozen=True, tag="bake"):
    """Answers `baking.BakeResult` as JSON; the file is written to `out`."""

    profile: str
    sidecar: str | None
    out: str
    label: baking.Label
    window: TimeRange | None = None


class Pack(Job, frozen=True, tag="pack"):
    """The fallback when baking failed: the file as it is, in gzip. Answers `gzipping.Written`; no JSON is looked at."""

    profile: str
    out: str


class Top(View, frozen=True, tag="top"):
    """Answers `summary.Summary` as JSON (by operator or group: `breakdown.Breakdown`), or a table."""

    profile: str
    limit: int = 20
    thread: str | None = None
    time_range: TimeRange | None = None
    output: Output = "json"
    coverage: float | None = None
    lost_events: int | None = None
    """What is known about the recording, shown with the sums."""


class Convert(View, frozen=True, tag="convert"):
    """Answers the converted profile itself. `measure` None: samples, and that of the tables in a flame graph. pprof has
    both measures whatever is asked. A flame graph shows `note`."""

    profile: str
    format: Format
    measure: Measure | None = None
    note: str = ""


class Diff(View, frozen=True, tag="diff"):
    """Answers `comparing.Comparison` as JSON, a table, or the differential flame graph."""

    before: str
    after: str
    limit: int = 30
    output: Literal["json", "text", "svg"] = "json"


class Merge(View, frozen=True, tag="merge"):
    """Answers `merging.Merged` as JSON, or a table."""

    profiles: tuple[str, ...]
    limit: int = 20
    output: Output = "json"


class Asked(TypedDict):
    """The range that a summary covers."""

    limit: int
    thread: str | None
    time_range: TimeRange | None


class Tree(Job, frozen=True, tag="tree"):
    """Answers `frame_tree.FrameTree` as JSON. `profiles`: one, or two that are compared, the later one first."""

    profiles: tuple[str, ...]
    query: frame_tree.Query = frame_tree.Query()


class Timeline(Job, frozen=True, tag="timeline"):
    """Answers `timeline.Timeline` as JSON."""

    profile: str
    buckets: int = 400
    limit: int = 200


class Name(Job, frozen=True, tag="name"):
    """Answers `naming.NodeNames` as JSON, from the files of Feldera's two answers."""

    dataflow: str
    circuit: str


AnyJob = Facts | Bake | Pack | Top | Convert | Diff | Merge | Tree | Timeline | Name


def run(job: AnyJob) -> Iterable[bytes]:
    """The answer in pieces. Raises ProfileError, possibly after the first pieces."""
    match job:
        case Facts() | Name():
            return _json(_read_facts(job))
        case Bake():
            return _json(_bake(job))
        case Pack():
            data = source.load(Path(job.profile), max_raw_bytes=job.max_raw_bytes)
            return _json(gzipping.write([data], Path(job.out), expected_bytes=len(data)))
        case Top():
            return _top(job)
        case Convert():
            return convert(job)
        case Diff():
            return _diff(job)
        case Merge():
            merged = merging.merge((_read(path, job) for path in job.profiles), limit=job.limit, choice=job.choice)
            return _text(text.render_merged(merged)) if job.output == "text" else _json(merged)
        case Tree():
            return _json(frame_tree.build([_read(path, job) for path in job.profiles], job.query))
        case Timeline():
            return _json(timeline.build(_read(job.profile, job), buckets=job.buckets, limit=job.limit))


def _read_facts(job: Facts | Name) -> fact_sheet.ProfileFacts | naming.NodeNames:
    if isinstance(job, Facts):
        return fact_sheet.gather(_read(job.profile, job))
    return naming.join(Path(job.dataflow).read_bytes(), Path(job.circuit).read_bytes())


def convert(job: Convert) -> Iterator[bytes]:
    """One of the formats, in pieces."""
    profile = _read(job.profile, job)
    match job.format:
        case "folded":
            return folded.convert(profile, measure=job.measure or "samples", choice=job.choice)
        case "speedscope":
            return speedscope.convert(profile, measure=job.measure or "samples", choice=job.choice)
        case "pprof":
            return pprof.convert(profile, choice=job.choice)
        case "svg":
            return flamegraph.convert(profile, measure=job.measure, choice=job.choice, note=job.note)


def _bake(job: Bake) -> baking.BakeResult:
    sidecar = None if job.sidecar is None else Path(job.sidecar)
    return baking.bake(
        Path(job.profile),
        sidecar,
        Path(job.out),
        label=job.label,
        window=job.window,
        max_raw_bytes=job.max_raw_bytes,
    )


def _top(job: Top) -> Iterable[bytes]:
    profile = _read(job.profile, job)
    attribution = job.choice.build(profile)
    asked: Asked = {"limit": job.limit, "thread": job.thread, "time_range": job.time_range}
    if attribution is not None:
        sums = breakdown.break_down(profile, attribution, by=job.by, **asked)
        sums = replace(sums, coverage=job.coverage, lost_events=job.lost_events)
        return _text(breakdown_text.render(sums)) if job.output == "text" else _json(sums)
    found = replace(summary.top(profile, **asked), coverage=job.coverage, lost_events=job.lost_events)
    return _text(text.render_summary(found)) if job.output == "text" else _json(found)


def _diff(job: Diff) -> Iterable[bytes]:
    if job.output == "svg":
        return flamegraph.compare(_read(job.before, job), _read(job.after, job), choice=job.choice)
    both = (_read(path, job) for path in (job.before, job.after))
    comparison = comparing.compare_each(both, limit=job.limit, choice=job.choice)
    return _text(text.render_comparison(comparison)) if job.output == "text" else _json(comparison)


def _read(path: str, job: Job) -> Profile:
    return reading.read(Path(path), max_raw_bytes=job.max_raw_bytes)


def _json(answer: Any) -> Iterable[bytes]:
    return (msgspec.json.encode(answer),)


def _text(table: str) -> Iterable[bytes]:
    return (table.encode("utf-8", "replace"),)
