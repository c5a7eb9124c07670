"""This service and Feldera's API server under one host, as described in docs/publishing.md: one URL, one key."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from chart import helm
from samply_operator.control.messages import StartReply
from samply_operator.settings import Api, ApiKeys, Auth, FelderaWay
from sdk import run
from support import front_proxy, needs
from support.fake_feldera import READER, SPEC, STRANGER, FakeFeldera, make_pipeline_id, serve_two_tenants
from support.fake_operator import make_pipeline, make_recording
from support.guarded import GUARDED
from support.service import Service, make_id, serving

DOCS = Path(__file__).parents[2] / "docs" / "publishing.md"
PROFILE = (Path(__file__).parents[1] / "data" / "profiles" / "demo-v55.json.gz").read_bytes()
OURS = re.compile(r"/v0/pipelines/[^/]+/samply_profiles?(/.*)?|/profiles/.*")
FELDERAS = sorted(set(SPEC["paths"]) | set(SPEC["other_paths"]))
AUTH = Auth(api_keys=ApiKeys(enabled=True), feldera=FelderaWay(enabled=True))


def read_recipe(title: str) -> dict[str, Any]:
    """The values in the block that begins with this comment."""
    block = re.search(rf"```yaml\n# one host: {title}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert block is not None
    values: dict[str, Any] = yaml.safe_load(block[1])
    return values


def list_paths() -> list[str]:
    """All of Feldera's, and all of this service's at both of their places."""
    own = [path.partition("?")[0] for _, path in GUARDED]
    felderas = [re.sub(r"{\w+}", "x", path) for path in FELDERAS]
    return [*felderas, *own, *("/profiles" + path for path in own), "/", "/profiles/docs", "/v0/pipelines/a%2Fb/stats"]


def is_matched(route: dict[str, Any], path: str) -> bool:
    """As the Gateway API defines it; a regular expression fits whole, as Envoy has it."""
    for match in route["spec"]["rules"][0]["matches"]:
        kind, value = match["path"]["type"], match["path"]["value"]
        is_prefix = path == value or path.startswith(value + "/")
        if re.fullmatch(value, path) if kind == "RegularExpression" else is_prefix:
            return True
    return False


def test_the_routes_matches_take_ours_and_leave_felderas() -> None:
    (route,) = helm.select(helm.render(read_recipe("HTTPRoute")), "HTTPRoute")
    for path in list_paths():
        assert is_matched(route, path) == bool(OURS.fullmatch(path)), path


@pytest.fixture
async def feldera() -> AsyncIterator[FakeFeldera]:
    async with serve_two_tenants() as feldera:
        yield feldera


@pytest.fixture
async def service(feldera: FakeFeldera) -> AsyncIterator[Service]:
    with tempfile.TemporaryDirectory(prefix="so-") as folder:
        api = Api(base_path="/profiles", requests_per_sec=0)
        async with serving(Path(folder), api, auth=AUTH, feldera_url=feldera.url) as service:
            service.operator.pipelines = (make_pipeline("orders", ids=(make_pipeline_id(1),)),)
            service.put(1, PROFILE, pipeline_id=make_pipeline_id(1))
            await service.settle()
            yield service


@pytest.fixture
async def host(service: Service, feldera: FakeFeldera, tmp_path: Path) -> AsyncIterator[str]:
    needs.need("nginx")
    (ours,) = helm.select(helm.render(read_recipe("Ingress")), "Ingress")
    name = ours["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"]
    backends = {name: f"http://127.0.0.1:{service.port}", "feldera-api-server": feldera.url}
    ingresses = [ours, front_proxy.make_ingress_of_feldera("feldera.example.com")]
    async with front_proxy.proxying(tmp_path, ingresses, backends) as url:
        yield url


async def test_each_path_reaches_the_right_service(host: str) -> None:
    """This service identifies itself in each response."""
    async with aiohttp.ClientSession() as session:
        for path in list_paths():
            async with session.get(host + path, headers={"Authorization": "Bearer x"}, allow_redirects=False) as answer:
                is_ours = "X-Request-Id" in answer.headers
            assert is_ours == bool(OURS.fullmatch(path)), path


async def test_the_sdk_with_one_url_and_one_key(host: str, service: Service, feldera: FakeFeldera) -> None:
    """Pipelines and versions are Feldera's, profiles are ours."""
    run.need_sdk()
    service.operator.answer = lambda _: StartReply(make_id(9), "feldera", "r", "Recording")
    service.operator.recordings = (make_recording(make_id(9), "orders", pipeline_id=make_pipeline_id(1)),)
    await service.settle()
    listed, got, started = await run.run(host, "list:", "get:orders", "start:orders:5", key=READER)
    assert listed == {"orders": make_pipeline_id(1)}
    assert got == {"sha256": hashlib.sha256(PROFILE).hexdigest(), "size_bytes": len(PROFILE)}
    assert started == {"started": "orders"}
    assert feldera.started == [], "it was not Feldera that was asked to profile"


async def test_another_tenants_key_under_the_same_url(host: str) -> None:
    run.need_sdk()
    (refused,) = await run.run(host, "get:orders", key=STRANGER)
    assert (refused["status"], refused["error_code"]) == (404, "UnknownPipelineName")


async def test_the_sdk_with_felderas_key_against_this_service_alone(service: Service) -> None:
    """It sees Feldera's own version, and so it does not warn."""
    run.need_sdk()
    said: list[str] = []
    (got,) = await run.run(f"http://127.0.0.1:{service.port}", "get:orders", key=READER, warnings=said)
    assert got["size_bytes"] == len(PROFILE)
    assert not [line for line in said if "incompatibilities" in line]


async def test_a_key_that_feldera_does_not_know(service: Service) -> None:
    """Whatever the SDK asks for is refused at once."""
    run.need_sdk()
    url = f"http://127.0.0.1:{service.port}"
    for refused in await run.run(url, "get:orders", "start:orders:1", key="apikey:revoked"):
        assert (refused["status"], refused["error_code"]) == (401, "Unauthenticated")
