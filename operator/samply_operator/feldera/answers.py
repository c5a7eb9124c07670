"""The answers of Feldera's API that are read here, as far as they are read. Source: its openapi.json, 0.337.0.

Unknown fields are ignored: a newer Feldera adds some. What is required there and read here is required here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"
MAX_NAME = 100


class PipelineInfo(msgspec.Struct, frozen=True):
    """`PipelineSelectedInfo`, of `selector=status`. `id` is what the pods' label `feldera.com/pipeline-id` ends in."""

    id: Annotated[str, msgspec.Meta(pattern=UUID)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
    deployment_status: str
    program_version: int
    platform_version: str
    deployment_id: str | None = None
    """Changes with each start of the pipeline; None: it does not run."""


class Session(msgspec.Struct, frozen=True):
    """`SessionInfo`: whose the bearer is. None: a user of several tenants who named none of them."""

    tenant_name: str | None = None
    role: str | None = None
    """read, write, admin or owner."""


class Config(msgspec.Struct, frozen=True):
    """`Configuration`."""

    edition: str
    """"Open source" or "Enterprise"."""
    version: str


class Stats(msgspec.Struct, frozen=True):
    """`ControllerStatus`. The metrics' names are the engine's: cpu_msecs, rss_bytes, memory_pressure, …"""

    global_metrics: dict[str, object]


class ErrorBody(msgspec.Struct, frozen=True):
    """`ErrorResponse`; a refused key comes without `details`."""

    message: str = ""
    error_code: str = ""
