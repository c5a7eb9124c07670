"""The facts about the target in the object's status."""

from __future__ import annotations

import pytest

from support.fake_cluster import FakeCluster
from support.operator_process import OperatorProcess, add_pipeline, ask


@pytest.mark.parametrize("mode", ["InPlace", "Ephemeral"])
async def test_a_preflight_reports_the_process_and_what_samply_offers(
    operator: OperatorProcess, cluster: FakeCluster, mode: str
) -> None:
    """The chosen one, whichever container it was seen from."""
    (container,) = add_pipeline(cluster)
    ask(cluster, mode=mode, preflightOnly=True)
    shown = (await operator.reach_phase("p-1", "Succeeded"))["preflight"]["facts"]
    assert f"(pid {container.target.pid})" in shown["process"]
    assert "--unstable-presymbolicate" in shown["samplyOffers"]
