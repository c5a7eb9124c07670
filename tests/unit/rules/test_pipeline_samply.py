"""Mode Pipeline: when Feldera is asked, what its refusals mean, and how a recording's CPU time is measured."""

from __future__ import annotations

from typing import Any

import pytest

from samply_operator import errors
from samply_operator.rules.recording import coverage, pipeline_samply
from samply_operator.rules.recording.pipeline_samply import Reading
from samply_operator.settings import Feldera, Settings
from support.samples import make_entry

PREFERRED = Settings(feldera=Feldera("http://feldera", prefer_own_samply=True))


@pytest.mark.parametrize(
    ("entry", "settings", "is_wanted"),
    [
        pytest.param({"wanted_mode": "Pipeline"}, Settings(), True, id="asked for"),
        pytest.param({"wanted_mode": "Auto"}, Settings(), False, id="not preferred"),
        pytest.param({"wanted_mode": "Auto"}, PREFERRED, True, id="preferred"),
        pytest.param({"wanted_mode": ""}, PREFERRED, True, id="no mode is Auto"),
        pytest.param({"wanted_mode": "InPlace"}, PREFERRED, False, id="another was asked for"),
        pytest.param({"wanted_mode": "Auto", "mode": "Pipeline"}, Settings(), True, id="begun, by an earlier process"),
        pytest.param({"wanted_mode": "Auto", "mode": "InPlace"}, PREFERRED, False, id="begun another way"),
        pytest.param({"wanted_mode": "Auto", "refused_by_feldera": "no"}, PREFERRED, False, id="refused before"),
        pytest.param({"wanted_mode": "Auto", "pipeline_id": ""}, PREFERRED, False, id="not one of Feldera's"),
        pytest.param({"wanted_mode": "Auto", "pipeline_doubt": "why"}, PREFERRED, False, id="perhaps another one"),
    ],
)
def test_when_feldera_is_asked(entry: dict[str, Any], settings: Settings, is_wanted: bool) -> None:
    made = make_entry(**{"mode": "", "pipeline_id": "an id"} | entry)
    assert pipeline_samply.is_wanted(made, settings) is is_wanted


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.FelderaUnauthenticated("?"), "FelderaRefused"),
        (errors.FelderaForbidden("?"), "FelderaRefused"),
        (errors.FelderaNotFound("?"), "FelderaRefused"),
        (errors.FelderaRejected("?", details={"error_code": "SamplyProfilingInProgress"}), "AlreadyRecording"),
        (errors.FelderaRejected("?", details={"error_code": "ProfilingNotEnabled"}), "PipelineSamplyFailed"),
        (errors.FelderaUnavailable("?", details={"error_code": "SamplyProfilingFailure"}), "PipelineSamplyFailed"),
        (errors.FelderaUnavailable("?", details={"error_code": "PipelineInteraction"}), "FelderaUnreachable"),
        (errors.FelderaUnavailable("?"), "FelderaUnreachable"),
    ],
)
def test_what_a_refusal_means(error: errors.FelderaError, reason: str) -> None:
    assert pipeline_samply.explain(error).reason == reason


def test_cpu_time_is_that_of_the_whole_recording() -> None:
    """Read one second before its end, it is stretched to all of it; the error is that of the part not seen."""
    found = pipeline_samply.measure(Reading(100.0, 7.0), Reading(109.0, 16.0), 10, None, 0.0)
    assert (found.progress.cpu_secs, found.progress.off_secs, found.warnings) == (10.0, 1.0, ())
    covered = coverage.measure(9_000, 1.0, found.progress.cpu_secs, 10.0, found.progress.off_secs)
    assert covered.share == 0.9
    assert covered.error == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(None, Reading(109.0, 16.0), id="the operator was restarted"),
        pytest.param(Reading(100.0, 7.0), None, id="Feldera was unavailable"),
        pytest.param(Reading(100.0, 7.0), Reading(109.0, 7.0), id="Feldera did not count"),
        pytest.param(Reading(100.0, 7.0), Reading(109.0, 1.0), id="the process is another one"),
    ],
)
def test_else_it_is_what_the_file_says(before: Reading | None, after: Reading | None) -> None:
    found = pipeline_samply.measure(before, after, 10, 4000.0, 9500.0)
    assert (found.progress.cpu_secs, found.progress.window_secs) == (4.0, (0.0, 9.5))
    assert found.warnings == (pipeline_samply.FILE_ONLY,)
    assert pipeline_samply.measure(before, after, 10, None, 0.0).progress.cpu_secs is None


def test_general_warnings_are_reported() -> None:
    entry = make_entry(rate_hz=1000)
    assert pipeline_samply.list_warnings(entry, is_limited=False) == ()
    (limited,) = pipeline_samply.list_warnings(entry, is_limited=True)
    assert coverage.find_cure("Pipeline", [limited], None, 0)
    assert len(pipeline_samply.list_warnings(make_entry(rate_hz=250), is_limited=False)) == 1
    assert pipeline_samply.list_late_warnings(entry, "") == ()
    assert len(pipeline_samply.list_late_warnings(make_entry(stop="keep"), "away")) == 2
