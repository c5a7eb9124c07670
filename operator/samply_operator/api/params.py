"""Strict parsing of query parameters: each valid and given once; unknown keys are ignored. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeVar
from urllib.parse import parse_qs

from samply_operator import errors
from samply_operator.model import attachment, names
from samply_operator.model.attachment import Kind
from samply_operator.profiles.analysis import selection
from samply_operator.profiles.analysis.selection import MEASURES, Measure
from samply_operator.profiles.analysis.tally import TimeRange
from samply_operator.profiles.attribution.labels import BYS, By
from samply_operator.profiles.worker import jobs
from samply_operator.profiles.worker.jobs import Format, Output
from samply_operator.rules import times
from samply_operator.rules.access import links
from samply_operator.rules.serving.history import STATES, Filter
from samply_operator.settings import MAX_DURATION_SECS, MAX_RATE_HZ, MODES, Mode

MAX_ORDINAL = names.MAX_ORDINAL
ALL: Literal["all"] = "all"
Ordinal = int | Literal["all"]
DiffOutput = Literal["json", "text", "svg"]
MAX_PAGE = 1000
PAGE = 100
MAX_EXPORT = 200
"""One file is open for each while a bundle is sent."""
EXPORT = 50

MAX_QUERY = 8192
KEPT = 1024
"""Parsed query strings that are cached, because pollers repeat theirs."""

FORMATS: tuple[Format, ...] = jobs.FORMATS
RANGE_FORMATS = jobs.RANGE_FORMATS
SIDES = ("before", "after")
OUTPUTS: tuple[Output, ...] = ("json", "text")
DIFF_OUTPUTS: tuple[DiffOutput, ...] = ("json", "text", "svg")

Choice = TypeVar("Choice", bound=str)
Query = Mapping[str, list[str]]

_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)
_NAMESPACE = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?/)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
"""CLUSTER/NAMESPACE: of another cluster's profiles (storage.bucket.readClusters)."""
_SECS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", re.ASCII)
_THREAD = re.compile(r"[^\0-\x1f]{1,64}")
_SEARCH = re.compile(r"[^\0-\x1f]{1,200}")
TIME = "a time such as 2026-01-31T09:30:00Z"
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z", re.ASCII)
_ID = re.compile(r"[0-9a-f-]{36}", re.ASCII)
MAX_MERGED = 20
IDS_PATTERN = rf"{_ID.pattern}(?:,{_ID.pattern}){{0,{MAX_MERGED - 1}}}"
_IDS = re.compile(IDS_PATTERN, re.ASCII)
_KIND = f"(?:{'|'.join(attachment.KINDS)})"
KINDS_PATTERN = rf"{_KIND}(?:,{_KIND}){{0,{len(attachment.KINDS) - 1}}}"
_KINDS = re.compile(KINDS_PATTERN, re.ASCII)
FOREVER_MS = 1e12
KEY_PATTERN = "[0-9a-f]{8}"
MAX_PATH = 500
KEYS_PATTERN = rf"{KEY_PATTERN}(?:\.{KEY_PATTERN}){{0,{MAX_PATH - 1}}}"
MAX_RANGES = 200
_RANGE = "[0-9]{1,6}(?:-[0-9]{1,6})?"
RANGES_PATTERN = rf"{_RANGE}(?:,{_RANGE}){{0,{MAX_RANGES - 1}}}"
_KEY = re.compile(KEY_PATTERN, re.ASCII)
_KEYS = re.compile(KEYS_PATTERN, re.ASCII)
_RANGES = re.compile(RANGES_PATTERN, re.ASCII)
NODES = 20_000
MAX_NODES = 100_000
"""Nodes of a call tree; each is about 50 bytes."""
MAX_BUCKETS = 2000


