"""Other formats, summaries and comparisons, made of a real recording and checked for what their readers need."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from samply_operator.api.content import conversion_slots
from samply_operator.api.content.conversions import CONVERSIONS
from samply_operator.model.manifest import Quality
from samply_operator.store import layout
from support import marker_maker, profile_maker
from support.fake_operator import make_pipeline
from support.marker_maker import evaluate
from support.profile_maker import Sample

from .conftest import Service, make_id, wait_until

PROFILES = Path(__file__).parents[2] / "data" / "profiles"
LAST = "/v0/pipelines/orders/samply_profile"
HISTORY = "/v0/pipelines/orders/samply_profiles"
ONE = f"{HISTORY}/{make_id(1)}"
DIFF = f"/v0/pipelines/orders/diff?before={make_id(1)}&after={make_id(2)}"


@pytest.fixture(autouse=True)
async def two(service: Service) -> None:
    service.put(1, (PROFILES / "demo-v55.json.gz").read_bytes())
    service.put(2, (PROFILES / "demo-v49.json.gz").read_bytes())
    service.put(3, b"no profile at all")
    service.put(4, None)
    await service.settle()


async def test_folded_stacks(service: Service) -> None:
    answer = await service.get(f"{ONE}/profile?format=folded")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    name = "2026-01-31T09:01:30Z-samply_profile.folded.txt"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    for line in answer.body.decode().splitlines():
        stack, _, count = line.rpartition(" ")
        assert stack
        assert int(count) > 0


async def test_speedscope(service: Service) -> None:
    body = (await service.get(f"{ONE}/profile?format=speedscope&measure=cpu")).read_json()
    assert body["$schema"].endswith("file-format-schema.json")


async def test_pprof(service: Service) -> None:
    answer = await service.get(f"{ONE}/profile?format=pprof")
    assert answer.headers["Content-Type"] == "application/gzip"
    assert gzip.decompress(answer.body)


@pytest.mark.parametrize("url", [f"{ONE}/profile?format=svg", DIFF + "&output=svg"], ids=["one", "diff"])
async def test_a_flame_graph_runs_nothing_but_its_own_script(service: Service, url: str) -> None:
    answer = await service.get(url)
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert "Content-Disposition" not in answer.headers
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none';")
    script = ElementTree.fromstring(answer.body).findtext("{http://www.w3.org/2000/svg}script")
    assert script is not None
    assert f"script-src 'sha256-{hash_script(script)}'" in policy


def hash_script(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


async def test_a_summary_says_how_good_the_profile_is(service: Service) -> None:
    """Beside what it sums up."""
    quality = Quality(coverage=0.985, lost_events=3)
    service.put(6, (PROFILES / "demo-v55.json.gz").read_bytes(), quality=quality)
    await service.settle()
    url = f"{HISTORY}/{make_id(6)}/summary"
    body = (await service.get(url)).read_json()
    assert (body["coverage"], body["lost_events"]) == (0.985, 3)
    table = (await service.get(url + "?output=text")).body.decode()
    assert table.splitlines()[1] == "coverage 98%, 3 lost events"
    assert (await service.get(f"{ONE}/summary")).read_json()["coverage"] is None


MERGED = "/v0/pipelines/orders/summary"


async def test_several_profiles_as_one(service: Service) -> None:
    """Repeated recordings, by their ids."""
    body = (await service.get(f"{MERGED}?ids={make_id(1)},{make_id(2)}&limit=3")).read_json()
    parts = [(await service.get(f"{HISTORY}/{make_id(n)}/summary")).read_json() for n in (1, 2)]
    assert [row["samples"] for row in body["profiles"]] == [part["all_threads"]["samples"] for part in parts]
    assert body["all_profiles"]["samples"] == sum(row["samples"] for row in body["profiles"])
    assert len(body["all_profiles"]["by_self"]) == 3


async def test_all_ordinals_as_one(service: Service) -> None:
    """The last profile of each; those without one are named."""
    service.operator.pipelines = (make_pipeline("orders", running=(0, 1, 2)),)
    service.volume.remove(make_id(3))
    service.put(5, (PROFILES / "demo-v49.json.gz").read_bytes(), ordinal=1)
    await service.settle()
    answer = await service.get(MERGED + "?output=text")
    assert answer.headers["Samply-Missing-Ordinals"] == "2"
    assert answer.body.decode().startswith("2 profiles: ")
    assert (await service.get(MERGED, If_None_Match=answer.headers["ETag"])).status == 200
    assert (await service.get(MERGED + "?output=text", If_None_Match=answer.headers["ETag"])).status == 304


async def test_nothing_to_sum_up(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("fresh"),)
    await service.settle()
    (await service.get("/v0/pipelines/fresh/summary")).assert_error(400, "NoSamplyProfile")
    (await service.get("/v0/pipelines/nobody/summary")).assert_error(404, "UnknownPipelineName")
    (await service.get(f"{MERGED}?ids={make_id(1)},{make_id(99)}")).assert_error(404, "UnknownProfile")
    (await service.get(f"{MERGED}?ids=1")).assert_error(400, "InvalidParam")
    (await service.get(f"{MERGED}?ids=" + ",".join([make_id(1)] * 21))).assert_error(400, "InvalidParam")


async def test_the_last_one_in_another_format(service: Service) -> None:
    by_id = await service.get(f"{HISTORY}/{make_id(2)}/profile?format=folded")
    service.volume.remove(make_id(3))
    service.operator.store_generation += 1
    await service.settle()
    assert (await service.get(LAST + "?format=folded")).body == by_id.body
    (await service.get(LAST + "?format=folded&ordinal=all")).assert_error(400, "InvalidParam")


async def test_a_summary(service: Service) -> None:
    body = (await service.get(f"{ONE}/summary?limit=3")).read_json()
    assert body["all_threads"]["samples"] > 0
    assert len(body["all_threads"]["by_self"]) == 3
    part = (await service.get(f"{ONE}/summary?from=0&to=0.1")).read_json()
    assert 0 < part["all_threads"]["samples"] < body["all_threads"]["samples"]
    rest = (await service.get(f"{ONE}/summary?from=0.1")).read_json()
    assert part["all_threads"]["samples"] + rest["all_threads"]["samples"] == body["all_threads"]["samples"]
    thread = body["threads"][0]["name"]
    assert {t["name"] for t in (await service.get(f"{ONE}/summary?thread={thread}")).read_json()["threads"]} == {thread}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("summary?thread=none", "Thread"),
        ("summary?from=500", "Range"),
        ("summary?output=text&from=500&to=900", "Range"),
    ],
)
async def test_data_missing_from_the_profile_is_reported(service: Service, query: str, reason: str) -> None:
    """An empty response would be less helpful."""
    answer = await service.get(f"{ONE}/{query}")
    answer.assert_error(400, "NotInProfile")
    assert answer.read_json()["details"]["reason"] == reason


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", "*/*", "application/json"),
        ("", "text/plain", "text/plain; charset=utf-8"),
        ("", "text/plain, application/json", "application/json"),
        ("?output=text", "application/json", "text/plain; charset=utf-8"),
        ("?output=json", "text/plain", "application/json"),
    ],
)
async def test_a_summary_as_json_or_text(service: Service, query: str, accept: str, media_type: str) -> None:
    answer = await service.get(f"{ONE}/summary{query}", Accept=accept)
    assert answer.headers["Content-Type"] == media_type
    assert (b"by self" in answer.body) == media_type.startswith("text")


async def test_a_comparison(service: Service) -> None:
    body = (await service.get(DIFF + "&limit=2")).read_json()
    assert len(body["changes"]) == 2
    assert b"points" in (await service.get(DIFF + "&output=text")).body


async def test_what_was_made_once_is_not_made_again_for_the_same_client(service: Service) -> None:
    first = await service.get(f"{ONE}/summary")
    async with service.listener.app[CONVERSIONS].queue.take("other"):  # a child would have to wait for this
        assert (await service.get(f"{ONE}/summary", If_None_Match=first.headers["ETag"])).status == 304
        (await service.get(f"{ONE}/summary", If_Match='"another"')).assert_error(412, "PreconditionFailed")
    assert (await service.get(f"{ONE}/summary", If_Match=first.headers["ETag"])).body == first.body
    others = [f"{ONE}/summary?limit=1", f"{HISTORY}/{make_id(2)}/summary", f"{ONE}/summary?output=text"]
    tags = {(await service.get(url)).headers["ETag"] for url in others}
    assert len(tags | {first.headers["ETag"]}) == 4


@pytest.mark.parametrize(
    "url",
    [
        f"{ONE}/profile?format=html",
        f"{ONE}/profile?format=svg&format=svg",
        f"{ONE}/profile?format=svg&measure=watts",
        f"{LAST}?format=SVG",
        f"{ONE}/summary?limit=0",
        f"{ONE}/summary?from=-1",
        f"{ONE}/summary?from=2&to=1",
        f"{ONE}/summary?to=1e5",
        f"{ONE}/summary?thread=",
        f"{ONE}/summary?output=svg",
        "/v0/pipelines/orders/diff",
        f"/v0/pipelines/orders/diff?before={make_id(1)}",
        f"/v0/pipelines/orders/diff?before={make_id(1)}&after=..%2f..",
        DIFF + "&output=xml",
    ],
)
async def test_bad_parameters(service: Service, url: str) -> None:
    (await service.get(url)).assert_error(400, "InvalidParam")


@pytest.mark.parametrize("what", ["profile?format=svg", "summary"])
async def test_what_is_no_profile_says_so(service: Service, what: str) -> None:
    (await service.get(f"{HISTORY}/{make_id(3)}/{what}")).assert_error(500, "UnreadableProfile")
    (await service.get(f"{HISTORY}/{make_id(4)}/{what}")).assert_error(404, "UnknownProfile")
    (await service.get(f"{HISTORY}/{make_id(9)}/{what}")).assert_error(404, "UnknownProfile")


async def test_one_that_vanished_is_unknown(service: Service) -> None:
    """Removed from the volume, and the api hasn't read it again yet."""
    service.volume.remove(make_id(1))
    (await service.get(f"{ONE}/summary")).assert_error(404, "UnknownProfile")


