"""Pages of other origins: only those in the settings, with all headers that Feldera's web console reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from samply_operator.settings import Api, Cors
from support.service import Service, serving

URL = "/v0/pipelines/orders/samply_profile"
DEMO = Path(__file__).parents[2] / "data" / "profiles" / "demo-v55.json.gz"
CONSOLE, OTHER = "https://console.example.com", "https://evil.example.com"


def ask_first(origin: str, method: str = "GET") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access_Control_Request_Method": method,
        "Access_Control_Request_Headers": "authorization",
    }


class TestAllowed:
    @pytest.fixture
    async def service(self, folder: Path) -> AsyncIterator[Service]:
        async with serving(folder, Api(cors=Cors((CONSOLE,)))) as service:
            service.put(1, b"data")
            await service.settle()
            yield service

    async def test_the_console_may_ask_with_its_token(self, service: Service) -> None:
        """The browser's question comes without one."""
        answer = await service.ask("OPTIONS", URL, **ask_first(CONSOLE, "POST"))
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == CONSOLE
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["Vary"] == "Origin"

    @pytest.mark.parametrize("path", [URL, "/v0/pipelines/none/samply_profile", "/nowhere", URL + "?ordinal=x"])
    async def test_the_console_may_read_each_answer(self, service: Service, path: str) -> None:
        """Files and errors, with the headers that it parses."""
        answer = await service.get(path, Origin=CONSOLE)
        assert answer.headers["Access-Control-Allow-Origin"] == CONSOLE
        exposed = answer.headers["Access-Control-Expose-Headers"].lower().split(", ")
        assert {"content-disposition", "retry-after", "content-length", "etag"} <= set(exposed)

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Sec_Fetch_Site": "same-origin"}, 503),
            ({"Sec_Fetch_Site": "none"}, 503),
            ({}, 503),
            ({"Sec_Fetch_Site": "cross-site", "Origin": CONSOLE}, 503),
            ({"Sec_Fetch_Site": "cross-site", "Origin": OTHER}, 403),
            ({"Sec_Fetch_Site": "same-site", "Origin": OTHER}, 403),
            ({"Sec_Fetch_Site": "cross-site", "Origin": "null"}, 403),
        ],
    )
    async def test_a_form_of_another_site_changes_nothing(
        self, service: Service, headers: dict[str, str], status: int
    ) -> None:
        """Whatever credentials a proxy adds to what the browser sends."""
        assert (await service.ask("POST", URL, **headers)).status == status
        assert len(service.operator.started) == (0 if status == 403 else 1)
        assert (await service.get(URL, **headers)).status == 200

    async def test_another_origin_is_not_allowed(self, service: Service) -> None:
        assert (await service.ask("OPTIONS", URL, **ask_first(OTHER))).status == 405
        answer = await service.get(URL, Origin=OTHER)
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers

    async def test_caches_know_that_it_depends_on_the_origin(self, service: Service) -> None:
        """Also for a request without an Origin; other values of Vary are kept."""
        assert (await service.get(URL)).headers["Vary"] == "Origin"
        service.put(2, DEMO.read_bytes())
        await service.settle()
        answer = await service.ask("HEAD", URL + "?format=folded")
        assert answer.headers["Vary"] == "Accept, Origin"


async def test_no_cors_headers_by_default(service: Service) -> None:
    answer = await service.get("/v0/config", Origin=CONSOLE)
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert "Vary" not in answer.headers
    assert (await service.ask("OPTIONS", URL, **ask_first(CONSOLE))).status == 405


async def test_all_origins(folder: Path) -> None:
    """Without a browser's own credentials, which the specification forbids beside it."""
    async with serving(folder, Api(cors=Cors(("*",)))) as service:
        for origin in (CONSOLE, OTHER):
            answer = await service.get("/v0/config", Origin=origin)
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert "Vary" not in answer.headers
            assert (await service.ask("OPTIONS", URL, **ask_first(origin))).status == 204