@dataclass(frozen=True, slots=True)
class ProfileQuery:
    """GET …/samply_profile."""

    ordinal: Ordinal = 0
    latest: bool = False
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class StartQuery:
    """POST …/samply_profile. None: the installation's default."""

    ordinal: Ordinal = 0
    duration_secs: int | None = None
    rate_hz: int | None = None
    mode: Mode | None = None
    namespace: str | None = None
    attachments: tuple[Kind, ...] | None = None


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """GET …/samply_profiles: newest first, `limit` at a time, after the one with the id `after`."""

    wanted: Filter
    namespace: str | None = None
    limit: int = PAGE
    after: str | None = None


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """GET …/export: the newest `limit` attempts."""

    namespace: str | None = None
    limit: int = EXPORT


@dataclass(frozen=True, slots=True)
class FormatQuery:
    """Conversion of a served profile. pprof has both measures. `wanted`: of a range of time, merged."""

    format: Format | None = None
    measure: Measure | None = None
    by: By = "function"
    wanted: Filter | None = None


@dataclass(frozen=True, slots=True)
class LinkQuery:
    """POST …/links. `expires_secs` None: as usual."""

    expires_secs: int | None = None


@dataclass(frozen=True, slots=True)
class SummaryQuery:
    """GET …/summary. `output` None: as the request's Accept says."""

    output: Output | None = None
    thread: str | None = None
    time_range: TimeRange | None = None
    limit: int = 20
    by: By = "function"


@dataclass(frozen=True, slots=True)
class MergedQuery:
    """GET …/summary of a pipeline. `ids` empty: those of a range of time, or without one the last of each ordinal."""

    ids: tuple[str, ...] = ()
    wanted: Filter | None = None
    output: Output | None = None
    limit: int = 20
    namespace: str | None = None
    by: By = "function"


@dataclass(frozen=True, slots=True)
class DiffQuery:
    """GET …/diff: of both sides the id of a profile, or the profiles of a range of time."""

    before: str | Filter
    after: str | Filter
    output: DiffOutput | None = None
    limit: int = 30
    namespace: str | None = None
    by: By = "function"


@dataclass(frozen=True, slots=True)
class TreeQuery:
    """GET …/tree. `before`: the id of the profile that it is compared with, `before_pipeline`: whose that is."""

    query: selection.Query
    before: str | None = None
    before_pipeline: str | None = None


@dataclass(frozen=True, slots=True)
class TimelineQuery:
    """GET …/timeline."""

    buckets: int = 400
    limit: int = 200


@lru_cache(KEPT)
def parse_profile_query(text: str) -> ProfileQuery:
    query = split(text)
    return ProfileQuery(
        ordinal=_parse_ordinals(query), latest=_parse_flag(query, "latest"), namespace=parse_namespace(query)
    )


def parse_start_query(text: str) -> StartQuery:
    query = split(text)
    return _parse_start(query, _parse_ordinals(query))


def parse_preflight_query(text: str) -> StartQuery:
    """As for a start, of one ordinal."""
    query = split(text)
    return _parse_start(query, _parse_ordinal(query) or 0)


def _parse_start(query: Query, ordinal: Ordinal) -> StartQuery:
    return StartQuery(
        ordinal=ordinal,
        duration_secs=_parse_whole(query, "duration_secs", 1, MAX_DURATION_SECS),
        rate_hz=_parse_whole(query, "rate_hz", 1, MAX_RATE_HZ),
        mode=_parse_choice(query, "mode", MODES),
        namespace=parse_namespace(query),
        attachments=_parse_kinds(query),
    )


def parse_history_query(text: str) -> HistoryQuery:
    query = split(text)
    since, until = _parse_times(query)
    return HistoryQuery(
        wanted=Filter(
            ordinal=_parse_ordinal(query),
            state=_parse_choice(query, "state", STATES),
            words=_parse_words(query),
            since=since,
            until=until,
        ),
        namespace=parse_namespace(query),
        limit=_parse_whole(query, "limit", 1, MAX_PAGE) or PAGE,
        after=_parse_pattern(query, "after", _ID, "the id of a profile"),
    )


