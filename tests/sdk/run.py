"""Runs Feldera's SDK in its own environment, against an address of this machine."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from support import needs

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("SAMPLY_TEST_SDK", HERE.parents[1] / "build" / "out" / "sdk")) / "bin" / "python"
RUN_SECS = 100
"""pandas alone takes seconds to load, on a busy machine many."""


def need_sdk() -> None:
    if not PYTHON.exists():
        needs.lack("Feldera's SDK", "tests/sdk/install")


async def run(
    url: str, *steps: str, key: str = "", tenant: str = "", warnings: list[str] | None = None
) -> list[dict[str, Any]]:
    """What each step gave; see client.py. What the SDK logs is added to `warnings`."""
    env = {"PATH": os.environ["PATH"], "FELDERA_API_KEY": key, "FELDERA_TENANT": tenant}
    process = await asyncio.create_subprocess_exec(
        str(PYTHON), str(HERE / "client.py"), url, *steps,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env,
    )  # fmt: skip
    async with asyncio.timeout(RUN_SECS):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    if warnings is not None:
        warnings += err.decode().splitlines()
    return [json.loads(line) for line in out.splitlines()]
