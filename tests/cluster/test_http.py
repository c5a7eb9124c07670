"""The parts of the HTTP contract that need the real operator: start, wait, fetch, resume, and the errors."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster import pipelines
from cluster import profiles as objects
from cluster.pipelines import Pipeline
from cluster.release import CALLER, Answer, Install, Service
from samply_operator import profiles
from support import kubectl

pytestmark = pytest.mark.cluster

SHARES = {"join": 50, "aggregate": 30, "parse": 20}
"""Percent of each worker's CPU time: demo/pipeline/pipeline.c."""
TOLERANCE = 10


def post(service: Service, pipeline: Pipeline, ordinal: int = 0, secs: int = 3) -> Answer:
    return service.profile(pipeline.name, f"?ordinal={ordinal}&duration_secs={secs}", "POST")


def fetch(service: Service, pipeline: Pipeline, ordinal: int = 0) -> Answer:
    """As a client does: ask for the latest until it isn't in progress any more."""
    found: list[Answer] = []

    def look() -> bool:
        found[:] = [service.profile(pipeline.name, f"?ordinal={ordinal}&latest=true")]
        return found[0].status != 204

    kubectl.poll(look, timeout=60, what="the profile is there")
    return found[0]


@dataclass(frozen=True)
class Taken:
    """A profile of one ordinal: the answer that brought it, and what is in it."""

    answer: Answer
    profile: profiles.Profile

    def top(self, thread: str) -> dict[str, float]:
        """Samples by function of one thread, the function itself counted."""
        (found,) = profiles.top(self.profile, thread=thread).threads
        return {cost.name: cost.self_weight for cost in found.by_self}


@pytest.fixture(scope="module")
def taken(install: Install, pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Taken]]:
    """One profile of each ordinal, recorded at the same time, started and fetched over HTTP."""
    folder = tmp_path_factory.mktemp("taken")
    with install.open() as service:
        for ordinal in range(2):
            assert post(service, pipeline, ordinal, secs=6).status == 202
        yield {ordinal: read(fetch(service, pipeline, ordinal), folder / str(ordinal)) for ordinal in range(2)}


def read(answer: Answer, path: Path) -> Taken:
    assert answer.status == 200, answer.body[:1000]
    path.write_bytes(answer.body)
    return Taken(answer, profiles.read(path))


# ----------------------------------------------------------------------------------------------- the way of one


def test_started_waited_for_and_fetched(install: Install, pipeline: Pipeline, service: Service) -> None:
    """POST returns 202 with the location; GET 204 with the seconds left, never below 1; then 200 with a new file."""
    before = service.profile(pipeline.name).headers.get("etag")
    began = time.monotonic()
    started = post(service, pipeline, secs=5)
    assert (started.status, started.body) == (202, b"")
    assert time.monotonic() - began < 5
    seen: list[tuple[float, int]] = []
    while (answer := service.profile(pipeline.name, "?latest=true")).status == 204:
        assert answer.body == b""
        seen.append((time.monotonic(), int(answer.headers["retry-after"])))
        assert time.monotonic() - began < 60
        time.sleep(0.1)  # who asks without a pause gets 429
    left = [secs for _, secs in seen]
    assert left[0] in range(3, 7), left
    assert min(left) == 1
    assert left == sorted(left, reverse=True)
    assert len(set(left)) >= 3, left
    assert answer.status == 200
    assert answer.headers["etag"] != before
    facts = json.loads(service.call("GET", started.headers["location"]).body)
    assert facts["state"] == "Succeeded"
    assert facts["requested_by"] == f"Kubernetes/system:serviceaccount:{install.namespace}:{CALLER}"
    assert f'"{facts["file"]["sha256"]}"' == answer.headers["etag"]


def test_a_second_start_is_refused_and_harms_nothing(pipeline: Pipeline, service: Service) -> None:
    """During a recording, a second POST gets 409 with the time left; GET without latest serves what is stored."""
    known = {item["id"] for item in service.list_stored(pipeline.name)}
    started = post(service, pipeline, secs=5)
    assert started.status == 202
    status, code, details = post(service, pipeline).problem()
    assert (status, code) == (409, "SamplyProfilingInProgress")
    assert details["retry_after_secs"] in range(1, 7)
    assert started.headers["location"].endswith(f"/{details['profile']}")
    assert fetch(service, pipeline).status == 200
    assert {item["id"] for item in service.list_stored(pipeline.name)} - known == {details["profile"]}
    pipeline.wait_untouched()
    assert post(service, pipeline, secs=1).status == 202, "it is free again"
    assert fetch(service, pipeline).status == 200


