"""GET …/export: everything about one pipeline in one zip, with a note of what is missing."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from contract.http.test_attachments import DATA, NAME
from contract.http.test_attachments import put as put_attached
from samply_operator.api.routes.profiles import export
from samply_operator.control.messages import SupportBundleReply, SupportBundleRequest
from support.fake_operator import make_pipeline, make_recording

from .conftest import Service, make_id

URL = "/v0/pipelines/orders/export"
TOLD = SupportBundleReply(
    objects=({"metadata": {"name": "p-1"}, "spec": {}, "status": {"preflight": {"verdict": "Go"}}},),
    pods=({"name": "orders-0", "phase": "Running"},),
    events=({"object": "Pod/orders-0", "reason": "BackOff"},),
)


def open_zip(body: bytes) -> zipfile.ZipFile:
    found = zipfile.ZipFile(io.BytesIO(body))
    assert found.testzip() is None
    return found


def read_json(found: zipfile.ZipFile, name: str) -> Any:
    return json.loads(found.read(f"orders/{name}"))


@pytest.fixture(autouse=True)
async def two(service: Service) -> None:
    """A failure and two good ones, one of them of an ordinal that is gone; one that runs."""
    service.operator.pipelines = (make_pipeline("orders"), make_pipeline("other"))
    service.operator.recordings = (make_recording(make_id(9), "orders"),)
    service.operator.support_bundle = TOLD
    service.put(1, b"first profile")
    service.put(2, None)
    service.put(3, b"third profile", ordinal=4)
    service.put(4, b"of another", pipeline="other")
    await service.settle()


async def test_an_export_holds_the_whole_pipeline_and_no_other(service: Service) -> None:
    answer = await service.get(URL)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/zip")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="2026-01-31T09:03:30Z-samply_export.zip"'
    found = open_zip(answer.body)
    assert sorted(found.namelist()) == sorted(
        [
            "orders/README.txt",
            "orders/events.json",
            f"orders/manifests/{make_id(1)}.json",
            f"orders/manifests/{make_id(2)}.json",
            f"orders/manifests/{make_id(3)}.json",
            "orders/objects.json",
            "orders/pipeline.json",
            "orders/pods.json",
            f"orders/profiles/0/2026-01-31T09-01-30Z-{make_id(1)}.json.gz",
            f"orders/profiles/4/2026-01-31T09-03-30Z-{make_id(3)}.json.gz",
            "orders/recordings.json",
        ]
    )
    assert found.read(f"orders/profiles/4/2026-01-31T09-03-30Z-{make_id(3)}.json.gz") == b"third profile"
    assert read_json(found, f"manifests/{make_id(2)}.json")["failure"]["reason"] == "PerfDenied"
    assert read_json(found, "objects.json")[0]["status"]["preflight"] == {"verdict": "Go"}
    assert read_json(found, "events.json") == [{"object": "Pod/orders-0", "reason": "BackOff"}]
    assert [each["id"] for each in read_json(found, "recordings.json")] == [make_id(9)]
    assert [each["ordinal"] for each in read_json(found, "pipeline.json")["ordinals"]] == [0, 4]
    readme = found.read("orders/README.txt").decode()
    assert "3 attempts, 2 profiles." in readme
    assert "MISSING" not in readme
    assert service.operator.exported == [SupportBundleRequest("orders", "feldera")]


async def test_attachments_are_in_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the newest profiles, if there are more than may be open for one zip."""
    for number in (5, 6):
        put_attached(service, number)
    await service.settle()
    whole = await service.get(URL)
    found = open_zip(whole.body)
    places = [f"orders/attachments/{make_id(number)}/{NAME}" for number in (6, 5)]
    assert [name for name in found.namelist() if "/attachments/" in name] == places
    assert all(found.read(place) == DATA for place in places)
    assert read_json(found, f"manifests/{make_id(5)}.json")["attachments"][0]["kind"] == "Stats"
    part = await service.get(URL, Range="bytes=100-", If_Range=whole.headers["ETag"])
    assert (part.status, part.body) == (206, whole.body[100:])
    monkeypatch.setattr(export, "MAX_FILES", 5)
    found = open_zip((await service.get(URL)).body)
    assert [name for name in found.namelist() if "/attachments/" in name] == places[:1]
    readme = found.read("orders/README.txt").decode()
    assert "Attachments of 1 older profiles are not in here: lower ?limit=, or fetch them by " in readme


