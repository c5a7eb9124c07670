"""The jobs of a child process and their results: typed at both ends, JSON in between. Types only: see `commands/`."""

from __future__ import annotations

from typing import Literal, TypedDict

import msgspec

from samply_operator.profiles.analysis.left_out import LeftOut
from samply_operator.profiles.analysis.selection import Measure, Query
from samply_operator.profiles.analysis.tally import TimeRange
from samply_operator.profiles.attribution.labels import By
from samply_operator.profiles.format import source
from samply_operator.profiles.symbols.label import Label

Format = Literal["folded", "speedscope", "pprof", "svg"]
FORMATS: tuple[Format, ...] = ("folded", "speedscope", "pprof", "svg")
RangeFormat = Literal["folded", "svg"]
RANGE_FORMATS: tuple[RangeFormat, ...] = ("folded", "svg")
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


class Facts(Job, frozen=True, tag="facts"):
    """Answers `fact_sheet.ProfileFacts` as JSON."""

    profile: str


class Bake(Job, frozen=True, tag="bake"):
    """Answers `baking.BakeResult` as JSON; the file is written to `out`."""

    profile: str
    sidecar: str | None
    out: str
    label: Label
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


class DiffKinds(Job, frozen=True, tag="diff_kinds"):
    """Answers `comparing.Comparison` by each of `kinds` that both profiles have, as JSON."""

    before: str
    after: str
    kinds: tuple[By, ...]
    limit: int = 30


class Merge(View, frozen=True, tag="merge"):
    """Answers `merging.Merged` as JSON, or a table."""

    profiles: tuple[str, ...]
    limit: int = 20
    output: Output = "json"


class Parts(msgspec.Struct, frozen=True):
    """The profiles of a range of time, in the order of the job's paths. `titles`: their names in tables; `name`: the
    pipeline's. `left_out`: those without a file."""

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    name: str = ""


class MergeRange(View, frozen=True, tag="merge_range"):
    """Answers `merging.Merged` as JSON, or a table. A profile that cannot be added is left out and listed."""

    profiles: tuple[str, ...]
    parts: Parts
    limit: int = 20
    output: Output = "json"


class ConvertRange(View, frozen=True, tag="convert_range"):
    """Answers all profiles of a range of time in another format, which has no order of time."""

    profiles: tuple[str, ...]
    parts: Parts
    format: RangeFormat
    measure: Measure | None = None


class DiffRanges(View, frozen=True, tag="diff_ranges"):
    """As Diff, of two ranges of time, or of one and a profile."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    before_parts: Parts
    after_parts: Parts
    limit: int = 30
    output: Literal["json", "text", "svg"] = "json"


class Asked(TypedDict):
    """The range that a summary covers."""

    limit: int
    thread: str | None
    time_range: TimeRange | None


class Tree(Job, frozen=True, tag="tree"):
    """Answers `frame_tree.FrameTree` as JSON. `profiles`: one, or two that are compared, the later one first."""

    profiles: tuple[str, ...]
    query: Query = Query()


class Timeline(Job, frozen=True, tag="timeline"):
    """Answers `timeline.Timeline` as JSON."""

    profile: str
    buckets: int = 400
    limit: int = 200


class Name(Job, frozen=True, tag="name"):
    """Answers `naming.NodeNames` as JSON, from the files of Feldera's two answers."""

    dataflow: str
    circuit: str


AnyJob = (
    Facts
    | Bake
    | Pack
    | Top
    | Convert
    | ConvertRange
    | Diff
    | DiffKinds
    | DiffRanges
    | Merge
    | MergeRange
    | Tree
    | Timeline
    | Name
)
