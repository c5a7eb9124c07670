"""Profiles of a range of time merged into one answer: the words of the history, what is left out, and the limits."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from samply_operator.api.content.conversions import CONVERSIONS
from samply_operator.model.manifest import TriggeredBy
from samply_operator.profiles.worker import bounded
from samply_operator.rules.serving import profile_range
from support import profile_maker
from support.fake_operator import make_pipeline
from support.profile_maker import Sample

from .conftest import Service, make_id, wait_until

SUMMARY = "/v0/pipelines/orders/summary"
HISTORY = "/v0/pipelines/orders/samply_profiles"
ALL = "since=2026-01-31T09:00:00Z"


def pack(folder: Path, counts: dict[str, int], **how: Any) -> bytes:
    samples = [Sample(("main", function), cpu_us=500) for function, count in counts.items() for _ in range(count)]
    return profile_maker.save(profile_maker.build([samples], **how), folder / "p.json.gz").read_bytes()


@pytest.fixture(autouse=True)
async def some(service: Service, tmp_path: Path) -> None:
    """Of two ordinals, from 09:01:30 to 09:05:30; the third is damaged, the fourth a failure."""
    service.put(1, pack(tmp_path, {"parse": 4}))
    service.put(2, pack(tmp_path, {"parse": 1, "join": 2}), ordinal=1)
    service.put(3, b"no profile at all")
    service.put(4, None)
    service.put(5, pack(tmp_path, {"join": 3}), trigger=TriggeredBy("nightly"))
    await service.settle()


async def ask(service: Service, query: str) -> Any:
    answer = await service.get(f"{SUMMARY}?{query}")
    assert answer.status == 200, answer.body
    return answer.read_json()


async def test_all_of_a_time_in_one_summary(service: Service) -> None:
    body = await ask(service, f"{ALL}&until=2026-01-31T10:00:00Z")
    selves = {each["name"]: each["self_cpu_ms"] for each in body["all_profiles"]["by_self"]}
    assert selves == {"parse": 2.5, "join": 2.5, "main": 0}
    assert body["ids"] == [make_id(5), make_id(2), make_id(1)]
    assert [row["name"] for row in body["profiles"]] == [
        "2026-01-31T09:05:30Z ordinal 0",
        "2026-01-31T09:02:30Z ordinal 1",
        "2026-01-31T09:01:30Z ordinal 0",
    ]
    assert [(each["profile"], each["reason"]) for each in body["left_out"]] == [(make_id(3), "UnreadableProfile")]
    table = (await service.get(f"{SUMMARY}?{ALL}&output=text")).body.decode()
    assert table.startswith("3 profiles: 10 samples\n")
    assert "2026-01-31T09:03:30Z ordinal 0: left out (UnreadableProfile): " in table


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("since=2026-01-31T09:05:30.500Z", [5]),
        ("until=2026-01-31T09:05:30.500Z", [2, 1]),
        (f"{ALL}&ordinal=1", [2]),
        (f"{ALL}&ordinal=all", [5, 2, 1]),
        (f"{ALL}&search=nightly", [5]),
        (f"{ALL}&namespace=feldera&limit=1", [5, 2, 1]),
    ],
)
async def test_the_words_are_those_of_the_history(service: Service, query: str, numbers: list[int]) -> None:
    body = await ask(service, query)
    assert body["ids"] == [make_id(number) for number in numbers]
    query = query.replace("ordinal=all", "")
    listed = (await service.get(f"{HISTORY}?{query}&limit=100".replace("limit=1&", ""))).read_json()["profiles"]
    good = [each["id"] for each in listed if each["state"] == "Succeeded" and each["id"] != make_id(3)]
    assert body["ids"] == good


async def test_a_range_of_one_profile_answers_as_that_profile_does(service: Service) -> None:
    body = await ask(service, "since=2026-01-31T09:05:00Z")
    alone = (await service.get(f"{HISTORY}/{make_id(5)}/summary")).read_json()
    assert body["all_profiles"] == alone["all_threads"]
    assert (body["measure"], body["interval_ms"], body["notes"]) == (
        alone["measure"],
        alone["interval_ms"],
        alone["notes"],
    )
    bad = f"{SUMMARY}?since=2026-01-31T09:03:00Z&until=2026-01-31T09:04:00Z"
    (await service.get(bad)).assert_error(500, "UnreadableProfile")
    (await service.get(f"{HISTORY}/{make_id(3)}/summary")).assert_error(500, "UnreadableProfile")


async def test_a_missing_file_is_left_out(service: Service) -> None:
    """Its manifest is there."""
    for path in service.volume.root.glob(f"profiles/{make_id(2)}/*.gz"):  # type: ignore[attr-defined]
        path.unlink()
    body = await ask(service, ALL)
    assert body["ids"] == [make_id(5), make_id(1)]
    reasons = {each["profile"]: each["reason"] for each in body["left_out"]}
    assert reasons == {make_id(2): "UnknownProfile", make_id(3): "UnreadableProfile"}


async def test_a_file_that_was_cut_is_left_out(service: Service) -> None:
    """Of it alone, not of the range."""
    (path,) = service.volume.root.glob(f"profiles/{make_id(2)}/*.gz")  # type: ignore[attr-defined]
    os.truncate(path, 10)
    body = await ask(service, ALL)
    assert body["ids"] == [make_id(5), make_id(1)]
    assert (make_id(2), "StoreError") in [(each["profile"], each["reason"]) for each in body["left_out"]]


async def test_it_is_cached_by_what_went_in(service: Service, tmp_path: Path) -> None:
    """Not by the times that were given."""
    first = await service.get(f"{SUMMARY}?{ALL}")
    tag = first.headers["ETag"]
    async with service.listener.app[CONVERSIONS].queue.take("other"):  # a child would have to wait for this
        assert (await service.get(f"{SUMMARY}?{ALL}", If_None_Match=tag)).status == 304
        assert (await service.get(f"{SUMMARY}?since=2020-01-01T00:00:00Z", If_None_Match=tag)).status == 304
    assert (await service.get(f"{SUMMARY}?{ALL}&ordinal=0", If_None_Match=tag)).status == 200
    service.put(6, pack(tmp_path, {"join": 3}))
    await service.settle()
    assert (await service.get(f"{SUMMARY}?{ALL}", If_None_Match=tag)).status == 200


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("since=yesterday", "since"),
        ("since=2026-01-31T09:00:00", "since"),
        (f"{ALL}&until=2026-01-31T09:00:00Z", "until"),
        (f"{ALL}&ids={make_id(1)}", "ids"),
        ("ordinal=1", "ordinal"),
        ("search=nightly", "search"),
        (f"{ALL}&ordinal=x", "ordinal"),
        (f"{ALL}&{ALL}", "since"),
    ],
)
async def test_bad_parameters(service: Service, query: str, parameter: str) -> None:
    details = (await service.get(f"{SUMMARY}?{query}")).assert_error(400, "InvalidParam")
    assert details["parameter"] == parameter


DIFF = "/v0/pipelines/orders/diff"
EARLY = "before_since=2026-01-31T09:00:00Z&before_until=2026-01-31T09:05:00Z"
LATE = "after_since=2026-01-31T09:05:00Z"


async def test_two_ranges_compared(service: Service) -> None:
    body = (await service.get(f"{DIFF}?{EARLY}&{LATE}")).read_json()
    assert (body["ids_before"], body["ids_after"]) == ([make_id(2), make_id(1)], [make_id(5)])
    assert [each["profile"] for each in body["left_out_before"]] == [make_id(3)]
    assert (body["measure"], body["whole_before"], body["whole_after"]) == ("cpu", 3.5, 1.5)
    changes = {each["name"]: (each["self_before"], each["self_after"]) for each in body["changes"]}
    assert changes == {"parse": (2.5, 0), "join": (1, 1.5), "main": (0, 0)}
    table = (await service.get(f"{DIFF}?{EARLY}&{LATE}&output=text")).body.decode()
    times = "2026-01-31T09:01:30Z ordinal 0 to 2026-01-31T09:02:30Z ordinal 1"
    assert table.startswith(f"orders, 2 profiles ({times}): 3.5 ms of CPU\n")
    assert "2026-01-31T09:03:30Z ordinal 0: left out (UnreadableProfile)" in table
    tags = {
        (await service.get(f"{DIFF}?{EARLY}&{LATE}&{more}")).headers["ETag"] for more in ("", "limit=1", "by=group")
    }
    assert len(tags) == 3


async def test_the_same_profiles_divided_in_another_way_are_another_answer(service: Service) -> None:
    """Its ETag as well: the same three files are read."""
    first = await service.get(f"{DIFF}?{EARLY}&{LATE}")
    other = await service.get(f"{DIFF}?{EARLY.replace('09:05', '09:02')}&{LATE.replace('09:05', '09:02')}")
    assert other.read_json()["ids_before"] == [make_id(1)]
    assert first.headers["ETag"] != other.headers["ETag"]


async def test_a_range_and_a_profile_compared(service: Service) -> None:
    """A range of one profile is the same as that profile."""
    by_range = (await service.get(f"{DIFF}?before={make_id(1)}&{LATE}")).read_json()
    by_id = (await service.get(f"{DIFF}?before={make_id(1)}&after={make_id(5)}")).read_json()
    assert by_range["changes"] == by_id["changes"]
    assert (by_range["ids_before"], by_range["ids_after"]) == ([make_id(1)], [make_id(5)])
    (await service.get(f"{DIFF}?before={make_id(3)}&{LATE}")).assert_error(500, "UnreadableProfile")
    (await service.get(f"{DIFF}?before={make_id(9)}&{LATE}")).assert_error(404, "UnknownProfile")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        (EARLY, "after"),
        (f"{EARLY}&after=1", "after"),
        (f"{EARLY}&{LATE}&after={make_id(5)}", "after"),
        (f"{EARLY}&after_since=now", "after_since"),
        (f"{EARLY}&{LATE}&after_until=2026-01-31T09:00:00Z", "after_until"),
        (f"before={make_id(1)}&after={make_id(2)}&ordinal=1", "ordinal"),
    ],
)
async def test_bad_parameters_of_a_comparison(service: Service, query: str, parameter: str) -> None:
    details = (await service.get(f"{DIFF}?{query}")).assert_error(400, "InvalidParam")
    assert details["parameter"] == parameter


async def test_a_flame_graph_and_folded_stacks(service: Service) -> None:
    url = f"/v0/pipelines/orders/samply_profile?{ALL}"
    refused = (await service.get(f"{url}&format=folded")).assert_error(400, "NotInProfile")
    assert refused["reason"] == "UnreadableProfile"
    answer = await service.get(f"{url}&until=2026-01-31T09:03:00Z&format=folded")
    assert sorted(answer.body.decode().splitlines()) == ["app;thread-0;main;join 2", "app;thread-0;main;parse 5"]
    name = "2026-01-31T09:02:30Z-samply_profiles.folded.txt"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    lines = (await service.get(f"{url}&format=folded&measure=cpu&ordinal=1")).body.decode().splitlines()
    assert sorted(lines) == ["app;thread-0;main;join 1000", "app;thread-0;main;parse 500"]
    graph = (await service.get(f"{url}&format=svg")).body.decode()
    assert "<title>join [app] 2,500 µs of CPU, 50.00 %</title>" in graph
    assert "5 ms of CPU · 3 profiles, 1 left out" in graph
    assert "Left out: 2026-01-31T09:03:30Z ordinal 0 (UnreadableProfile)" in graph
    changed = (await service.get(f"{DIFF}?{EARLY}&{LATE}&output=svg")).body.decode()
    assert "3.5 → 1.5 ms of CPU" in changed


@pytest.mark.parametrize(
    ("query", "parameter"),
    [(ALL, "format"), (f"{ALL}&format=speedscope", "format"), ("search=nightly", "search")],
)
async def test_formats_that_a_range_does_not_have(service: Service, query: str, parameter: str) -> None:
    answer = await service.get(f"/v0/pipelines/orders/samply_profile?{query}")
    assert answer.assert_error(400, "InvalidParam")["parameter"] == parameter


async def test_nothing_in_the_range(service: Service) -> None:
    service.operator.pipelines = (make_pipeline("fresh"),)
    await service.settle()
    late = "since=2027-01-01T00:00:00Z"
    (await service.get(f"{SUMMARY}?{late}")).assert_error(400, "NoSamplyProfile")
    (await service.get(f"/v0/pipelines/fresh/summary?{late}")).assert_error(400, "NoSamplyProfile")
    (await service.get(f"/v0/pipelines/nobody/summary?{late}")).assert_error(404, "UnknownPipelineName")


async def test_too_many_are_refused(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_range, "MAX_PROFILES", 2)
    answer = await service.get(f"{SUMMARY}?{ALL}")
    details = answer.assert_error(400, "InvalidParam")
    compared = await service.get(f"{DIFF}?before={make_id(1)}&after_{ALL}")
    assert compared.assert_error(400, "InvalidParam")["parameter"] == "after_since"
    assert (details["profiles"], details["since"]) == (4, "2026-01-31T09:03:30.500Z")
    assert "narrower range" in answer.read_json()["message"]
    assert (await service.get(f"{SUMMARY}?since={details['since']}")).status == 200


async def test_too_little_memory_names_the_cure(service: Service) -> None:
    object.__setattr__(service.listener.app[CONVERSIONS].limits, "memory_bytes", 8 << 20)
    answer = await service.get(f"{SUMMARY}?{ALL}")
    answer.assert_error(500, "ProfileJobFailed")
    assert "narrower range" in answer.read_json()["message"]


async def test_the_child_ends_when_the_client_goes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits here for the rest of a file that never comes."""
    folder = service.volume.root / "profiles" / make_id(5)  # type: ignore[attr-defined]
    started: list[asyncio.subprocess.Process] = []
    start = bounded._start

    async def note(*arguments: Any) -> asyncio.subprocess.Process:
        (path,) = folder.glob("*.gz")
        path.unlink()
        os.mkfifo(path)
        started.append(await start(*arguments))
        return started[0]

    monkeypatch.setattr(bounded, "_start", note)
    request = asyncio.create_task(service.get(f"{SUMMARY}?{ALL}"))

    async def is_started() -> bool:
        return bool(started)

    await wait_until(is_started)
    assert started[0].returncode is None
    request.cancel()
    await asyncio.wait([request])

    async def has_ended() -> bool:
        return started[0].returncode is not None

    await wait_until(has_ended)

    async def is_free() -> bool:
        return not service.listener.app[CONVERSIONS].queue._is_taken

    await wait_until(is_free)