@pytest.mark.parametrize("damage", [b"short", None], ids=["damaged", "gone"])
async def test_a_lost_attachment_costs_nothing_else(service: Service, damage: bytes | None) -> None:
    """However many there are."""
    numbers = range(5, 13)
    for number in numbers:
        put_attached(service, number)
    await service.settle()
    for number in numbers[1:]:
        path = service.volume.root / "profiles" / make_id(number) / NAME
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
    found = open_zip((await service.get(URL)).body)
    listed = found.namelist()
    assert [name for name in listed if "/attachments/" in name] == [f"orders/attachments/{make_id(5)}/{NAME}"]
    assert sum("/profiles/" in name for name in listed) == 2 + len(numbers)
    assert sum("/manifests/" in name for name in listed) == 3 + len(numbers)
    readme = found.read("orders/README.txt").decode()
    assert all(f"MISSING: attachments/{make_id(number)}/{NAME}: " in readme for number in numbers[1:])
    assert readme.count("MISSING") == len(numbers) - 1


async def test_profiles_are_stored_uncompressed_so_a_download_can_be_resumed(service: Service) -> None:
    whole = await service.get(URL)
    assert all(each.compress_type == zipfile.ZIP_STORED for each in open_zip(whole.body).infolist())
    assert int(whole.headers["Content-Length"]) == len(whole.body)
    part = await service.get(URL, Range="bytes=100-", If_Range=whole.headers["ETag"])
    assert (part.status, part.body) == (206, whole.body[100:])
    again = await service.get(URL, If_None_Match=whole.headers["ETag"])
    assert again.status == 304


async def test_a_new_event_is_another_zip(service: Service) -> None:
    """A resumed download must not mix two zips."""
    before = await service.get(URL)
    service.operator.support_bundle = SupportBundleReply(events=({"object": "Pod/orders-0", "reason": "Killing"},))
    after = await service.get(URL, Range="bytes=100-", If_Range=before.headers["ETag"])
    assert after.status == 200
    open_zip(after.body)


async def test_without_the_operator_it_says_what_is_missing(service: Service) -> None:
    await service.send_away()
    found = open_zip((await service.get(URL)).body)
    assert "MISSING: Objects, pods and Events: The operator is away" in found.read("orders/README.txt").decode()
    assert read_json(found, "events.json") == []
    assert len([name for name in found.namelist() if "/profiles/" in name]) == 2


async def test_an_export_reports_what_the_operator_could_not_list(service: Service) -> None:
    service.operator.support_bundle = SupportBundleReply(missing=("Events on Pod: it may not list events",))
    found = open_zip((await service.get(URL)).body)
    assert "MISSING: Events on Pod: it may not list events" in found.read("orders/README.txt").decode()


async def test_the_newest_profiles_up_to_the_limit(service: Service) -> None:
    found = open_zip((await service.get(URL + "?limit=1")).body)
    assert [name for name in found.namelist() if "/manifests/" in name] == [f"orders/manifests/{make_id(3)}.json"]
    assert "Of 2 older attempts nothing is in here" in found.read("orders/README.txt").decode()


async def test_a_pipeline_without_profiles_has_a_bundle_too(service: Service) -> None:
    service.operator.pipelines = (*service.operator.pipelines, make_pipeline("fresh"))
    await service.settle()
    answer = await service.get("/v0/pipelines/fresh/export")
    assert answer.status == 200
    assert "fresh/README.txt" in open_zip(answer.body).namelist()


async def test_unknown_pipelines_are_reported(service: Service) -> None:
    (await service.get("/v0/pipelines/nobody/export")).assert_error(404, "UnknownPipelineName")
    (await service.get(URL + "?limit=0")).assert_error(400, "InvalidParam")
    (await service.get(URL + "?limit=201")).assert_error(400, "InvalidParam")