def test_two_starts_at_once(pipeline: Pipeline, install: Install) -> None:
    """Of two simultaneous POSTs one starts a recording, the other one is refused."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - here alone

    with install.open() as service:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: post(service, pipeline, ordinal=1), range(4)))
        assert sorted(answer.status for answer in answers) == [202, 409, 409, 409]
        assert fetch(service, pipeline, 1).status == 200


# ----------------------------------------------------------------------------------------------------- the file


def test_the_file_opens_and_says_what_it_is_of(taken: dict[int, Taken], pipeline: Pipeline) -> None:
    """gzip, then JSON, with names in it; it names pipeline, ordinal and pod."""
    for ordinal, found in taken.items():
        body = json.loads(gzip.decompress(found.answer.body))
        assert body["meta"]["symbolicated"] is True
        assert body["meta"]["product"] == f"{pipeline.name} ordinal {ordinal}"
        facts = profiles.facts(found.profile)
        assert facts.unresolved_percent is not None
        assert facts.unresolved_percent < 5
        assert pipeline.pod(ordinal) in json.dumps(body["meta"])


@pytest.mark.parametrize("ordinal", [0, 1])
@pytest.mark.parametrize("worker", ["dbsp-worker-0", "dbsp-worker-1"])
def test_the_time_is_where_it_was_spent(worker: str, ordinal: int, taken: dict[int, Taken]) -> None:
    """Each worker's samples divide between its three functions as its CPU time does."""
    costs = taken[ordinal].top(worker)
    total = sum(costs.values())
    assert total > 100, costs
    shares = {name: 100 * costs.get(name, 0) / total for name in SHARES}
    assert shares == pytest.approx(SHARES, abs=TOLERANCE)


def test_each_thread_has_samples_and_its_own_function(taken: dict[int, Taken]) -> None:
    """The web server thread's samples are in serve_http, on both ordinals."""
    for found in taken.values():
        costs = found.top("http-server")
        assert costs["serve_http"] > 0.7 * sum(costs.values()) > 0


def test_ordinal_1_is_ordinal_1(taken: dict[int, Taken]) -> None:
    """Only ordinal 1's profile has the thread and the function that only ordinal 1's pod has."""
    assert taken[1].top("ordinal-1")["ordinal_1_marker"] > 0
    assert "ordinal-1" not in {thread.name for thread in taken[0].profile.threads}
    assert b"ordinal_1_marker" not in gzip.decompress(taken[0].answer.body)


def test_headers_of_the_file(taken: dict[int, Taken]) -> None:
    """What clients rely on: type, length, name, and the SHA-256 of the body as its tag."""
    answer = taken[0].answer
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.body).hexdigest()}"'
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["content-type"] == "application/gzip"
    assert "content-encoding" not in answer.headers
    assert re.fullmatch(
        r'attachment; filename="\d{4}-\d\d-\d\dT[0-9:.\-]+Z-samply_profile\.json\.gz"',
        answer.headers["content-disposition"],
    )


