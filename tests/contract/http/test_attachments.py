"""GET …/{profile_id}/attachments/{name}, and what the facts of the profile say about them."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from samply_operator.model.attachment import NAMES
from samply_operator.model.manifest import Attachment, Manifest, StoredFile

from .conftest import Service, make_id

HISTORY = "/v0/pipelines/orders/samply_profiles"
ONE = f"{HISTORY}/{make_id(1)}"
NAME = NAMES["Stats"]
URL = f"{ONE}/attachments/{NAME}"
DATA = b"\x1f\x8bwhat the stats were"
FILE = StoredFile(len(DATA), hashlib.sha256(DATA).hexdigest(), zlib.crc32(DATA), 4711)
STATS = Attachment("Stats", NAME, FILE, "2026-01-31T09:01:15.000Z")
MISSING = Attachment("HeapProfile", problem="Feldera answers 400.")


def put(service: Service, number: int = 1, **changes: object) -> Manifest:
    """A profile with its stats, and without the heap profile that was wanted."""
    return service.put(number, b"profile", extras={NAME: DATA}, attachments=(STATS, MISSING), **changes)


async def test_the_facts_list_what_there_is_and_why_the_rest_is_missing(service: Service) -> None:
    put(service)
    service.put(2, b"another")
    await service.settle()
    facts = (await service.get(ONE)).read_json()
    assert facts["attachments"] == [
        {
            "kind": "Stats",
            "name": NAME,
            "file": {
                "size_bytes": len(DATA),
                "sha256": FILE.sha256,
                "crc32": FILE.crc32,
                "raw_bytes": 4711,
                "href": URL,
            },
            "taken_at": "2026-01-31T09:01:15.000Z",
            "problem": "",
        },
        {"kind": "HeapProfile", "taken_at": None, "problem": "Feldera answers 400."},
    ]
    newest, older = (await service.get(HISTORY)).read_json()["profiles"]
    assert older["attachments"] == facts["attachments"]
    assert "attachments" not in newest


async def test_an_attachment_comes_as_any_stored_file(service: Service) -> None:
    put(service)
    await service.settle()
    answer = await service.get(URL)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["Content-Type"] == "application/gzip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="2026-01-31T09:01:30.500Z-{NAME}"'
    assert answer.headers["ETag"] == f'"{FILE.sha256}"'
    assert answer.headers["Last-Modified"] == "Sat, 31 Jan 2026 09:01:30 GMT"
    assert "Content-Encoding" not in answer.headers
    head = await service.ask("HEAD", URL)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(DATA)), b"")
    part = await service.get(URL, Range="bytes=2-5", If_Range=answer.headers["ETag"])
    assert (part.status, part.body) == (206, DATA[2:6])
    assert (await service.get(URL, If_None_Match=answer.headers["ETag"])).status == 304
    (await service.get(URL, If_Match='"' + "0" * 64 + '"')).assert_error(412, "PreconditionFailed")
    (await service.get(URL, Range="bytes=999-")).assert_error(416, "RangeNotSatisfiable")


@pytest.mark.parametrize(
    "name",
    [NAMES["HeapProfile"], NAMES["Metrics"], "profile.json.gz", "manifest.json", "x" * 300, "..%2Fmanifest.json"],
)
async def test_there_is_no_other_file(service: Service, name: str) -> None:
    """Not even one that exists: only what the facts list."""
    put(service)
    await service.settle()
    answer = await service.get(f"{ONE}/attachments/{name}")
    assert answer.assert_error(404, "UnknownProfile") == {"profile": make_id(1)}
    assert "Its facts list the attachments" in answer.read_json()["message"]
    assert len(answer.body) < 500


async def test_a_profile_of_another_pipeline_or_an_unknown_one_has_none(service: Service) -> None:
    put(service, pipeline="other")
    await service.settle()
    for profile_id in (make_id(1), make_id(2)):
        answer = await service.get(f"{HISTORY}/{profile_id}/attachments/{NAME}")
        assert answer.assert_error(404, "UnknownProfile") == {"profile": profile_id}
    assert (await service.get(URL.replace("orders", "other"))).body == DATA


async def test_a_failure_has_none(service: Service) -> None:
    service.put(1, None)
    await service.settle()
    (await service.get(URL)).assert_error(404, "UnknownProfile")
    assert "attachments" not in (await service.get(ONE)).read_json()


async def test_it_goes_with_its_profile(service: Service) -> None:
    put(service)
    await service.settle()
    assert (await service.get(URL)).status == 200
    service.volume.remove(make_id(1))
    service.operator.store_generation += 1
    await service.settle()
    (await service.get(URL)).assert_error(404, "UnknownProfile")


async def test_a_lost_or_damaged_file_is_told(service: Service) -> None:
    """The profile itself is served."""
    put(service)
    await service.settle()
    path = service.volume.root / "profiles" / make_id(1) / NAME
    path.write_bytes(b"short")
    (await service.get(URL)).assert_error(500, "StoreError")
    path.unlink()
    (await service.get(URL)).assert_error(404, "UnknownProfile")
    assert (await service.get(f"{ONE}/profile")).body == b"profile"