@pytest.mark.parametrize("what", ["summary", "profile?format=folded", "profile?format=svg"])
async def test_head_says_what_get_says(service: Service, what: str) -> None:
    """Including its length; both fail in the same way."""
    get, head = [await service.ask(method, f"{ONE}/{what}") for method in ("GET", "HEAD")]
    assert (get.status, head.status, head.body) == (200, 200, b"")
    assert int(get.headers["Content-Length"]) == len(get.body)
    kept = ("Content-Length", "ETag", "Last-Modified", "Content-Type")
    assert [head.headers[name] for name in kept] == [get.headers[name] for name in kept]
    assert {(await service.ask(method, f"{HISTORY}/{make_id(3)}/{what}")).status for method in ("GET", "HEAD")} == {500}


async def test_too_little_memory_is_reported(service: Service) -> None:
    limits = service.listener.app[CONVERSIONS].limits
    object.__setattr__(limits, "memory_bytes", 8 << 20)
    details = (await service.get(f"{ONE}/summary")).assert_error(500, "ProfileJobFailed")
    assert details["reason"] in {"OutOfMemory", "Crashed"}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion_slots, "WAIT_SECS", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_a_request_that_waits_too_long_is_refused_with_retry_after(service: Service) -> None:
    async with service.listener.app[CONVERSIONS].queue.take("other"):
        answer = await service.get(f"{ONE}/summary")
    answer.assert_error(429, "TooManyRequests")
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await service.get(f"{ONE}/summary")).status == 200


