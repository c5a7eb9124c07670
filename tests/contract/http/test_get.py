"""Every row of GET …/samply_profile: what a client of Feldera's endpoint may rely on."""

from __future__ import annotations

import pytest

from support.fake_operator import make_pipeline, make_recording

from .conftest import Service, make_id, wait_until

URL = "/v0/pipelines/orders/samply_profile"


async def test_a_profile_comes_with_all_that_clients_read(service: Service) -> None:
    manifest = service.put(1, b"\x1f\x8bbytes")
    await service.settle()
    answer = await service.get(URL)
    assert (answer.status, answer.body) == (200, b"\x1f\x8bbytes")
    assert answer.headers["Content-Type"] == "application/gzip"
    assert (
        answer.headers["Content-Disposition"]
        == 'attachment; filename="2026-01-31T09:01:30.500Z-samply_profile.json.gz"'
    )
    assert answer.headers["Content-Length"] == "7"
    assert manifest.file is not None
    assert answer.headers["ETag"] == f'"{manifest.file.sha256}"'
    assert answer.headers["Last-Modified"] == "Sat, 31 Jan 2026 09:01:30 GMT"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["X-Request-Id"]


async def test_the_newest_good_profile_is_served(service: Service) -> None:
    for number in (1, 2, 3):
        service.put(number, b"%d" % number)
    await service.settle()
    assert (await service.get(URL)).body == b"3"


async def test_after_a_clock_that_was_set_back_the_last_one_is_served(service: Service) -> None:
    for number in (2, 3, 1):
        service.put(number, b"%d" % number)
    await service.settle()
    assert (await service.get(URL)).body == b"1"


async def test_latest_while_one_runs_is_204_with_the_seconds_left(service: Service) -> None:
    service.put(1)
    service.operator.recordings = (make_recording(make_id(2), "orders", ends_in_secs=20),)
    await service.settle()
    answer = await service.get(URL + "?latest=true")
    assert (answer.status, answer.body) == (204, b"")
    assert 18 <= int(answer.headers["Retry-After"]) <= 20


@pytest.mark.parametrize(("ends_in", "expected"), [(-5, "1"), (0.2, "1"), (None, "30")])
async def test_retry_after_is_at_least_a_second_until_it_is_stored(
    service: Service, ends_in: float | None, expected: str
) -> None:
    service.operator.recordings = (make_recording(make_id(2), "orders", ends_in_secs=ends_in),)
    await service.settle()
    assert (await service.get(URL + "?latest=true")).headers["Retry-After"] == expected


@pytest.mark.parametrize("query", ["", "?latest=false"])
async def test_without_latest_the_last_finished_one_is_served_while_one_runs(service: Service, query: str) -> None:
    service.put(1, b"old")
    service.operator.recordings = (make_recording(make_id(2), "orders"),)
    await service.settle()
    answer = await service.get(URL + query)
    assert (answer.status, answer.body) == (200, b"old")


async def test_a_recording_of_another_ordinal_is_not_in_progress_here(service: Service) -> None:
    service.put(1, b"old")
    service.operator.recordings = (make_recording(make_id(2), "orders", ordinal=1),)
    await service.settle()
    assert (await service.get(URL + "?latest=true")).status == 200


async def test_a_preflight_is_not_in_progress(service: Service) -> None:
    service.put(1, b"old")
    service.operator.recordings = (make_recording(make_id(2), "orders", preflight_only=True),)
    await service.settle()
    assert (await service.get(URL + "?latest=true")).status == 200


@pytest.mark.parametrize("query", ["", "?latest=true"])
async def test_no_profile_was_ever_recorded(service: Service, query: str) -> None:
    service.operator.pipelines = (make_pipeline("orders"),)
    await service.settle()
    answer = await service.get(URL + query)
    answer.assert_error(400, "NoSamplyProfile")
    assert "POST /v0/pipelines/orders/samply_profile?duration_secs=30" in answer.read_json()["message"]


