"""schemathesis against the whole interface: every request, valid or not, gets a documented response.

A real server on a real port; behind it a scripted operator, stored profiles and a failure.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fuzz import scripted
from samply_operator.control.messages import Credentials
from samply_operator.settings import Api, Links
from support.fake_operator import KEY, make_key
from support.service import Service, serving

HERE = Path(__file__).parent
PROFILE = (HERE.parent / "data" / "profiles" / "demo-v55.json.gz").read_bytes()
PROGRAM = Path(sys.executable).with_name("schemathesis")
RUN_SECS = 600
"""Time enough on a busy machine."""
CASES = int(os.environ.get("SCHEMATHESIS_CASES", "12"))
"""For each operation, in each way of making them; more of them take longer and find no less."""


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    with tempfile.TemporaryDirectory(prefix="so-") as folder:
        async with serving(Path(folder), Api(links=Links(secret_name="links"), requests_per_sec=0)) as service:
            scripted.play(service)
            for number in range(1, 6):
                service.put(number, PROFILE)
            service.put(6, None, pipeline="Customers_2")
            service.put(7, PROFILE, ordinal=1)
            service.operator.credentials = Credentials((make_key(KEY),), (b"k" * 32,), time.time())
            await service.settle()
            yield service


async def run(url: str, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM), f"--config-file={HERE / 'schemathesis.toml'}", "run", url, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=HERE.parents[1],
    )  # fmt: skip
    async with asyncio.timeout(RUN_SECS):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


@pytest.mark.timeout(RUN_SECS + 30)
async def test_every_answer_is_as_documented(service: Service) -> None:
    """Of all operations, with valid and with invalid requests, alone and in sequences."""
    arguments = ["--no-color", "--continue-on-failure", "--exclude-checks=missing_required_header"]
    arguments += ["-H", f"Authorization: Bearer {KEY}"]
    arguments += ["--request-timeout=95"]  # a conversion may wait for its turn, and take 90 s
    status, out = await run(f"http://127.0.0.1:{service.port}/openapi.json", "-n", str(CASES), *arguments)
    print(out[out.index("= SUMMARY =") :])
    assert status == 0, out
    generated = re.search(r"(\d+) generated, (\d+) passed", out)
    assert generated is not None
    assert int(generated[1]) > 500
    operations = re.search(r"Selected: (\d+)/(\d+)\n *Tested: (\d+)", out)
    assert operations is not None
    assert len(set(operations.groups())) == 1
