"""Which attachments are in a support bundle: a zip keeps a limited number of files open."""

from __future__ import annotations

import pytest

from samply_operator.api.routes.profiles import export
from samply_operator.model.manifest import Attachment, Manifest, StoredFile
from support.samples import make_manifest

FILE = StoredFile(1, "00")
GONE = Attachment("HeapProfile", problem="no")


def build(*counts: int) -> list[Manifest]:
    """Profiles with so many attachments, the newest first; each wanted one more, which is missing."""
    return [
        make_manifest(id=str(number), attachments=(*(Attachment("Stats", f"{n}", FILE) for n in range(count)), GONE))
        for number, count in enumerate(counts)
    ]


@pytest.mark.parametrize(
    ("attempts", "expected", "left_out"),
    [
        pytest.param([], {}, 0, id="nothing"),
        pytest.param(build(0, 0), {"0": 0, "1": 0}, 0, id="none have any"),
        pytest.param(build(3, 0, 2), {"0": 3, "1": 0, "2": 2}, 0, id="all fit"),
        pytest.param(build(3, 3, 2), {"0": 3, "1": 3}, 1, id="the oldest does not fit"),
        pytest.param(build(3, 9, 0, 1), {"0": 3}, 2, id="nor do those before one that does not fit"),
        pytest.param(build(*[0] * 10), {str(number): 0 for number in range(10)}, 0, id="profiles alone"),
        pytest.param(build(*[1] * 10), {}, 10, id="profiles go first"),
    ],
)
def test_the_newest_have_theirs(
    attempts: list[Manifest], expected: dict[str, int], left_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_FILES", 10)
    chosen, unattached = export.choose_attached(attempts)
    assert {profile_id: len(found) for profile_id, found in chosen.items()} == expected
    assert unattached == left_out
    assert len(attempts) + sum(map(len, chosen.values())) <= 10


def test_a_failure_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_FILES", 3)
    attempts = [make_manifest(id="f", outcome="Failed", file=None), *build(2)]
    assert [len(found) for found in export.choose_attached(attempts)[0].values()] == [0, 2]
