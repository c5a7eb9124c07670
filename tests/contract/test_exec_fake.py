"""The exec contract against the test server, with one protocol, the other, or both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.exec_contract import Door, ExecContract, Place
from samply_operator.kube.channels import PROTOCOLS
from samply_operator.kube.client import KubeClient
from samply_operator.kube.connection import load_plain
from support.exec_server import ExecServer


class TestFakeExec(ExecContract):
    @pytest.fixture(params=[*((protocol,) for protocol in PROTOCOLS), PROTOCOLS], ids="+".join)
    async def door(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Door]:
        async with ExecServer(protocols=request.param) as server, KubeClient(load_plain(server.url)) as client:
            folder = tmp_path / "pod"
            folder.mkdir()
            yield Door(client, Place("space", "pod", "main"), str(folder))