def parse_export_query(text: str) -> ExportQuery:
    query = split(text)
    return ExportQuery(parse_namespace(query), _parse_whole(query, "limit", 1, MAX_EXPORT) or EXPORT)


@lru_cache(KEPT)
def parse_format_query(text: str) -> FormatQuery:
    query = split(text)
    return FormatQuery(
        format=_parse_choice(query, "format", FORMATS),
        measure=_parse_choice(query, "measure", MEASURES),
        by=_parse_by(query),
    )


@lru_cache(KEPT)
def parse_last_query(text: str) -> FormatQuery:
    """The format of the last profile, or of all in a range of time, where `ordinal` is which of them."""
    query, shape = split(text), parse_format_query(text)
    given = _list_given(query, "since", "until")
    wanted = _parse_range(query, (*given, "ordinal"))
    if not given and "search" in query:
        raise _invalid("search", query["search"][0], "to be given with since or until")
    if wanted and shape.format not in RANGE_FORMATS:
        expected = f"one of {', '.join(RANGE_FORMATS)}, with since or until"
        raise _invalid("format", shape.format or "", expected)
    return replace(shape, wanted=wanted)


def parse_link_query(text: str, max_secs: int) -> LinkQuery:
    return LinkQuery(_parse_whole(split(text), "expires_secs", 1, max_secs))


def parse_link(text: str) -> links.Link | None:
    """The signed link in a query; None: not one of this service. Only the stored file itself can be linked."""
    query = split(text)
    if query.keys() & {"format", "measure", "by"}:
        raise errors.InvalidParam(
            "A link covers only the stored file, without a format.",
            details={"parameter": "format", "value": "", "expected": "none, with a link"},
        )
    expires, signature = query.get("expires", []), query.get("signature", [])
    return links.parse(expires[0], signature[0]) if (len(expires), len(signature)) == (1, 1) else None


def parse_summary_query(text: str) -> SummaryQuery:
    query = split(text)
    return SummaryQuery(
        output=_parse_choice(query, "output", OUTPUTS),
        thread=_parse_pattern(query, "thread", _THREAD, "the name of a thread, 1 to 64 characters"),
        time_range=parse_time_range(query),
        limit=_parse_whole(query, "limit", 1, MAX_PAGE) or 20,
        by=_parse_by(query),
    )


def parse_merged_query(text: str) -> MergedQuery:
    query = split(text)
    ids = _parse_pattern(query, "ids", _IDS, f"ids of at most {MAX_MERGED} profiles, separated by commas")
    wanted = _parse_range(query, _list_given(query, "since", "until"))
    if ids and wanted:
        raise _invalid("ids", ids, "not together with since or until")
    return MergedQuery(
        ids=tuple(ids.split(",")) if ids else (),
        wanted=wanted,
        output=_parse_choice(query, "output", OUTPUTS),
        limit=_parse_whole(query, "limit", 1, MAX_PAGE) or 20,
        namespace=parse_namespace(query),
        by=_parse_by(query),
    )


def parse_diff_query(text: str) -> DiffQuery:
    query = split(text)
    times_given = _list_given(query, *(f"{side}_{word}" for side in SIDES for word in ("since", "until")))
    before, after = (_parse_side(query, side, times_given) for side in SIDES)
    return DiffQuery(
        before=before,
        after=after,
        output=_parse_choice(query, "output", DIFF_OUTPUTS),
        limit=_parse_whole(query, "limit", 1, MAX_PAGE) or 30,
        namespace=parse_namespace(query),
        by=_parse_by(query),
    )