def test_conditional_range_and_head_requests(taken: dict[int, Taken], pipeline: Pipeline, service: Service) -> None:
    """304 for a client with the file; the missing part for one with a part of it, if unchanged; HEAD without a body."""
    tag = service.profile(pipeline.name, "?ordinal=0").headers["etag"]
    whole = service.profile(pipeline.name, "?ordinal=0").body
    again = service.profile(pipeline.name, "?ordinal=0", headers={"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")
    half = len(whole) // 2
    part = service.profile(pipeline.name, "?ordinal=0", headers={"Range": f"bytes={half}-", "If-Range": tag})
    assert (part.status, part.headers["content-range"]) == (206, f"bytes {half}-{len(whole) - 1}/{len(whole)}")
    assert whole[:half] + part.body == whole
    changed = service.profile(
        pipeline.name, "?ordinal=0", headers={"Range": f"bytes={half}-", "If-Range": taken[1].answer.headers["etag"]}
    )
    assert (changed.status, changed.body) == (200, whole)
    beyond = service.profile(pipeline.name, "?ordinal=0", headers={"Range": f"bytes={len(whole)}-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    head = service.profile(pipeline.name, "?ordinal=0", "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(whole)))


# --------------------------------------------------------------------------------------- what can't be, and why


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_pipeline(method: str, service: Service) -> None:
    """404, with the name that was asked for."""
    answer = service.profile("no-such", method=method)
    assert answer.problem() == (404, "UnknownPipelineName", {"pipeline_name": "no-such"})
    assert json.loads(answer.body)["message"].startswith("Unknown pipeline name 'no-such'")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_ordinal(method: str, pipeline: Pipeline, service: Service) -> None:
    """400, with the ordinals that exist."""
    status, code, details = service.profile(pipeline.name, "?ordinal=9", method).problem()
    assert (status, code, details["parameter"], details["value"]) == (400, "InvalidParam", "ordinal", "9")
    assert details["expected"] == "one of 0, 1"


@pytest.mark.parametrize("value", ["3601", ""])
def test_a_bad_duration_records_nothing(value: str, pipeline: Pipeline, service: Service) -> None:
    """400 and the range; the operator was never asked."""
    status, code, details = service.profile(pipeline.name, f"?duration_secs={value}", "POST").problem()
    assert (status, code, details["parameter"]) == (400, "InvalidParam", "duration_secs")
    assert not pipeline.has_samply()


def test_no_profile_was_ever_recorded(install: Install, service: Service) -> None:
    """400 that names the POST; during the first recording 400 with its id, or 204 if the client asks to wait."""
    fresh = pipelines.start(install.namespace, "http-fresh", replicas=1)
    fresh.wait_ready()
    kubectl.poll(lambda: service.profile(fresh.name).status == 400, timeout=10, what="the API knows the pipeline")
    answer = service.profile(fresh.name)
    assert answer.problem()[:2] == (400, "NoSamplyProfile")
    assert f"POST /v0/pipelines/{fresh.name}/samply_profile" in json.loads(answer.body)["message"]
    started = post(service, fresh)
    status, code, details = service.profile(fresh.name).problem()
    assert (status, code) == (400, "NoSamplyProfile")
    assert started.headers["location"].endswith(f"/{details['profile']}")
    assert fetch(service, fresh).status == 200
    fresh.wait_untouched()
    fresh.delete()


def test_a_pipeline_scaled_to_nothing_and_back(install: Install, service: Service) -> None:
    """503 while no pod runs and nothing is stored; a stored profile is served without any pod."""
    stopped = pipelines.start(install.namespace, "http-stopped", replicas=0)
    kubectl.poll(lambda: service.profile(stopped.name).status == 503, timeout=10, what="the API knows the pipeline")
    for method in ("GET", "POST"):
        answer = service.profile(stopped.name, method=method)
        status, code, details = answer.problem()
        assert (status, code) == (503, "PipelineInteractionNotDeployed")
        assert details == {"pipeline_name": stopped.name, "status": "Stopped", "desired_status": "Stopped"}
        assert answer.headers["retry-after"] == "5"
    scale = ("-n", install.namespace, "scale", f"statefulset/{stopped.stateful_set}")
    kubectl.succeed(*scale, "--replicas=1")
    stopped.wait_ready()
    kubectl.poll(lambda: post(service, stopped).status == 202, timeout=10, what="it can be profiled")
    body = fetch(service, stopped).body
    stopped.wait_untouched()
    kubectl.succeed(*scale, "--replicas=0")
    kubectl.poll(lambda: post(service, stopped).status == 503, timeout=20, what="it is stopped again")
    assert service.profile(stopped.name, "?latest=true").body == body
    stopped.delete()
    kubectl.poll(lambda: post(service, stopped).status == 503, timeout=20, what="it is gone, but for its profile")
    assert service.profile(stopped.name).body == body


def test_a_failure_says_why_and_how_to_cure_it(install: Install, service: Service) -> None:
    """A pipeline without samply: the POST returns 500 with reason and remedy, and so does every later GET."""
    bare = pipelines.start(install.namespace, "http-bare", image=pipelines.BARE_IMAGE, replicas=1)
    bare.wait_ready()
    kubectl.poll(lambda: service.profile(bare.name).status == 400, timeout=10, what="the API knows the pipeline")
    for answer in (post(service, bare), fetch(service, bare), service.profile(bare.name)):
        status, code, details = answer.problem()
        assert (status, code, details["reason"]) == (500, "SamplyProfilingFailure", "SamplyNotFound")
        assert "Install samply" in details["remedy"]
        assert isinstance(details["log"], str)
    bare.wait_untouched()
    bare.delete()


def test_a_failure_never_hides_the_last_good_one(install: Install, service: Service) -> None:
    """After a success and a failure: latest returns 500 and names the success; without latest it is served."""
    name = "http-turned-bad"
    turned = pipelines.start(install.namespace, name, replicas=1)
    turned.wait_ready()
    kubectl.poll(lambda: post(service, turned).status == 202, timeout=10, what="it can be profiled")
    good = fetch(service, turned)
    assert good.status == 200
    turned.exec(0, "mv $(command -v samply) /tmp/hidden")
    assert post(service, turned).status == 500
    status, code, details = fetch(service, turned).problem()
    assert (status, code, details["reason"]) == (500, "SamplyProfilingFailure", "SamplyNotFound")
    assert service.call("GET", f"{details['last_good']['href']}/profile").body == good.body
    older = service.profile(name)
    assert (older.status, older.body) == (200, good.body)
    assert older.headers["samply-last-failure"].endswith("; reason=SamplyNotFound")
    assert objects.find(turned)[-1]["status"]["failure"]["reason"] == "SamplyNotFound"
    turned.delete()
