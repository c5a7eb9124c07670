"""The HTTP contract as one table: each case of both methods, and its response.

`test_contract.py` asks the service in this process, with what is given as functions here; `tests/cluster/test_rows.py`
asks through the Service of a real cluster, with real pipelines in the same states.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from samply_operator import errors
from samply_operator.control.messages import StartReply, StartRequest
from samply_operator.model.profile import Failure
from support.fake_operator import make_pipeline, make_recording
from support.service import Service, make_id

Given = Callable[[Service], None]

PATH = "/v0/pipelines/orders/samply_profile"


@dataclass(frozen=True, slots=True)
class Row:
    """`headers` are regular expressions; None: the header must not be there."""

    case: str
    given: tuple[Given, ...]
    request: str
    status: int
    code: str = ""
    details: frozenset[str] = frozenset()
    headers: dict[str, str | None] = field(default_factory=dict)
    is_away: bool = False
    """The operator goes before it is asked."""

    @property
    def method(self) -> str:
        return self.request.split()[0]

    @property
    def query(self) -> str:
        return self.request.partition(" ")[2]

    def check(
        self, status: int, headers: Mapping[str, str], body: bytes, patterns: Mapping[str, str] | None = None
    ) -> None:
        """Fails where the answer isn't this row's. `patterns`: what stands for a header's, where names, sizes and
        reasons are others than in this process."""
        assert status == self.status, body
        told = {name.lower(): value for name, value in headers.items()}
        if self.code:
            problem = json.loads(body)
            assert set(problem) == {"message", "error_code", "details"}
            assert problem["error_code"] == self.code, problem
            assert told["content-type"].startswith("application/json")
            assert problem["details"]["request_id"] == told["x-request-id"]
            assert set(problem["details"]) >= self.details, problem
        elif self.method == "HEAD" or status in (202, 204):
            assert body == b""
        for name, pattern in self.headers.items():
            value = told.get(name.lower())
            if pattern is None:
                assert value is None, f"{name}: {value}"
            else:
                assert value is not None, f"{name} is missing"
                assert re.fullmatch((patterns or {}).get(pattern, pattern), value), f"{name}: {value}"


def is_running(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders"),)


def is_stopped(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders", running=(), stopped=(0,)),)


def is_in_two_namespaces(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders", namespace="one"), make_pipeline("orders", namespace="two"))


def has_good(service: Service) -> None:
    service.put(1, b"good")


def has_good_of_ordinal_4(service: Service) -> None:
    service.put(1, b"good", ordinal=4)


def has_newer_failure(service: Service) -> None:
    service.put(2, None)


def records(service: Service) -> None:
    service.operator.recordings = (make_recording(make_id(9), "orders", ends_in_secs=20),)


def records_past_its_end(service: Service) -> None:
    service.operator.recordings = (make_recording(make_id(9), "orders", ends_in_secs=-3),)


def looks_only(service: Service) -> None:
    service.operator.recordings = (make_recording(make_id(9), "orders", preflight_only=True),)


def starts(service: Service) -> None:
    def answer(request: StartRequest) -> StartReply:
        if service.operator.recordings:
            raise errors.ProfilingInProgress("One runs.", details={"retry_after_secs": 30, "profile": make_id(9)})
        records(service)
        service.operator.push()
        return StartReply(make_id(9), "feldera", "r", "Recording")

    service.operator.answer = answer


def fails_at_once(service: Service) -> None:
    failure = Failure("PerfDenied", "perf was refused.", "Add PERFMON.", "EPERM")
    service.operator.answer = lambda request: StartReply(make_id(9), "feldera", "r", "Failed", failure=failure)


def refuses(error: errors.SamplyOperatorError) -> Given:
    """As the operator does; which error means what is tested where the operator decides it."""

    def given(service: Service) -> None:
        def answer(request: StartRequest) -> StartReply:
            raise error

        service.operator.answer = answer

    return given


DEPLOYMENT = {"pipeline_name": "orders", "status": "Stopped", "desired_status": "Running"}
SWITCHED_OFF = refuses(errors.ProfilingNotEnabled("Off.", details={"reason": "x", "remedy": "y"}))
NOT_DEPLOYED = refuses(errors.PipelineNotDeployed("No pod.", details=DEPLOYMENT))
UNREACHABLE = refuses(
    errors.PipelineUnreachable("No way.", details={"pipeline_name": "orders", "request": "exec", "error": "timeout"})
)
NO_SUCH_ORDINAL = refuses(
    errors.InvalidParam("No.", details={"parameter": "ordinal", "value": "7", "expected": "one of 0", "ordinals": [0]})
)

PARAM = frozenset({"parameter", "value", "expected"})
WHY = frozenset({"reason", "remedy", "log", "profile"})
AGAIN: dict[str, str | None] = {"Retry-After": "5"}
LEFT: dict[str, str | None] = {"Retry-After": "[1-9][0-9]*", "Content-Length": None, "Content-Type": None}
FILE: dict[str, str | None] = {
    "Content-Type": "application/gzip",
    "Content-Disposition": r'attachment; filename="[0-9TZ:.-]+-samply_profile\.json\.gz"',
    "Content-Length": "4",
    "ETag": '"[0-9a-f]{64}"',
    "Last-Modified": ".* GMT",
    "Accept-Ranges": "bytes",
    "Content-Encoding": None,
    "Samply-Last-Failure": None,
}

POSTS = (
    Row("started", (is_running, starts), "POST", 202, headers={"Location": "/v0/pipelines/orders/samply_profiles/.+"}),
    Row("started, of the longest length", (is_running, starts), "POST ?duration_secs=3600", 202),
    Row(
        "one already runs on that target",
        (is_running, records, starts),
        "POST",
        409,
        "SamplyProfilingInProgress",
        frozenset({"retry_after_secs", "profile"}),
    ),
    Row("it failed at once", (is_running, fails_at_once), "POST", 500, "SamplyProfilingFailure", WHY),
    Row(
        "profiling switched off",
        (is_running, SWITCHED_OFF),
        "POST",
        400,
        "ProfilingNotEnabled",
        frozenset({"reason", "remedy"}),
    ),
    Row("unknown pipeline", (), "POST", 404, "UnknownPipelineName", frozenset({"pipeline_name"})),
    Row(
        "known, but no pod of it runs",
        (is_stopped, NOT_DEPLOYED),
        "POST",
        503,
        "PipelineInteractionNotDeployed",
        frozenset(DEPLOYMENT),
        AGAIN,
    ),
    Row(
        "known only from storage",
        (has_good,),
        "POST",
        503,
        "PipelineInteractionNotDeployed",
        frozenset(DEPLOYMENT),
        AGAIN,
    ),
    Row(
        "known only from storage of another namespace", (has_good,), "POST ?namespace=other", 404, "UnknownPipelineName"
    ),
    Row(
        "its pod can't be reached",
        (is_running, UNREACHABLE),
        "POST",
        503,
        "PipelineInteractionUnreachable",
        frozenset({"pipeline_name", "request", "error"}),
        AGAIN,
    ),
    Row("a length of 0", (is_running, starts), "POST ?duration_secs=0", 400, "InvalidParam", PARAM),
    Row("a negative length", (is_running, starts), "POST ?duration_secs=-1", 400, "InvalidParam", PARAM),
    Row("a length that is text", (is_running, starts), "POST ?duration_secs=long", 400, "InvalidParam", PARAM),
    Row("an empty length", (is_running, starts), "POST ?duration_secs=", 400, "InvalidParam", PARAM),
    Row("a length too many", (is_running, starts), "POST ?duration_secs=1&duration_secs=1", 400, "InvalidParam", PARAM),
    Row("too long", (is_running, starts), "POST ?duration_secs=3601", 400, "InvalidParam", PARAM),
    Row(
        "no such ordinal",
        (is_running, NO_SUCH_ORDINAL),
        "POST ?ordinal=7",
        400,
        "InvalidParam",
        PARAM | {"ordinals"},
    ),
    Row(
        "the same name in two namespaces",
        (is_in_two_namespaces, starts),
        "POST",
        400,
        "AmbiguousPipelineName",
        frozenset({"pipeline_name", "namespaces"}),
    ),
    Row("one of two namespaces", (is_in_two_namespaces, starts), "POST ?namespace=two", 202),
    Row("the operator is away", (is_running,), "POST", 503, "OperatorUnavailable", headers=AGAIN, is_away=True),
)

GETS = (
    Row("a profile exists", (is_running, has_good), "GET", 200, headers=FILE),
    Row("a profile exists, latest", (is_running, has_good), "GET ?latest=true", 200, headers=FILE),
    Row("its head", (is_running, has_good), "HEAD", 200, headers=FILE),
    Row("latest, and one is in progress", (is_running, has_good, records), "GET ?latest=true", 204, headers=LEFT),
    Row("the same, asked by HEAD", (is_running, has_good, records), "HEAD ?latest=true", 204, headers=LEFT),
    Row(
        "latest, past its end and not stored yet",
        (is_running, records_past_its_end),
        "GET ?latest=true",
        204,
        headers=LEFT | {"Retry-After": "1"},
    ),
    Row("not latest, while one runs", (is_running, has_good, records), "GET", 200, headers=FILE),
    Row("latest said to be false", (is_running, has_good, records), "GET ?latest=false", 200, headers=FILE),
    Row("none was ever taken", (is_running,), "GET", 400, "NoSamplyProfile"),
    Row("none was ever taken, latest", (is_running,), "GET ?latest=true", 400, "NoSamplyProfile"),
    Row(
        "the first one runs",
        (is_running, records),
        "GET",
        400,
        "NoSamplyProfile",
        frozenset({"profile", "state", "retry_after_secs"}),
    ),
    Row("a preflight is no attempt", (is_running, looks_only), "GET ?latest=true", 400, "NoSamplyProfile"),
    Row("the last failed, no good one", (has_newer_failure,), "GET", 500, "SamplyProfilingFailure", WHY),
    Row(
        "the last failed, an older good one, latest",
        (has_good, has_newer_failure),
        "GET ?latest=true",
        500,
        "SamplyProfilingFailure",
        WHY | {"last_good"},
    ),
    Row(
        "the last failed, an older good one",
        (has_good, has_newer_failure),
        "GET",
        200,
        headers=FILE | {"Samply-Last-Failure": f"{make_id(2)}; reason=PerfDenied"},
    ),
    Row("the pipeline is gone", (has_good,), "GET", 200, headers=FILE),
    Row("the pipeline is gone, latest", (has_good,), "GET ?latest=true", 200, headers=FILE),
    Row("the pipeline is stopped", (is_stopped, has_good), "GET", 200, headers=FILE),
    Row("the ordinal was scaled away", (is_running, has_good_of_ordinal_4), "GET ?ordinal=4", 200, headers=FILE),
    Row("unknown pipeline", (), "GET", 404, "UnknownPipelineName", frozenset({"pipeline_name"})),
    Row(
        "stopped, and nothing stored",
        (is_stopped,),
        "GET",
        503,
        "PipelineInteractionNotDeployed",
        frozenset(DEPLOYMENT),
        AGAIN,
    ),
    Row("no such ordinal", (is_running,), "GET ?ordinal=7", 400, "InvalidParam", PARAM | {"ordinals"}),
    Row("no ordinal", (is_running,), "GET ?ordinal=first", 400, "InvalidParam", PARAM),
    Row("neither true nor false", (is_running,), "GET ?latest=yes", 400, "InvalidParam", PARAM),
    Row("a repeated key", (has_good,), "GET ?latest=true&latest=true", 400, "InvalidParam", PARAM),
    Row("an unknown key, twice", (has_good,), "GET ?x=1&x=2", 200, headers=FILE),
    Row(
        "the same name in two namespaces",
        (is_in_two_namespaces,),
        "GET",
        400,
        "AmbiguousPipelineName",
        frozenset({"pipeline_name", "namespaces"}),
    ),
    Row("the operator is away", (has_good,), "GET", 200, headers=FILE, is_away=True),
    Row(
        "the operator is away, latest",
        (has_good,),
        "GET ?latest=true",
        503,
        "OperatorUnavailable",
        headers=AGAIN,
        is_away=True,
    ),
    Row(
        "the operator is away, nothing stored",
        (is_running,),
        "GET",
        503,
        "OperatorUnavailable",
        headers=AGAIN,
        is_away=True,
    ),
)
