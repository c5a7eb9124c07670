"""The routes other than samply_profile, and what all responses have in common."""

from __future__ import annotations

import json
import logging

import msgspec
import pytest

from samply_operator import __version__
from samply_operator.errors import Forbidden
from samply_operator.model.check import Check, Report
from samply_operator.model.manifest import RecordedTarget, TriggeredBy
from samply_operator.model.profile import Failure
from support.fake_operator import make_pipeline, make_recording

from .conftest import Service, make_id

HISTORY = "/v0/pipelines/orders/samply_profiles"


async def test_the_sdk_finds_an_edition_and_a_version(service: Service) -> None:
    answer = await service.get("/v0/config")
    known = {"edition": "Open source", "version": __version__, "samply_operator": {"version": __version__}}
    assert answer.read_json() == known


async def test_the_checks_of_the_installation_are_the_operators(service: Service) -> None:
    """The operator also decides who may read them."""
    check = Check("Rights", "Failed", "It may not get pods.", "Grant it.")
    service.operator.examine = lambda: Report("Failed", (check,))
    answer = await service.get("/v0/doctor")
    assert answer.read_json() == {
        "status": "Failed",
        "checks": [
            {
                "area": "Rights",
                "status": "Failed",
                "message": "It may not get pods.",
                "remedy": "Grant it.",
                "namespace": "",
            }
        ],
    }

    def refuse() -> Report:
        raise Forbidden("Not all namespaces.", details={"verb": "get", "namespace": ""})

    service.operator.examine = refuse
    (await service.get("/v0/doctor")).assert_error(403, "InsufficientPermissions")
    await service.send_away()
    (await service.get("/v0/doctor")).assert_error(503, "OperatorUnavailable")


async def test_health(service: Service) -> None:
    assert (await service.get("/healthz")).read_json() == {"status": "ok"}
    # Without authentication, for the load balancers of clouds.
    assert (await service.get("/")).read_json() == {"status": "ok"}
    assert (await service.get("/readyz")).read_json() == {"status": "ok", "operator": "Connected"}


async def test_pipelines_in_the_cluster_and_on_the_volume(service: Service) -> None:
    service.operator.pipelines = (
        make_pipeline("orders", running=(0,), stopped=(1,)),
        make_pipeline("idle", running=()),
    )
    service.operator.recordings = (make_recording(make_id(9), "orders", ordinal=1),)
    service.put(1, ordinal=0)
    service.put(2, pipeline="deleted")
    await service.settle()
    body = (await service.get("/v0/pipelines")).read_json()
    assert body["complete"] is True
    assert {p["name"]: p["status"] for p in body["pipelines"]} == {
        "orders": "Running",
        "idle": "Stopped",
        "deleted": "Gone",
    }
    orders = next(p for p in body["pipelines"] if p["name"] == "orders")
    assert [(o["ordinal"], o["pod"], o["status"], o["in_progress"]) for o in orders["ordinals"]] == [
        (0, "orders-0", "Running", None),
        (1, "orders-1", "Stopped", make_id(9)),
    ]
    assert orders["ordinals"][0]["last_profile"]["id"] == make_id(1)


async def test_pipelines_while_the_operator_is_away(service: Service) -> None:
    service.put(1)
    await service.settle()
    await service.send_away()
    body = (await service.get("/v0/pipelines")).read_json()
    assert body["complete"] is False
    assert [(p["name"], p["status"]) for p in body["pipelines"]] == [("orders", "Unknown")]


async def test_history_newest_first_those_that_run_before(service: Service) -> None:
    for number in (1, 2, 3):
        service.put(number, None if number == 2 else b"x")
    service.operator.recordings = (make_recording(make_id(9), "orders"),)
    await service.settle()
    body = (await service.get(HISTORY)).read_json()
    assert [(p["id"], p["state"]) for p in body["profiles"]] == [
        (make_id(9), "Recording"),
        (make_id(3), "Succeeded"),
        (make_id(2), "Failed"),
        (make_id(1), "Succeeded"),
    ]
    assert body["next"] is None


async def test_history_comes_in_pages(service: Service) -> None:
    for number in range(1, 6):
        service.put(number)
    service.operator.recordings = (make_recording(make_id(9), "orders"),)
    await service.settle()
    seen, url = [], f"{HISTORY}?limit=2"
    for _ in range(3):
        body = (await service.get(url)).read_json()
        seen += [p["id"] for p in body["profiles"]]
        url = f"{HISTORY}?limit=2&after={body['next']}"
    assert body["next"] is None
    assert seen == [make_id(n) for n in (9, 5, 4, 3, 2, 1)]


async def test_history_of_one_ordinal(service: Service) -> None:
    service.put(1, ordinal=0)
    service.put(2, ordinal=1)
    await service.settle()
    body = (await service.get(HISTORY + "?ordinal=1")).read_json()
    assert [p["id"] for p in body["profiles"]] == [make_id(2)]


