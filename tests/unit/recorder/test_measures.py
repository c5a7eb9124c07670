"""Durations of a recording, as far as they are in its journal entry."""

from __future__ import annotations

import msgspec
import pytest

from samply_operator.measures import OPERATOR
from samply_operator.model.manifest import Attachment, Quality, StoredFile
from samply_operator.recorder import measures
from samply_operator.recorder.pod import collect
from samply_operator.rules import times
from support.samples import make_entry

NOW = 1_800_000_000.0


def read(name: str, **labels: str) -> float:
    return OPERATOR.get_sample_value(f"samply_operator_{name}", labels) or 0.0


@pytest.mark.parametrize(
    ("ends_in_secs", "finish_secs"), [(-4.0, 4.0), (20.0, None)], ids=["to its end", "stopped early"]
)
def test_the_time_that_samply_took_to_write_is_counted_when_it_is_known(
    ends_in_secs: float, finish_secs: float | None
) -> None:
    entry = msgspec.structs.replace(
        make_entry(), started_at=times.format_time(NOW - 34), ends_at=times.format_time(NOW + ends_in_secs)
    )
    names = ("recording_duration_seconds_sum", "finish_duration_seconds_sum", "finish_duration_seconds_count")
    before = [read(name) for name in names]
    measures.measure_sampling(entry, NOW)
    grown = [read(name) - old for name, old in zip(names, before, strict=True)]
    assert grown == pytest.approx([34, finish_secs or 0, int(finish_secs is not None)])


def test_what_was_counted_in_a_profile_is_counted_here_too() -> None:
    """Samples, threads, lost events, coverage."""
    quality = Quality(samples=900, threads=7, lost_events=3, coverage=0.9)
    manifest = msgspec.structs.replace(collect.describe_attempt(make_entry(), NOW, None), quality=quality)
    names = ("samples_total", "profile_threads_sum", "profile_threads_count", "lost_events_total")
    before = [read(name) for name in names]
    measures.count_quality(manifest)
    assert [read(name) - old for name, old in zip(names, before, strict=True)] == [900, 7, 1, 3]
    assert read("last_coverage_ratio", mode=manifest.target.mode) == 0.9


def test_attachments_are_counted_by_kind_and_by_what_came_of_them() -> None:
    attached = (Attachment("Stats", "s.gz", StoredFile(1, "00")), Attachment("HeapProfile", problem="none here"))
    manifest = msgspec.structs.replace(collect.describe_attempt(make_entry(), NOW, None), attachments=attached)
    labels = ({"kind": "Stats", "outcome": "Stored"}, {"kind": "HeapProfile", "outcome": "Missing"})
    before = [read("attachments_total", **each) for each in labels]
    measures.count_attachments(manifest)
    assert [read("attachments_total", **each) - old for each, old in zip(labels, before, strict=True)] == [1, 1]
