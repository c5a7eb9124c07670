"""Samples by group: rules on names, paths and libraries; the innermost match counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from samply_operator import profiles
from samply_operator.profiles.analysis import breakdown
from samply_operator.profiles.analysis.breakdown import Breakdown
from samply_operator.profiles.analysis.calltree import Function
from samply_operator.profiles.attribution import rules
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.attribution.groups import UNMATCHED
from samply_operator.profiles.errors import InvalidRules
from samply_operator.profiles.output import breakdown_text
from support import profile_maker
from support.profile_maker import Sample

JOIN = "dbsp::operator::dynamic::join::JoinTrace<F>::eval"


def split(samples: list[Sample], tmp_path: Path, own: str = "") -> Breakdown:
    profile = profiles.read(profile_maker.save(profile_maker.build([samples]), tmp_path / "p.json.gz"))
    choice = Choice("group", own)
    attribution = choice.build(profile)
    assert attribution is not None
    return breakdown.break_down(profile, attribution, by="group")


def test_the_innermost_function_that_has_a_group_counts(tmp_path: Path) -> None:
    """The total is of all samples that have it anywhere; a function without a group counts for its caller's."""
    samples = [
        Sample(("main", JOIN, "seek"), weight=5),
        Sample(("main", JOIN, "malloc"), weight=2),
        Sample(("main", JOIN, "malloc", "helper"), weight=1),
        Sample(("main", "other"), weight=4),
    ]
    sums = split(samples, tmp_path)
    found = {(label.name, label.kind): (label.self_weight, label.total_weight) for label in sums.labels}
    assert found == {
        ("join", "group"): (5, 8),
        ("allocation", "group"): (3, 3),
        (UNMATCHED, "outside"): (4, 4),
    }
    assert sums.weight == 12
    table = breakdown_text.render(sums)
    assert "  (no rule matches)\n" in table
    assert "matched by no rule" in table


def test_own_rules_come_first_and_may_add_to_a_shipped_group(tmp_path: Path) -> None:
    own = """
    [[group]]
    name = "regions"
    function = ['^seek$']
    [[group]]
    name = "allocation"
    function = ['^other$']
    """
    samples = [Sample(("main", JOIN, "seek")), Sample(("main", "other")), Sample(("main", "malloc"))]
    assert {label.name: label.self_weight for label in split(samples, tmp_path, own).labels} == {
        "regions": 1,
        "allocation": 2,
        "join": 0,
    }


@pytest.mark.parametrize(
    ("function", "group"),
    [
        (Function(JOIN, "app"), "join"),
        (Function("<dbsp::operator::dynamic::aggregate::AggregateIncremental<Z> as X>::eval", "app"), "aggregate"),
        (Function("dbsp::trace::spine_async::AsyncMerger<B>::run", "app"), "merge of spines"),
        (Function("dbsp::operator::communication::exchange::Exchange<T>::try_send", "app"), "exchange"),
        (Function("<rkyv::ser::Serializer as X>::write", "app"), "serialization"),
        (Function("mi_malloc_aligned", "app"), "allocation"),
        (Function("dbsp::storage::file::writer::Writer::write", "app"), "I/O"),
        (Function("dbsp::circuit::dynamic_scheduler::DynamicScheduler::step", "app"), "scheduling"),
        (Function("std::thread::park_timeout", "app"), "idle"),
        (
            Function("dbsp_adapters::transport::kafka::ft::input::KafkaFtInputReader::poller_thread", "app"),
            "input connectors",
        ),
        (Function("dbsp_adapters::format::json::output::JsonEncoder::encode", "app"), "output connectors"),
        (Function("<dbsp::operator::filter_map::Map<F> as X>::eval", "app"), "map and filter"),
        (Function("anything", "libmimalloc.so.2"), "allocation"),
        (Function("core::ptr::drop_in_place", "app"), None),
        (Function("dbsp::dynamic::lean_vec::RawVec::index", "app"), None),
        (Function("main", "app", "src/main.rs"), None),
    ],
    ids=lambda value: value.name[:40] if isinstance(value, Function) else "",
)
def test_the_shipped_rules_know_the_engine(function: Function, group: str | None) -> None:
    assert next((rule.name for rule in rules.load() if rule.matches(function)), None) == group


def test_paths_and_libraries_match_too() -> None:
    (rule,) = rules.parse("[[group]]\nname = 'x'\npath = ['/join\\.rs$']\nlibrary = ['^libj']", "here")
    assert rule.matches(Function("f", "app", "src/join.rs"))
    assert rule.matches(Function("f", "libj.so"))
    assert not rule.matches(Function("join.rs", "app", "src/join.rs.c"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[group", "end of an array declaration"),
        ("group = 3", "there is a whole number instead of a list, at group"),
        ("[[group]]\nname = 'x'", "at least one pattern"),
        ("[[group]]\nname = ''\nfunction = ['a']", "needs a name"),
        ("[[group]]\nname = 'x'\nfunction = ['(']", "unterminated"),
        ("[[group]]\nname = 'x'\nfunktion = ['a']", "there is the unknown field `funktion`"),
        ("".join(f"[[group]]\nname = 'g{n}'\nfunction = ['a']\n" for n in range(63)), "62 are possible"),
    ],
    ids=["toml", "type", "no pattern", "no name", "pattern", "typo", "too many"],
)
def test_rules_that_are_no_good_name_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(InvalidRules, match=complaint):
        rules.load(text)
