"""POST …/samply_profile/preflight: the verdict of the operator, as JSON."""

from __future__ import annotations

import pytest

from samply_operator import errors
from samply_operator.control.messages import PreflightReply, StartRequest
from samply_operator.model.profile import Failure
from samply_operator.rules.recording.preflight import Finding
from support.fake_operator import make_pipeline

from .conftest import Service, make_id

URL = "/v0/pipelines/orders/samply_profile/preflight"
REPLY = PreflightReply(make_id(1), "feldera", "profile-1", 0, "Go", "orders-0", "pipeline", "InPlace")


async def test_go(service: Service) -> None:
    """Where, how, and that nothing speaks against it."""
    service.operator.pipelines = (make_pipeline("orders", running=(0, 1)),)
    await service.settle()
    service.operator.judge = lambda request: REPLY
    answer = await service.post(URL + "?duration_secs=60&ordinal=1&rate_hz=99&mode=InPlace")
    assert answer.status == 200
    assert answer.read_json() == {
        "verdict": "Go", "pipeline_name": "orders", "namespace": "feldera", "ordinal": 0, "profile": make_id(1),
        "object": "profile-1", "pod": "orders-0", "container": "pipeline", "mode": "InPlace", "facts": {},
        "findings": [], "failure": None,
    }  # fmt: skip
    assert service.operator.judged == [StartRequest("orders", 1, 60, "feldera", 30.0, rate_hz=99, mode="InPlace")]
    assert service.operator.started == []


async def test_a_refusal_is_an_answer_not_an_error(service: Service) -> None:
    """With the findings and the cure."""
    finding = Finding("perf_event", "refuse", "PerfDenied", "perf_event_open was refused.", "Add PERFMON.")
    failure = Failure("PerfDenied", "perf_event_open was refused.", "Add PERFMON.")
    service.operator.judge = lambda request: PreflightReply(
        make_id(1), "feldera", "profile-1", 0, "Refuse", findings=(finding,), failure=failure
    )
    answer = await service.post(URL)
    assert answer.status == 200
    body = answer.read_json()
    assert (body["verdict"], body["pod"]) == ("Refuse", None)
    assert body["findings"] == [
        {"check": "perf_event", "severity": "refuse", "reason": "PerfDenied",
         "message": "perf_event_open was refused.", "remedy": "Add PERFMON.", "measured": "", "needed": ""}
    ]  # fmt: skip
    assert body["failure"]["reason"] == "PerfDenied"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UnknownPipeline("Unknown pipeline name 'orders'", details={"pipeline_name": "orders"}), 404),
        (errors.PipelineNotDeployed("No pod.", details={"pipeline_name": "orders"}), 503),
        (errors.ProfilingInProgress("One runs.", details={"retry_after_secs": 7, "profile": "x"}), 409),
        (errors.ProfilingNotEnabled("Off.", details={"reason": "Disabled", "remedy": "Switch it on."}), 400),
        (errors.PipelineUnreachable("No end.", details={"pipeline_name": "orders"}), 503),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_where_no_verdict_can_be_had_it_answers_as_a_start_would(
    service: Service, error: errors.SamplyOperatorError, status: int
) -> None:
    def refuse(request: StartRequest) -> PreflightReply:
        raise error

    service.operator.judge = refuse
    assert (await service.post(URL)).assert_error(status, error.code) == error.details


@pytest.mark.parametrize(
    "query", ["ordinal=all", "ordinal=-1", "duration_secs=0", "namespace=A", "ordinal=0&ordinal=0"]
)
async def test_bad_parameters_never_reach_the_operator(service: Service, query: str) -> None:
    """All ordinals at once are not asked for here."""
    (await service.post(f"{URL}?{query}")).assert_error(400, "InvalidParam")
    assert service.operator.judged == []


async def test_a_pipeline_known_only_from_storage_is_not_deployed(service: Service) -> None:
    service.put(1)
    await service.settle()
    (await service.post(URL)).assert_error(503, "PipelineInteractionNotDeployed")


async def test_operator_away(service: Service) -> None:
    await service.send_away()
    (await service.post(URL)).assert_error(503, "OperatorUnavailable")
