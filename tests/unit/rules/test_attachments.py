"""Which attachments a recording has, when they are fetched, and when it is too late for them."""

from __future__ import annotations

import pytest

from samply_operator.model import names
from samply_operator.model.attachment import BY_DEFAULT, Kind
from samply_operator.model.manifest import Attachment, StoredFile
from samply_operator.model.pipeline import Target
from samply_operator.model.profile import Spec
from samply_operator.rules.recording import attachments
from samply_operator.settings import Feldera, Settings
from support.samples import NOW, make_entry, make_profile

PLAIN = Target("prod", "pipeline-a-0", "uid", "pipeline", "containerd://a", "node-1")
FELDERAS = Target("prod", "pipeline-a-0", "uid", "pipeline", "containerd://a", "node-1", pipeline_id="0198")
WITH, WITHOUT = Settings(feldera=Feldera("http://feldera:8080")), Settings()
WISH: tuple[Kind, ...] = ("HeapProfile",)
START, END = "2027-01-15T08:00:00.000Z", "2027-01-15T08:00:30.000Z"
BEFORE, STOP, LATER = "2027-01-15T07:59:58.000Z", "2027-01-15T08:00:05.000Z", "2027-01-15T08:00:50.000Z"
"""NOW is a quarter of a second after START."""


@pytest.mark.parametrize(
    ("spec", "is_triggered", "target", "settings", "expected"),
    [
        pytest.param(Spec("a"), True, FELDERAS, WITH, BY_DEFAULT, id="a trigger's"),
        pytest.param(Spec("a"), False, FELDERAS, WITH, (), id="nobody's trigger"),
        pytest.param(Spec("a"), True, FELDERAS, WITHOUT, (), id="Feldera is not configured"),
        pytest.param(Spec("a"), True, PLAIN, WITH, (), id="not a pipeline of Feldera's"),
        pytest.param(Spec("a", attachments=()), True, FELDERAS, WITH, (), id="none are wanted"),
        pytest.param(Spec("a", attachments=WISH), True, FELDERAS, WITH, WISH, id="a trigger's wish"),
        pytest.param(Spec("a", attachments=WISH), False, FELDERAS, WITH, WISH, id="a wish"),
        pytest.param(Spec("a", attachments=WISH), False, PLAIN, WITHOUT, WISH, id="a wish that fails, and says so"),
        pytest.param(Spec("a", preflight_only=True), True, FELDERAS, WITH, (), id="a preflight"),
        pytest.param(Spec("a", preflight_only=True, attachments=WISH), False, FELDERAS, WITH, (), id="with a wish"),
    ],
)
def test_what_is_asked_for(
    spec: Spec, is_triggered: bool, target: Target, settings: Settings, expected: tuple[str, ...]
) -> None:
    profile = make_profile(spec=spec, labels={names.MADE_BY: "t-1"} if is_triggered else {})
    assert attachments.choose(profile, target, settings) == expected


@pytest.mark.parametrize(
    ("started_at", "now", "secs"),
    [
        pytest.param(START, NOW, 14.75, id="at the start"),
        pytest.param(START, NOW + 10, 4.75, id="later"),
        pytest.param(START, NOW + 20, 0.0, id="after the middle"),
        pytest.param(START, NOW + 9999, 0.0, id="long after the end"),
        pytest.param("", NOW, 0.0, id="a start that was not seen"),
    ],
)
def test_they_are_fetched_in_the_middle(started_at: str, now: float, secs: float) -> None:
    entry = make_entry(started_at=started_at, duration_secs=30)
    assert attachments.find_wait(entry, now) == pytest.approx(secs)


@pytest.mark.parametrize(
    ("ends_at", "now", "expected"),
    [
        pytest.param(END, NOW, False, id="at the start"),
        pytest.param(END, NOW + 30, False, id="at the end"),
        pytest.param(END, NOW + 39, False, id="a moment later"),
        pytest.param(END, NOW + 41, True, id="too late"),
        pytest.param("", NOW + 9999, False, id="an end that is not known"),
    ],
)
def test_after_a_long_absence_it_is_too_late(ends_at: str, now: float, *, expected: bool) -> None:
    """Feldera would speak of other seconds."""
    assert attachments.is_too_late(make_entry(ends_at=ends_at), now) is expected


@pytest.mark.parametrize(
    ("stopped_at", "mode", "now", "expected"),
    [
        pytest.param(STOP, "InPlace", NOW + 14, False, id="a moment after the stop"),
        pytest.param(STOP, "InPlace", NOW + 16, True, id="too late after the stop"),
        pytest.param(BEFORE, "InPlace", NOW + 9, False, id="stopped before it began"),
        pytest.param(BEFORE, "InPlace", NOW + 11, True, id="stopped before it began, too late"),
        pytest.param(LATER, "InPlace", NOW + 41, True, id="stopped after its end"),
        pytest.param(STOP, "Pipeline", NOW + 39, False, id="Feldera cannot be told to stop"),
        pytest.param(STOP, "Pipeline", NOW + 41, True, id="too late after its end"),
    ],
)
def test_a_stop_ends_the_seconds(stopped_at: str, mode: str, now: float, *, expected: bool) -> None:
    entry = make_entry(started_at=START, ends_at=END, stopped_at=stopped_at, mode=mode)
    assert attachments.is_too_late(entry, now) is expected


def test_what_is_missing_is_told_once_for_each_reason() -> None:
    found = (
        Attachment("Stats", problem="It is away."),
        Attachment("Metrics", "m.gz", StoredFile(1, "00")),
        Attachment("CircuitProfile", problem="It is away."),
        Attachment("HeapProfile", problem="It has none."),
    )
    assert attachments.describe_missing(found) == (
        "Without the attachments Stats, CircuitProfile: It is away.",
        "Without the attachments HeapProfile: It has none.",
    )
    assert attachments.describe_missing(found[1:2]) == ()