def parse_tree_query(text: str) -> TreeQuery:
    query = split(text)
    before = _parse_pattern(query, "before", _ID, "the id of a profile")
    path = _parse_pattern(query, "path", _KEYS, f"at most {MAX_PATH} keys of frames, separated by dots")
    view = _parse_choice(query, "view", selection.VIEWS) or "top-down"
    function = _parse_pattern(query, "function", _KEY, "the key of a function")
    if (function is None) is (view in ("callees", "callers")):
        raise _invalid("function", function or "", "to be given with view=callees and view=callers, and only there")
    found = selection.Query(
        view=view,
        by=_parse_choice(query, "by", selection.ROOTS) or "none",
        measure=_parse_choice(query, "measure", MEASURES) or "samples",
        threads=_parse_ranges(query, "threads"),
        time_range=parse_time_range(query),
        path=tuple(path.split(".")) if path else (),
        function=function or "",
        limit=_parse_whole(query, "limit", 1, MAX_NODES) or NODES,
    )
    if before and (found.threads is not None or found.time_range is not None):
        raise _invalid("before", before, "not together with threads, from or to, which are of one profile")
    pipeline = _find(query, "before_pipeline")
    if pipeline is not None and not names.is_pipeline_name(pipeline):
        raise _invalid("before_pipeline", pipeline, "the name of a pipeline")
    return TreeQuery(found, before, pipeline)


def parse_timeline_query(text: str) -> TimelineQuery:
    query = split(text)
    return TimelineQuery(
        buckets=_parse_whole(query, "buckets", 1, MAX_BUCKETS) or 400,
        limit=_parse_whole(query, "limit", 1, MAX_PAGE) or 200,
    )


def _list_given(query: Query, *keys: str) -> tuple[str, ...]:
    return tuple(key for key in keys if key in query)


def _parse_range(query: Query, given: tuple[str, ...], prefix: str = "") -> Filter | None:
    """The good profiles that ended in a part of the time, with the history's words; None: no time is given. `prefix` of
    since and until. Raises InvalidParam for what would be ignored without a time."""
    since, until = _parse_times(query, prefix)
    ordinal = None if query.get("ordinal") == [ALL] else _parse_ordinal(query)
    words = _parse_words(query)
    for key in () if given else _list_given(query, "search", *(() if ordinal is None else ("ordinal",))):
        raise _invalid(key, query[key][0], "to be given with since or until")
    if since is None and until is None:
        return None
    return Filter(ordinal=ordinal, state="Succeeded", words=words, since=since, until=until)


def _parse_times(query: Query, prefix: str = "") -> tuple[float | None, float | None]:
    """`since` and `until`."""
    since, until = _parse_time(query, f"{prefix}since"), _parse_time(query, f"{prefix}until")
    if since is not None and until is not None and until <= since:
        raise _invalid(f"{prefix}until", query[f"{prefix}until"][0], f"a time later than '{prefix}since'")
    return since, until


def _parse_side(query: Query, side: str, times_given: tuple[str, ...]) -> str | Filter:
    """The id of a profile, or a range of time."""
    wanted = _parse_range(query, times_given, f"{side}_")
    if wanted is None:
        return _require_id(query, side, f"the id of a profile, or instead of it {side}_since or {side}_until")
    if side in query:
        raise _invalid(side, query[side][0], f"not together with {side}_since or {side}_until")
    return wanted


def _parse_words(query: Query) -> tuple[str, ...]:
    expected = "1 to 200 characters, none of them a control character"
    return tuple((_parse_pattern(query, "search", _SEARCH, expected) or "").lower().split())


def parse_time_range(query: Query) -> TimeRange | None:
    """`from` and `to`, in seconds since the recording's start."""
    start_secs, end_secs = _parse_secs(query, "from"), _parse_secs(query, "to")
    if end_secs is not None and end_secs <= (start_secs or 0.0):
        raise _invalid("to", str(end_secs), "more than 'from'")
    if start_secs is None and end_secs is None:
        return None
    return TimeRange(1000 * (start_secs or 0.0), 1000 * end_secs if end_secs is not None else FOREVER_MS)


def split(text: str) -> Query:
    """The raw query string (what follows `?`) as keys and their values."""
    return parse_qs(text[:MAX_QUERY], keep_blank_values=True)


def parse_namespace(query: Query) -> str | None:
    return _parse_pattern(query, "namespace", _NAMESPACE, "the name of a namespace")


