"""What the viewer requests of a stored profile: its call tree, a comparison of two, and its threads over time."""

from __future__ import annotations

from pathlib import Path

import pytest

from samply_operator.control.messages import ReviewReply
from samply_operator.profiles.analysis.frame_tree import find_key
from support.fake_operator import bearer, make_recording

from .conftest import Service, make_id

PROFILES = Path(__file__).parents[2] / "data" / "profiles"
HISTORY = "/v0/pipelines/orders/samply_profiles"
TREE = f"{HISTORY}/{make_id(1)}/tree"
TIMELINE = f"{HISTORY}/{make_id(1)}/timeline"


@pytest.fixture(autouse=True)
async def stored(service: Service) -> None:
    service.put(1, (PROFILES / "demo-v55.json.gz").read_bytes())
    service.put(2, (PROFILES / "demo-v49.json.gz").read_bytes(), pipeline="billing")
    service.put(3, b"no profile at all")
    service.put(4, None)
    service.put(5, (PROFILES / "demo-v49.json.gz").read_bytes(), pipeline="secret", namespace="hidden")
    await service.settle()


async def test_the_tree_adds_up(service: Service) -> None:
    body = (await service.get(TREE)).read_json()
    nodes = body["nodes"]
    roots = sum(total for total, parent in zip(nodes["totals"][0], nodes["parent"], strict=True) if parent < 0)
    assert roots == body["sums"][0] == 465
    assert len(nodes["parent"]) == nodes["total"] > 50


async def test_threads_by_number_and_by_range(service: Service) -> None:
    """The same, however they are written; two of three and the other one are the whole."""
    sums = [
        (await service.get(f"{TREE}?threads={threads}")).read_json()["sums"][0]
        for threads in ("0,1", "0-1", "2-999999")
    ]
    assert sums[0] == sums[1]
    assert sums[1] + sums[2] == 465


async def test_a_client_with_the_current_tree_gets_304(service: Service) -> None:
    """The tag depends on the query."""
    first, other = await service.get(TREE), await service.get(f"{TREE}?view=bottom-up")
    assert first.headers["ETag"] != other.headers["ETag"]
    again = await service.get(TREE, If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


async def test_an_omitted_frame_is_fetched_by_its_path(service: Service) -> None:
    part = (await service.get(f"{TREE}?limit=3")).read_json()
    [root, *_] = part["nodes"]["function"]
    assert part["nodes"]["cut"][-1] == 1
    below = (await service.get(f"{TREE}?path={part['functions']['key'][root]}")).read_json()
    assert below["path_found"] == 1
    assert len(below["nodes"]["parent"]) > 3


@pytest.mark.parametrize("by", ["thread", "library"])
async def test_the_tree_is_split_as_requested(service: Service, by: str) -> None:
    body = (await service.get(f"{TREE}?by={by}")).read_json()
    assert body["group_keys"] == [find_key(name) for name in body["groups"]]
    shown = [
        number for number, parent in zip(body["nodes"]["function"], body["nodes"]["parent"], strict=True) if parent < 0
    ]
    assert shown
    assert all(number < -1 for number in shown)


async def test_two_profiles_even_of_two_pipelines(service: Service) -> None:
    body = (await service.get(f"{TREE}?before={make_id(2)}&before_pipeline=billing")).read_json()
    assert len(body["sums"]) == len(body["nodes"]["totals"]) == len(body["functions"]["selves"]) == 2
    missing = await service.get(f"{TREE}?before={make_id(2)}")
    missing.assert_error(404, "UnknownProfile")


async def test_comparing_requires_read_access_to_both_profiles(service: Service) -> None:
    """Otherwise the other profile appears not to exist. Kubernetes is asked about both pipelines' namespaces."""
    query = f"{TREE}?before={make_id(5)}&before_pipeline=secret"
    assert (await service.get(query)).status == 200
    service.operator.review = lambda token, asked: ReviewReply("ana", {"get": ("feldera",)})
    answer = await service.get(query, **bearer("another"))
    answer.assert_error(404, "UnknownProfile")
    assert set(service.operator.reviewed[-1][1].namespaces) == {"feldera", "hidden"}


async def test_lanes(service: Service) -> None:
    body = (await service.get(f"{TIMELINE}?buckets=10&limit=2")).read_json()
    assert (len(body["lanes"]), body["threads_total"]) == (2, 3)
    assert all(len(lane["busy"]) == 10 for lane in body["lanes"])


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("view=sideways", "view"),
        ("by=colour", "by"),
        ("path=xyz", "path"),
        ("path=", "path"),
        ("threads=1,,2", "threads"),
        ("threads=2-1", "threads"),
        ("function=00000000", "function"),
        ("view=callers", "function"),
        ("limit=0", "limit"),
        ("limit=100001", "limit"),
        ("from=5&to=2", "to"),
        (f"before={make_id(2)}&threads=1", "before"),
    ],
)
async def test_what_makes_no_sense_is_refused(service: Service, query: str, parameter: str) -> None:
    details = (await service.get(f"{TREE}?{query}")).assert_error(400, "InvalidParam")
    assert details["parameter"] == parameter


@pytest.mark.parametrize("what", ["tree", "timeline"])
async def test_an_invalid_profile_has_its_own_error(service: Service, what: str) -> None:
    (await service.get(f"{HISTORY}/{make_id(3)}/{what}")).assert_error(500, "UnreadableProfile")
    (await service.get(f"{HISTORY}/{make_id(4)}/{what}")).assert_error(404, "UnknownProfile")
    (await service.get(f"{HISTORY}/{make_id(9)}/{what}")).assert_error(404, "UnknownProfile")


async def test_the_place_in_the_queue(service: Service) -> None:
    """Among all waiting requests, of all callers; nothing else about those is revealed."""
    service.operator.recordings = (
        make_recording(make_id(20), "secret", namespace="hidden", ends_in_secs=None),
        make_recording(make_id(21), "orders", ends_in_secs=None),
        make_recording(make_id(22), "billing"),
    )
    await service.settle()
    assert (await service.get(f"{HISTORY}/{make_id(21)}")).read_json()["queue_position"] == 2
    running = await service.get(f"/v0/pipelines/billing/samply_profiles/{make_id(22)}")
    assert running.read_json()["queue_position"] is None
