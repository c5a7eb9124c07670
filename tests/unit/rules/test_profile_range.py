"""Which profiles a range of time consists of, and when they are too many."""

from __future__ import annotations

import msgspec
import pytest

from samply_operator.errors import InvalidParam
from samply_operator.model.manifest import Manifest, StoredFile
from samply_operator.rules import times
from samply_operator.rules.serving import profile_range
from samply_operator.rules.serving.history import Filter
from support.samples import make_manifest

START = times.parse_time("2026-01-31T09:00:00Z")
MIB = 1 << 20


def make(minute: int, *, mib: int = 1, ordinal: int = 0, **changes: object) -> Manifest:
    """One that ended so many minutes after START."""
    manifest = make_manifest(
        id=str(minute),
        ordinal=ordinal,
        finished_at=times.format_time(START + 60 * minute),
        file=StoredFile(size_bytes=mib * MIB, sha256="ab" * 32),
    )
    return msgspec.structs.replace(manifest, **changes)


def choose(attempts: list[Manifest], since: int | None, until: int | None = None, ordinal: int | None = None) -> str:
    wanted = Filter(
        ordinal=ordinal,
        state="Succeeded",
        since=None if since is None else START + 60 * since,
        until=None if until is None else START + 60 * until,
    )
    return " ".join(each.id for each in profile_range.choose(attempts, wanted))


HISTORY = [
    make(9, outcome="Failed", file=None),
    make(8),
    make(7, ordinal=1),
    make(6),
    make(5, file=None),
    make(4, ordinal=1),
]


@pytest.mark.parametrize(
    ("since", "until", "ordinal", "expected"),
    [
        (None, 9, None, "8 7 6 5 4"),
        (6, None, None, "8 7 6"),
        (6, 8, None, "7 6"),
        (6, 6, None, ""),
        (0, 4, None, ""),
        (0, None, 1, "7 4"),
        (20, None, None, ""),
    ],
    ids=["all", "since is included", "until is not", "nothing", "before", "one ordinal", "after"],
)
def test_which_profiles(since: int | None, until: int | None, ordinal: int | None, expected: str) -> None:
    """Good ones, newest first, as the history has them; one whose file is missing is not hidden here."""
    assert choose(HISTORY, since, until, ordinal) == expected


@pytest.mark.parametrize(
    ("sizes_mib", "fitting"),
    [
        ([1] * 100, None),
        ([1] * 101, 100),
        ([1] * 500, 100),
        ([64, 64], None),
        ([64, 64, 1], 2),
        ([1000], None),
        ([1000, 1], 1),
        ([1, 1000], 1),
    ],
)
def test_too_many_are_refused_with_a_range_that_fits(sizes_mib: list[int], fitting: int | None) -> None:
    """One profile alone may be as large as it is: it can also be read by itself."""
    history = [make(len(sizes_mib) - place, mib=mib) for place, mib in enumerate(sizes_mib)]
    if fitting is None:
        assert len(choose(history, 0).split()) == len(sizes_mib)
        return
    with pytest.raises(InvalidParam, match="narrower range") as caught:
        choose(history, 0)
    details = caught.value.details
    assert (details["parameter"], details["profiles"]) == ("since", len(sizes_mib))
    assert f"such as since={details['since']}" in caught.value.remedy
    since = round((times.parse_time(str(details["since"])) - START) / 60)
    assert len(choose(history, since).split()) == fitting