async def test_the_first_recording_runs(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders"),)
    service.operator.recordings = (make_recording(make_id(2), "orders"),)
    await service.settle()
    details = (await service.get(URL)).assert_error(400, "NoSamplyProfile")
    assert details["profile"] == make_id(2)
    assert details["retry_after_secs"] > 0


@pytest.mark.parametrize("query", ["", "?latest=true"])
async def test_the_last_attempt_failed_and_there_is_no_good_one(service: Service, query: str) -> None:
    service.put(1, None)
    await service.settle()
    answer = await service.get(URL + query)
    details = answer.assert_error(500, "SamplyProfilingFailure")
    assert (details["reason"], details["remedy"], details["log"]) == ("PerfDenied", "Add PERFMON.", "EPERM")
    assert answer.read_json()["message"].startswith("perf_event_open was refused.")


async def test_a_failure_after_a_good_one_names_it_with_latest_and_serves_it_without(service: Service) -> None:
    service.put(1, b"good")
    service.put(2, None)
    await service.settle()
    details = (await service.get(URL + "?latest=true")).assert_error(500, "SamplyProfilingFailure")
    assert details["last_good"]["id"] == make_id(1)
    answer = await service.get(URL)
    assert (answer.status, answer.body) == (200, b"good")
    assert answer.headers["Samply-Last-Failure"] == f"{make_id(2)}; reason=PerfDenied"
    assert (await service.get(details["last_good"]["href"] + "/profile")).body == b"good"


async def test_a_good_one_after_a_failure_says_nothing_of_it(service: Service) -> None:
    service.put(1, None)
    service.put(2, b"good")
    await service.settle()
    answer = await service.get(URL + "?latest=true")
    assert answer.status == 200
    assert "Samply-Last-Failure" not in answer.headers


@pytest.mark.parametrize("query", ["", "?latest=true"])
async def test_profiles_outlive_their_pipeline(service: Service, query: str) -> None:
    service.put(1, b"kept")
    await service.settle()
    assert (await service.get(URL + query)).body == b"kept"


async def test_an_ordinal_that_was_scaled_away_keeps_its_profile(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders"),)
    service.put(1, b"four", ordinal=4)
    await service.settle()
    assert (await service.get(URL + "?ordinal=4")).body == b"four"


async def test_a_stopped_pipeline_with_a_stored_profile_is_served(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders", running=(), stopped=(0,)),)
    service.put(1, b"kept")
    await service.settle()
    assert (await service.get(URL)).status == 200


@pytest.mark.parametrize(("stopped", "desired"), [((), "Stopped"), ((0,), "Running")], ids=["scaled to 0", "pending"])
async def test_known_but_no_pod_runs_and_nothing_is_stored(
    service: Service, stopped: tuple[int, ...], desired: str
) -> None:
    service.operator.pipelines = (make_pipeline("orders", running=(), stopped=stopped),)
    await service.settle()
    answer = await service.get(URL)
    details = answer.assert_error(503, "PipelineInteractionNotDeployed")
    assert details == {"pipeline_name": "orders", "status": "Stopped", "desired_status": desired}
    assert answer.headers["Retry-After"] == "5"


async def test_an_unknown_pipeline(service: Service) -> None:
    await service.settle()
    answer = await service.get(URL)
    assert answer.assert_error(404, "UnknownPipelineName") == {"pipeline_name": "orders"}
    assert answer.read_json()["message"] == "Unknown pipeline name 'orders'"


async def test_an_ordinal_that_does_not_exist_names_those_that_do(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("orders", running=(0, 1)),)
    service.put(1, ordinal=3)
    await service.settle()
    details = (await service.get(URL + "?ordinal=7")).assert_error(400, "InvalidParam")
    assert details["ordinals"] == [0, 1, 3]
    assert details["parameter"] == "ordinal"


@pytest.mark.parametrize(
    "query",
    [
        "ordinal=-1",
        "ordinal=",
        "ordinal=x",
        "ordinal=1.0",
        "ordinal=+1",
        "ordinal=%201",
        "ordinal=%D9%A3",
        "ordinal=99999999999",
        "ordinal=2147483648",
        "ordinal=0&ordinal=0",
        "latest=TRUE",
        "latest=1",
        "latest=",
        "latest",
        "latest=true&latest=true",
        "namespace=../x",
        "namespace=",
        "ordinal=%FF",
        "ordinal=0%00",
    ],
)
async def test_bad_parameters(service: Service, query: str) -> None:
    service.put(1)
    await service.settle()
    details = (await service.get(f"{URL}?{query}")).assert_error(400, "InvalidParam")
    assert set(details) == {"parameter", "value", "expected"}
    assert details["parameter"] == query.split("=", maxsplit=1)[0]


async def test_unknown_keys_and_the_tenant_header_are_ignored(service: Service) -> None:
    service.put(1)
    await service.settle()
    assert (await service.get(URL + "?x=1&x=2&%00", Feldera_Tenant="t")).status == 200


async def test_without_the_operator_only_stored_profiles_are_served(service: Service) -> None:
    service.put(1, b"kept")
    service.operator.pipelines = (make_pipeline("running-one"),)
    await service.settle()
    await service.send_away()
    assert (await service.get(URL)).body == b"kept"
    for path in (
        URL + "?latest=true",
        URL + "?ordinal=5",
        "/v0/pipelines/never-seen/samply_profile",
        "/v0/pipelines/running-one/samply_profile",
    ):
        answer = await service.get(path)
        answer.assert_error(503, "OperatorUnavailable")
        assert answer.headers["Retry-After"] == "5"
    assert (await service.get("/readyz")).status == 200
    await service.operator.come_back()
    await service.wait_for_operator("Connected")
    assert (await service.get(URL + "?latest=true")).status == 200


async def test_a_stored_failure_is_reported_while_the_operator_is_unavailable(service: Service) -> None:
    service.put(1, None)
    await service.settle()
    await service.send_away()
    (await service.get(URL)).assert_error(500, "SamplyProfilingFailure")


async def test_an_unsynced_operator_never_causes_a_404(service: Service) -> None:
    service.operator.is_synced = False
    await service.settle()
    (await service.get(URL)).assert_error(503, "OperatorUnavailable")
    service.operator.recordings = (make_recording(make_id(2), "orders"),)
    await service.settle()
    assert (await service.get(URL + "?latest=true")).status == 204


async def test_the_same_name_in_two_namespaces_requires_a_namespace(service: Service) -> None:
    service.put(1, b"one", namespace="one")
    service.operator.pipelines = (make_pipeline("orders", namespace="two"),)
    await service.settle()
    details = (await service.get(URL)).assert_error(400, "AmbiguousPipelineName")
    assert details["namespaces"] == ["one", "two"]
    assert (await service.get(URL + "?namespace=one")).body == b"one"
    (await service.get(URL + "?namespace=two")).assert_error(400, "NoSamplyProfile")
    (await service.get(URL + "?namespace=three")).assert_error(404, "UnknownPipelineName")


async def test_a_recording_never_vanishes_between_running_and_stored(service: Service) -> None:
    """Each answer is 204 or the new profile: never a moment with neither."""
    service.operator.recordings = (make_recording(make_id(1), "orders", ends_in_secs=-1),)
    await service.settle()
    service.put(1, b"new")
    service.operator.recordings = ()
    service.operator.push()
    seen = set()

    async def is_stored() -> bool:
        answer = await service.get(URL + "?latest=true")
        seen.add(answer.status)
        return answer.status == 200

    await wait_until(is_stored)
    assert seen <= {200, 204}


async def test_a_damaged_file_is_an_error_without_internals_never_half_a_profile(service: Service) -> None:
    manifest = service.put(1, b"whole profile")
    await service.settle()
    (service.volume.root / "profiles" / manifest.id / "profile.json.gz").write_bytes(b"half")
    answer = await service.get(URL)
    answer.assert_error(500, "StoreError")
    assert str(service.volume.root).encode() not in answer.body
