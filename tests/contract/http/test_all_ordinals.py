"""`ordinal=all`: what was started and what was not, and the last profile of each ordinal in one zip."""

from __future__ import annotations

import io
import zipfile
import zlib

import msgspec
import pytest

from samply_operator import errors
from samply_operator.control.messages import StartReply, StartRequest
from samply_operator.model.manifest import StoredFile
from samply_operator.model.profile import Failure
from support.fake_operator import make_pipeline, make_recording

from .conftest import Answer, Service, make_id

URL = "/v0/pipelines/orders/samply_profile?ordinal=all"


def start(service: Service, refused: dict[int, errors.SamplyOperatorError | Failure]) -> None:
    """Each ordinal is started, but these."""

    def answer(request: StartRequest) -> StartReply:
        reply = StartReply(make_id(request.ordinal + 1), "feldera", f"r-{request.ordinal}", "Recording")
        match refused.get(request.ordinal):
            case errors.SamplyOperatorError() as error:
                raise error
            case Failure() as failure:
                return msgspec.structs.replace(reply, state="Failed", failure=failure)
        recording = make_recording(reply.id, "orders", ordinal=request.ordinal)
        service.operator.recordings = (*service.operator.recordings, recording)
        service.operator.push()
        return reply

    service.operator.answer = answer