def parse_pipeline(match: Mapping[str, str]) -> str:
    """The pipeline in the path. An invalid name is unknown, and is never looked up."""
    name = match["pipeline_name"]
    if not names.is_pipeline_name(name):
        raise build_unknown_pipeline(name)
    return name


def build_unknown_pipeline(name: str) -> errors.UnknownPipeline:
    name = name if len(name) <= 256 else name[:256] + "…"
    return errors.UnknownPipeline(f"Unknown pipeline name '{name}'", details={"pipeline_name": name})


def _parse_ordinal(query: Query) -> int | None:
    return _parse_whole(query, "ordinal", 0, MAX_ORDINAL)


def _parse_ordinals(query: Query) -> Ordinal:
    """One ordinal, or all; 0 by default."""
    return ALL if query.get("ordinal") == [ALL] else _parse_ordinal(query) or 0


def _parse_whole(query: Query, key: str, least: int, most: int) -> int | None:
    expected = f"a whole number from {least} to {most}"
    text = _parse_pattern(query, key, _DIGITS, expected)
    if text is None:
        return None
    if not least <= int(text) <= most:
        raise _invalid(key, text, expected)
    return int(text)


def _parse_ranges(query: Query, key: str) -> selection.Ranges | None:
    text = _parse_pattern(query, key, _RANGES, f"at most {MAX_RANGES} threads or ranges, such as 0-3,5")
    if text is None:
        return None
    parts = [part.partition("-") for part in text.split(",")]
    found = tuple((int(first), int(last or first)) for first, _, last in parts)
    if any(first > last for first, last in found):
        raise _invalid(key, text, "ranges that begin before they end")
    return found


def _parse_kinds(query: Query) -> tuple[Kind, ...] | None:
    expected = f"one or more of {', '.join(attachment.KINDS)}, separated by commas"
    text = _parse_pattern(query, "attachments", _KINDS, expected)
    return None if text is None else tuple(kind for kind in attachment.KINDS if kind in text.split(","))


def _parse_flag(query: Query, key: str) -> bool:
    text = _find(query, key)
    if text not in (None, "true", "false"):
        raise _invalid(key, text or "", "true or false")
    return text == "true"


def _parse_choice(query: Query, key: str, choices: tuple[Choice, ...]) -> Choice | None:
    text = _find(query, key)
    found = next((choice for choice in choices if choice == text), None)
    if text is not None and found is None:
        raise _invalid(key, text, f"one of {', '.join(choices)}")
    return found


def _parse_by(query: Query) -> By:
    return _parse_choice(query, "by", BYS) or "function"


def _parse_secs(query: Query, key: str) -> float | None:
    text = _parse_pattern(query, key, _SECS, "seconds since the recording's start, such as 2.5")
    return None if text is None else float(text)


def _parse_time(query: Query, key: str) -> float | None:
    text = _parse_pattern(query, key, _TIME, TIME)
    try:
        return None if text is None else times.parse_time(text)
    except (ValueError, OverflowError) as error:
        raise _invalid(key, text or "", TIME) from error


def _require_id(query: Query, key: str, expected: str) -> str:
    text = _parse_pattern(query, key, _ID, expected)
    if text is None:
        raise _invalid(key, "", expected)
    return text


def _parse_pattern(query: Query, key: str, pattern: re.Pattern[str], expected: str) -> str | None:
    text = _find(query, key)
    if text is not None and pattern.fullmatch(text) is None:
        raise _invalid(key, text, expected)
    return text


def _find(query: Query, key: str) -> str | None:
    values = query.get(key, [])
    if len(values) > 1:
        raise _invalid(key, ", ".join(values), "to be given once")
    return values[0] if values else None


def _invalid(key: str, value: str, expected: str) -> errors.InvalidParam:
    value = value[:100]
    return errors.InvalidParam(
        f"Invalid parameter '{key}': expected {expected}, got '{value}'",
        details={"parameter": key, "value": value, "expected": expected},
    )
