"""Each row of the HTTP contract, against the service in this process.

What surrounds a case (headers of the file, ranges, texts) has tests of its own beside this one.
"""

from __future__ import annotations

import pytest

from contract.http.table import GETS, PATH, POSTS, Row, is_running, starts
from support.service import Service, make_id


@pytest.mark.parametrize("row", [*POSTS, *GETS], ids=lambda row: f"{row.method}: {row.case}")
async def test_row(service: Service, row: Row) -> None:
    """Each row as it is. Requests name a tenant, which never matters."""
    for given in row.given:
        given(service)
    await service.settle()
    if row.is_away:
        await service.send_away()
    answer = await service.ask(row.method, PATH + row.query, Feldera_Tenant="acme")
    row.check(answer.status, answer.headers, answer.body)


def test_the_names_tell_the_rows_apart() -> None:
    names = [(row.method, row.case) for row in (*POSTS, *GETS)]
    assert len(names) == len(set(names))


async def test_a_post_that_is_sent_again_harms_nothing(service: Service) -> None:
    """As the SDK does after a time-out: one recording, and the repeat names it."""
    is_running(service)
    starts(service)
    await service.settle()
    first, second = await service.post(PATH), await service.post(PATH)
    assert first.headers["Location"].endswith(make_id(9))
    assert second.assert_error(409, "SamplyProfilingInProgress")["profile"] == make_id(9)
    assert len(service.operator.recordings) == 1