@pytest.fixture(autouse=True)
async def three(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders", running=(0, 1, 2)),)
    await service.settle()


async def test_each_ordinal_is_started(service: Service) -> None:
    start(service, {})
    answer = await service.post(URL + "&duration_secs=45&attachments=HeapProfile")
    assert answer.status == 202
    assert answer.read_json()["refused"] == []
    assert [(s["ordinal"], s["state"]) for s in answer.read_json()["started"]] == [
        (0, "Recording"), (1, "Recording"), (2, "Recording")
    ]  # fmt: skip
    assert {(call.duration_secs, call.attachments) for call in service.operator.started} == {(45, ("HeapProfile",))}
    for started in answer.read_json()["started"]:
        assert (await service.get(started["href"])).read_json()["ordinal"] == started["ordinal"]
    assert (await service.get(URL + "&latest=true")).status == 204


async def test_some_ordinals_are_started_and_the_others_report_why_not(service: Service) -> None:
    busy = errors.ProfilingInProgress("One runs.", details={"retry_after_secs": 7, "profile": "x"})
    start(service, {0: Failure("PerfDenied", "perf was refused.", "Add PERFMON."), 2: busy})
    answer = await service.post(URL)
    assert answer.status == 202
    assert [s["ordinal"] for s in answer.read_json()["started"]] == [1]
    refused = answer.read_json()["refused"]
    assert [(r["ordinal"], r["error_code"]) for r in refused] == [
        (0, "SamplyProfilingFailure"), (2, "SamplyProfilingInProgress")
    ]  # fmt: skip
    assert refused[0]["message"] == "perf was refused. Add PERFMON."
    assert refused[0]["details"]["profile"] == make_id(1)
    assert refused[1]["details"]["retry_after_secs"] == 7


BUSY = errors.ProfilingInProgress("One runs.", details={"retry_after_secs": 7, "profile": "x"})
STOPPED = errors.PipelineNotDeployed("It doesn't run.", details={"pipeline_name": "orders"})


@pytest.mark.parametrize(
    ("refused", "status", "code"),
    [
        ({0: BUSY, 1: BUSY, 2: BUSY}, 409, "SamplyProfilingInProgress"),
        ({0: BUSY, 1: BUSY, 2: STOPPED}, 503, "PipelineInteractionNotDeployed"),
        ({n: Failure("PerfDenied", "no") for n in range(3)}, 500, "SamplyProfilingFailure"),
    ],
    ids=["all busy", "busy or stopped", "all failed"],
)
async def test_if_none_is_started_one_refusal_is_returned_for_all(
    service: Service, refused: dict[int, errors.SamplyOperatorError | Failure], status: int, code: str
) -> None:
    start(service, refused)
    details = (await service.post(URL)).assert_error(status, code)
    assert [each["ordinal"] for each in details["refused"]] == [0, 1, 2]


async def test_a_pipeline_that_is_not_there(service: Service) -> None:
    other = "/v0/pipelines/other/samply_profile?ordinal=all"
    (await service.post(other)).assert_error(404, "UnknownPipelineName")
    (await service.get(other)).assert_error(404, "UnknownPipelineName")
    service.put(1, pipeline="other")
    await service.settle()
    (await service.post(other)).assert_error(503, "PipelineInteractionNotDeployed")


def unzip(answer: Answer) -> dict[str, bytes]:
    assert answer.headers["Content-Type"] == "application/zip"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    with zipfile.ZipFile(io.BytesIO(answer.body)) as file:
        assert file.testzip() is None
        assert {info.compress_type for info in file.infolist()} <= {zipfile.ZIP_STORED}
        return {info.filename: file.read(info) for info in file.infolist()}


async def test_the_last_profile_of_each_ordinal_in_one_file(service: Service) -> None:
    service.put(1, b"old", ordinal=0)
    service.put(2, b"zero", ordinal=0)
    service.put(3, b"one", ordinal=1, file=StoredFile(3, "ab" * 32, crc32=zlib.crc32(b"one")))
    service.put(4, b"scaled away", ordinal=7)
    await service.settle()
    answer = await service.get(URL)
    assert unzip(answer) == {"orders-0.json.gz": b"zero", "orders-1.json.gz": b"one"}
    assert answer.headers["Samply-Missing-Ordinals"] == "2"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="2026-01-31T09:03:30Z-samply_profiles.zip"'
    assert answer.headers["Last-Modified"] == "Sat, 31 Jan 2026 09:03:30 GMT"


async def test_the_same_profiles_give_the_same_bytes_and_others_another_tag(service: Service) -> None:
    service.put(1, b"zero", ordinal=0)
    await service.settle()
    first, second = await service.get(URL), await service.get(URL)
    assert (first.body, first.headers["ETag"]) == (second.body, second.headers["ETag"])
    assert (await service.get(URL, If_None_Match=first.headers["ETag"])).status == 304
    service.put(2, b"another", ordinal=0)
    await service.settle()
    third = await service.get(URL, If_None_Match=first.headers["ETag"])
    assert unzip(third) == {"orders-0.json.gz": b"another"}


async def test_any_range_is_a_part_of_the_whole(service: Service) -> None:
    for ordinal in range(3):
        service.put(ordinal + 1, bytes([65 + ordinal]) * 1000, ordinal=ordinal)
    await service.settle()
    whole = await service.get(URL)
    size = len(whole.body)
    for start_, stop in [(0, 1), (5, 2500), (size - 3, size), (1030, 1090), (0, size), (900, 1200)]:
        part = await service.get(URL, Range=f"bytes={start_}-{stop - 1}")
        assert (part.status, part.body) == (206, whole.body[start_:stop])
        assert part.headers["Content-Range"] == f"bytes {start_}-{stop - 1}/{size}"
    assert (await service.get(URL, Range=f"bytes={size}-")).status == 416
    head = await service.ask("HEAD", URL)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(size))


async def test_a_failure_after_a_success_is_reported(service: Service) -> None:
    service.put(1, b"good", ordinal=0)
    service.put(2, None, ordinal=0)
    await service.settle()
    answer = await service.get(URL)
    assert unzip(answer) == {"orders-0.json.gz": b"good"}
    assert answer.headers["Samply-Last-Failure"] == f"{make_id(2)}; reason=PerfDenied"
    (await service.get(URL + "&latest=true")).assert_error(500, "SamplyProfilingFailure")


async def test_no_profile_was_ever_recorded(service: Service) -> None:
    (await service.get(URL)).assert_error(400, "NoSamplyProfile")


async def test_without_the_operator_what_is_stored_is_served(service: Service) -> None:
    service.put(1, b"zero", ordinal=0)
    service.put(2, b"three", ordinal=3)
    await service.settle()
    await service.send_away()
    assert unzip(await service.get(URL)) == {"orders-0.json.gz": b"zero", "orders-3.json.gz": b"three"}
    (await service.get(URL + "&latest=true")).assert_error(503, "OperatorUnavailable")
    (await service.post(URL)).assert_error(503, "OperatorUnavailable")
