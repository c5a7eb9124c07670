"""A real recording of samply 0.13.1, from file to names and sums."""

from __future__ import annotations

from pathlib import Path

import pytest

from samply_operator import profiles

DATA = Path(__file__).parents[2] / "data" / "profiles"
RAW = DATA / "demo-v55.json.gz"
SIDECAR = DATA / "demo-v55.syms.json"
LABEL = profiles.Label("orders, host 1 of 2", process="host 1 of 2", info=(("pipeline", "orders"),))


@pytest.fixture
def baked(tmp_path: Path) -> Path:
    out = tmp_path / "baked.json.gz"
    profiles.bake(RAW, SIDECAR, out, label=LABEL)
    return out


def test_raw_profile_has_samples_and_no_names() -> None:
    facts = profiles.facts(profiles.read(RAW))
    assert (facts.samples, facts.threads, facts.symbolicated) == (3853, 3, False)
    assert facts.unresolved_percent == 100.0
    assert facts.cpu_ms == pytest.approx(7703.765)


def test_baked_profile_has_names_and_the_same_samples(baked: Path) -> None:
    facts = profiles.facts(profiles.read(baked))
    assert (facts.samples, facts.threads, facts.symbolicated) == (3853, 3, True)
    assert facts.unresolved_percent == pytest.approx(100 / 3853)
    assert facts.product == "orders, host 1 of 2"


def test_top_names_the_functions_that_the_demo_program_spends_its_time_in(baked: Path) -> None:
    summary = profiles.top(profiles.read(baked), limit=2)
    assert [cost.name for cost in summary.all_threads.by_self] == ["sort_batch", "hash_rows"]
    assert [cost.name for cost in summary.threads[0].by_total][-1] == "fun_94af0"


def test_a_recursive_function_never_has_more_than_all_of_the_total(baked: Path) -> None:
    summary = profiles.top(profiles.read(baked), limit=100)
    descend = next(cost for cost in summary.all_threads.by_total if cost.name == "descend")
    assert descend.self_weight < descend.total_weight < summary.all_threads.weight


def test_baking_twice_gives_the_same_bytes(baked: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.json.gz"
    profiles.bake(RAW, SIDECAR, again, label=LABEL)
    assert again.read_bytes() == baked.read_bytes()