@pytest.mark.parametrize(
    ("state", "expected"),
    [("Running", [9]), ("Succeeded", [3, 1]), ("Failed", [2])],
)
async def test_history_of_one_state(service: Service, state: str, expected: list[int]) -> None:
    """Page by page too."""
    for number in (1, 2, 3):
        service.put(number, None if number == 2 else b"x")
    service.operator.recordings = (make_recording(make_id(9), "orders"),)
    await service.settle()
    body = (await service.get(f"{HISTORY}?state={state}")).read_json()
    assert [p["id"] for p in body["profiles"]] == [make_id(number) for number in expected]
    first = (await service.get(f"{HISTORY}?state=Succeeded&limit=1")).read_json()
    assert (first["profiles"][0]["id"], first["next"]) == (make_id(3), make_id(3))
    rest = (await service.get(f"{HISTORY}?state=Succeeded&limit=1&after={make_id(3)}")).read_json()
    assert ([p["id"] for p in rest["profiles"]], rest["next"]) == ([make_id(1)], None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("search=ana", [3, 1]),
        ("search=ANA%20node-b", [3]),
        ("search=ana+perfdenied", []),
        ("search=nightly", [2]),
        ("search=ephem", [2]),
        ("search=REFUSED", [2]),
        ("search=r-0009", [9]),
        ("since=2026-01-31T09:02:30.5Z", [9, 3, 2]),
        ("until=2026-01-31T09:02:30.500Z", [1]),
        ("since=2026-01-31T09:02:00Z&until=2026-01-31T09:03:00Z&state=Failed", [2]),
        ("since=2026-01-31T10:00:00Z", [9]),
        ("since=2026-01-31T10:00:01Z", []),
    ],
)
async def test_history_by_words_and_time(service: Service, query: str, expected: list[int]) -> None:
    target = RecordedTarget(pod="orders-0", node="node-a", mode="InPlace")
    service.put(1, requested_by="Kubernetes/ana", target=target)
    trigger = TriggeredBy("nightly", "schedule")
    service.put(2, None, trigger=trigger, target=msgspec.structs.replace(target, mode="Ephemeral"))
    service.put(3, requested_by="Kubernetes/ana", target=msgspec.structs.replace(target, node="node-b"))
    service.operator.recordings = (make_recording(make_id(9), "orders"),)
    await service.settle()
    body = (await service.get(f"{HISTORY}?{query}")).read_json()
    assert [p["id"] for p in body["profiles"]] == [make_id(number) for number in expected]


async def test_history_of_a_pipeline_without_any_is_empty(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders"),)
    await service.settle()
    assert (await service.get(HISTORY)).read_json() == {"profiles": [], "next": None}


async def test_history_of_an_unknown_pipeline(service: Service) -> None:
    await service.settle()
    (await service.get(HISTORY)).assert_error(404, "UnknownPipelineName")
    await service.send_away()
    (await service.get(HISTORY)).assert_error(503, "OperatorUnavailable")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "after=x",
        "ordinal=-1",
        "state=failed",
        *(
            f"{key}={value}"
            for key in ("since", "until")
            for value in ("x", "", "2026-02-31T00:00:00Z", "2026-01-31T09:00:00")
        ),
        "search=",
        "search=%00",
        f"search={'x' * 201}",
    ],
)
async def test_history_with_bad_parameters(service: Service, query: str) -> None:
    (await service.get(f"{HISTORY}?{query}")).assert_error(400, "InvalidParam")


async def test_facts_of_one_profile_lead_to_its_file(service: Service) -> None:
    service.put(1, b"data", warnings=("throttled",))
    await service.settle()
    facts = (await service.get(f"{HISTORY}/{make_id(1)}")).read_json()
    assert facts["file"]["size_bytes"] == 4
    assert facts["warnings"] == ["throttled"]
    assert (await service.get(facts["file"]["href"])).body == b"data"


async def test_facts_of_a_failure_have_no_file(service: Service) -> None:
    service.put(1, None, failure=Failure("NoCpu", "nothing ran"))
    await service.settle()
    facts = (await service.get(f"{HISTORY}/{make_id(1)}")).read_json()
    assert "file" not in facts
    assert facts["failure"] == {"reason": "NoCpu", "message": "nothing ran", "remedy": "", "log": ""}
    (await service.get(f"{HISTORY}/{make_id(1)}/profile")).assert_error(404, "UnknownProfile")


@pytest.mark.parametrize("suffix", ["", "/profile"])
async def test_a_profile_is_found_only_under_its_own_pipeline(service: Service, suffix: str) -> None:
    service.put(1, pipeline="other")
    await service.settle()
    for profile_id in (make_id(1), make_id(2), "..", "x" * 500, "%2e%2e%2fetc"):
        answer = await service.get(f"{HISTORY}/{profile_id}{suffix}")
        assert answer.status == 404
        assert len(answer.body) < 400


async def test_an_id_that_is_not_stored_is_not_unknown_while_the_operator_is_away(service: Service) -> None:
    await service.send_away()
    (await service.get(f"{HISTORY}/{make_id(1)}")).assert_error(503, "OperatorUnavailable")


@pytest.mark.parametrize("path", ["/v0", "/v0/", "/v0/pipelines/", "/v1/pipelines", "/v0/pipelines/a/b/c/d/e"])
async def test_an_unknown_route(service: Service, path: str) -> None:
    (await service.get(path)).assert_error(404, "UnknownRoute")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_a_method_that_is_not_possible(service: Service, method: str) -> None:
    answer = await service.ask(method, "/v0/pipelines/orders/samply_profile")
    assert answer.assert_error(405, "MethodNotAllowed") == {"allowed": ["GET", "HEAD", "POST"]}
    assert answer.headers["Allow"] == "GET, HEAD, POST"


async def test_each_request_has_an_id_and_one_line_in_the_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answers = [await service.get(path) for path in ("/v0/config?signature=secret", "/nothing", "/healthz")]
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 3
    lines = [json.loads(r.getMessage()) for r in caplog.records if r.name == "samply_operator.api.access"]
    lines = [line for line in lines if line["path"] != "/readyz"]
    assert [(line["path"], line["status"]) for line in lines] == [("/v0/config", 200), ("/nothing", 404)]
    assert [line["sent_bytes"] for line in lines] == [len(answer.body) for answer in answers[:2]]
    assert lines[0]["request_id"] == answers[0].headers["X-Request-Id"]
    assert "secret" not in caplog.text