async def test_more_than_can_wait_are_refused_at_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion_slots, "MAX_WAITING", 1)
    mine = service.listener.app[CONVERSIONS].queue
    async with mine.take("other"):
        first = asyncio.create_task(service.get(f"{ONE}/summary"))

        async def is_waiting() -> bool:
            return mine.waiting == 1

        await wait_until(is_waiting)
        (await service.get(f"{ONE}/summary?limit=1")).assert_error(429, "TooManyRequests")
    assert (await first).status == 200


async def test_by_operator_and_by_group(service: Service, tmp_path: Path) -> None:
    """In summaries, comparisons and formats; without markers the request gets an error that says so."""
    document = profile_maker.build([[Sample(("main", "work"))] * 10])
    marker_maker.add(document, 0, [evaluate(1, 4, "Map nn2"), evaluate(4, 11, "Join nn3")])
    service.put(5, profile_maker.save(document, tmp_path / "p.json.gz").read_bytes())
    await service.settle()
    marked = f"{HISTORY}/{make_id(5)}"
    body = (await service.get(f"{marked}/summary?by=operator")).read_json()
    assert {label["name"]: label["self_weight"] for label in body["labels"]} == {"Map nn2": 3, "Join nn3": 7}
    table = await service.get(f"{marked}/summary?by=operator&output=text&limit=1")
    assert "Join nn3" in table.body.decode()
    merged = (await service.get(f"{MERGED}?ids={make_id(5)}&by=operator")).read_json()
    assert {each["name"] for each in merged["all_profiles"]["by_self"]} == {"Map nn2", "Join nn3"}
    diff = f"/v0/pipelines/orders/diff?before={make_id(5)}&after={make_id(5)}&by=operator"
    assert {each["lib"] for each in (await service.get(diff)).read_json()["changes"]} == {"operator"}
    assert b";Join nn3;main;work 7" in (await service.get(f"{marked}/profile?format=folded&by=operator")).body
    groups = (await service.get(f"{ONE}/summary?by=group")).read_json()
    assert groups["by"] == "group"
    (await service.get(f"{ONE}/summary?by=operator")).assert_error(400, "NoOperatorMarkers")
    (await service.get(f"{ONE}/summary?by=line")).assert_error(400, "InvalidParam")


async def test_the_names_of_operators_beside_a_profile(service: Service, tmp_path: Path) -> None:
    """They stand in what is made of it, and alone; without any the answer says why."""
    document = profile_maker.build([[Sample(("main", "work"))] * 10])
    marker_maker.add(document, 0, [evaluate(1, 11, "JoinTrace nn4")])
    names = {"names": {"nn4": {"label": "JoinTrace", "operation": "join", "relation": "is", "view": "totals"}}}
    packed = profile_maker.save(document, tmp_path / "p.json.gz").read_bytes()
    service.put(5, packed, extras={layout.OPERATORS_FILE: msgspec.json.encode(names)})
    await service.settle()
    marked = f"{HISTORY}/{make_id(5)}"
    (label,) = (await service.get(f"{marked}/summary?by=operator")).read_json()["labels"]
    assert label["note"] == "view totals"
    assert (
        b";JoinTrace nn4 (view totals);main;work 10"
        in (await service.get(f"{marked}/profile?format=folded&by=operator")).body
    )
    assert (await service.get(f"{marked}/operators")).read_json()["names"]["nn4"]["view"] == "totals"
    assert "not requested" in (await service.get(f"{ONE}/operators")).read_json()["problem"]
    (await service.get(f"{HISTORY}/{make_id(9)}/operators")).assert_error(404, "UnknownProfile")
