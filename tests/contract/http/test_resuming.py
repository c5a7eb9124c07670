"""Resumed downloads: a client always assembles one profile, never parts of two."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from support.service import Service

URL = "/v0/pipelines/orders/samply_profile"
OLD, NEW = random.Random(1).randbytes(200_000), random.Random(2).randbytes(210_000)


@dataclass(slots=True)
class Client:
    """Has the first bytes of a file, and which file it was."""

    have: bytes
    tag: str


async def begin(service: Service, size_bytes: int) -> Client:
    answer = await service.get(URL, Range=f"bytes=0-{size_bytes - 1}")
    assert answer.status == 206
    return Client(answer.body, answer.headers["ETag"])


async def resume(service: Service, client: Client) -> bytes:
    """Cut off once more on the way; begins anew where it is sent the whole."""
    for stop in (len(client.have) + 20_000, 10**9):
        answer = await service.get(URL, Range=f"bytes={len(client.have)}-{stop}", If_Range=client.tag)
        if answer.status == 200:
            return answer.body
        assert answer.status == 206
        client.have += answer.body
        assert answer.headers["ETag"] == client.tag
    return client.have


async def test_a_resumed_download_never_mixes_two_profiles(service: Service) -> None:
    """Whatever part of the old one each client had, each ends with the complete new one."""
    service.put(1, OLD)
    await service.settle()
    clients = [await begin(service, size_bytes) for size_bytes in (1, 70_000)]
    service.put(2, NEW)
    await service.settle()
    assert await asyncio.gather(*(resume(service, client) for client in clients)) == [NEW, NEW]


async def test_without_a_new_profile_the_parts_make_the_whole(service: Service) -> None:
    service.put(1, OLD)
    await service.settle()
    assert await resume(service, await begin(service, 70_000)) == OLD


async def test_if_match_with_a_replaced_file_is_refused(service: Service) -> None:
    """The other way to resume: 412, and nothing is sent."""
    service.put(1, OLD)
    await service.settle()
    tag = (await service.ask("HEAD", URL)).headers["ETag"]
    service.put(2, NEW)
    await service.settle()
    (await service.get(URL, Range="bytes=1000-", If_Match=tag)).assert_error(412, "PreconditionFailed")


async def test_by_its_own_address_a_profile_never_changes(service: Service) -> None:
    """There resuming needs no condition."""
    manifest = service.put(1, OLD)
    await service.settle()
    path = f"/v0/pipelines/orders/samply_profiles/{manifest.id}/profile"
    start = await service.get(path, Range="bytes=0-999")
    service.put(2, NEW)
    await service.settle()
    assert start.body + (await service.get(path, Range="bytes=1000-")).body == OLD
