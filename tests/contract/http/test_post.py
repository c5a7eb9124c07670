"""Every row of POST …/samply_profile: the operator decides, the api passes its answer on unchanged."""

from __future__ import annotations

import pytest

from samply_operator import errors
from samply_operator.control.messages import StartReply, StartRequest
from samply_operator.model.profile import Failure
from support.fake_operator import make_pipeline, make_recording

from .conftest import Service, make_id

URL = "/v0/pipelines/orders/samply_profile"


def start(service: Service, **changes: object) -> None:
    """Let the operator start what is asked for, and say so on the stream."""

    def answer(request: StartRequest) -> StartReply:
        service.operator.recordings = (make_recording(make_id(1), request.pipeline, ordinal=request.ordinal),)
        service.operator.push()
        facts = {"id": make_id(1), "namespace": "feldera", "name": "r-1", "state": "Recording"}
        return StartReply(**{**facts, **changes})  # type: ignore[arg-type]

    service.operator.answer = answer


def refuse(service: Service, error: errors.SamplyOperatorError) -> None:
    def answer(request: StartRequest) -> StartReply:
        raise error

    service.operator.answer = answer


async def test_started_is_202_empty_and_names_the_profile(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders", running=(0, 1, 2)),)
    await service.settle()
    start(service)
    answer = await service.post(URL + "?ordinal=2&duration_secs=45&rate_hz=499&mode=BringOwn&attachments=Stats,Metrics")
    assert (answer.status, answer.body) == (202, b"")
    assert answer.headers["Location"] == f"/v0/pipelines/orders/samply_profiles/{make_id(1)}"
    assert service.operator.started == [
        StartRequest(
            "orders", 2, 45, "feldera", wait_secs=2, rate_hz=499, mode="BringOwn", attachments=("Stats", "Metrics")
        )
    ]
    assert (await service.get(answer.headers["Location"])).read_json()["state"] == "Recording"


async def test_a_get_right_after_the_post_sees_the_recording(service: Service) -> None:
    start(service)
    await service.post(URL)
    assert (await service.get(URL + "?latest=true")).status == 204


async def test_without_parameters_the_installation_decides_the_length(service: Service) -> None:
    start(service)
    assert (await service.post(URL)).status == 202
    assert service.operator.started == [StartRequest(pipeline="orders", wait_secs=2)]


@pytest.mark.parametrize("state", ["Pending", "Ended"])
async def test_one_that_waits_or_is_over_already_is_started_too(service: Service, state: str) -> None:
    start(service, state=state)
    assert (await service.post(URL)).status == 202


async def test_one_that_failed_at_once_says_why(service: Service) -> None:
    start(service, state="Failed", failure=Failure("PerfDenied", "perf was refused.", "Add PERFMON.", "EPERM"))
    answer = await service.post(URL)
    details = answer.assert_error(500, "SamplyProfilingFailure")
    assert (details["reason"], details["remedy"], details["log"]) == ("PerfDenied", "Add PERFMON.", "EPERM")
    assert answer.read_json()["message"] == "perf was refused. Add PERFMON."


async def test_an_unreachable_pod_is_retried(service: Service) -> None:
    failure = Failure("Unreachable", "exec: dial tcp: connection refused", "Look at the node, ask again.")
    start(service, state="Failed", failure=failure)
    answer = await service.post(URL)
    details = answer.assert_error(503, "PipelineInteractionUnreachable")
    assert (details["pipeline_name"], details["error"]) == ("orders", failure.message)
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ProfilingInProgress("One runs.", details={"retry_after_secs": 7, "profile": "x"}), 409),
        (errors.ProfilingNotEnabled("Off.", details={"reason": "Disabled", "remedy": "Switch it on."}), 400),
        (errors.PipelineNotDeployed("No pod.", details={"pipeline_name": "orders"}), 503),
        (errors.PipelineUnreachable("No way.", details={"pipeline_name": "orders"}), 503),
        (errors.ProfilingFailed("It failed.", details={"reason": "R", "remedy": "", "log": ""}), 500),
        (errors.InvalidParam("No such ordinal.", details={"parameter": "ordinal", "ordinals": [0]}), 400),
        (errors.UnknownPipeline("Unknown pipeline name 'orders'", details={"pipeline_name": "orders"}), 404),
        (errors.TooManyRequests("Enough."), 429),
        (errors.StoreFull("Full.", remedy="Delete."), 507),
        (errors.KubeUnavailable("The API server is away."), 503),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_a_refusal_crosses_the_socket_unchanged(
    service: Service, error: errors.SamplyOperatorError, status: int
) -> None:
    refuse(service, error)
    answer = await service.post(URL)
    assert answer.assert_error(status, error.code) == error.details
    assert answer.read_json()["message"] == str(error)
    assert ("Retry-After" in answer.headers) == (status in (429, 503))


async def test_a_pipeline_known_only_from_storage_is_not_deployed(service: Service) -> None:
    service.put(1)
    await service.settle()
    details = (await service.post(URL)).assert_error(503, "PipelineInteractionNotDeployed")
    assert details["pipeline_name"] == "orders"


async def test_operator_away(service: Service) -> None:
    await service.send_away()
    answer = await service.post(URL)
    answer.assert_error(503, "OperatorUnavailable")
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    "query",
    [
        "duration_secs=0",
        "duration_secs=-1",
        "duration_secs=3601",
        "duration_secs=",
        "duration_secs=30s",
        "duration_secs=1e3",
        "duration_secs=1&duration_secs=1",
        "duration_secs=99999999999999999999",
        "rate_hz=0",
        "rate_hz=10001",
        "rate_hz=99.9",
        "mode=auto",
        "mode=",
        "attachments=",
        "attachments=stats",
        "attachments=Stats,",
        "attachments=Stats%20Metrics",
        "attachments=Stats&attachments=Metrics",
        "ordinal=-1",
        "ordinal=ALL",
        "ordinal=all&ordinal=all",
        "namespace=A",
    ],
)
async def test_bad_parameters_never_reach_the_operator(service: Service, query: str) -> None:
    (await service.post(f"{URL}?{query}")).assert_error(400, "InvalidParam")
    assert service.operator.started == []


@pytest.mark.parametrize("secs", [1, 3600])
async def test_the_ends_of_the_range_are_in_it(service: Service, secs: int) -> None:
    start(service)
    assert (await service.post(f"{URL}?duration_secs={secs}")).status == 202


async def test_the_same_name_in_two_namespaces_requires_a_namespace(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders", namespace="one"), make_pipeline("orders", namespace="two"))
    service.put(1, namespace="three")
    await service.settle()
    start(service)
    details = (await service.post(URL)).assert_error(400, "AmbiguousPipelineName")
    assert details["namespaces"] == ["one", "two"]
    assert (await service.post(URL + "?namespace=two")).status == 202
    assert service.operator.started[-1].namespace == "two"


async def test_a_body_is_not_wanted_and_does_no_harm(service: Service) -> None:
    start(service)
    url = f"http://127.0.0.1:{service.port}{URL}"
    async with service.session.post(url, data=b"x" * 100_000) as response:
        assert response.status == 202
