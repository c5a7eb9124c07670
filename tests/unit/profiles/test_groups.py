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

REGISTRY = "cargo:registry:"
RUST = "git:github.com/rust-lang/rust:library/"
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
        # Names from debug information have no module, and type arguments that have one.
        (
            Function("eval_key<a::b<c>>", "app", f"{REGISTRY}dbsp-0.349.0:src/operator/dynamic/aggregate/max.rs"),
            "aggregate",
        ),
        (
            Function(
                "{async_block#1}<Spine>",
                "app",
                "/root/.cargo/registry/src/index-1/dbsp-0.349.0/src/operator/dynamic/join.rs",
            ),
            "join",
        ),
        (
            Function(
                "{closure#0}",
                "app",
                "git:github.com/feldera/feldera:crates/dbsp/src/trace/spine_async/list_merger.rs:1f",
            ),
            "merge of spines",
        ),
        (Function("step_key", "app", f"{REGISTRY}dbsp-0.349.0:src/trace/cursor/cursor_list.rs"), None),
        (
            Function("poll<dbsp::operator::join::X>", "app", f"{REGISTRY}tokio-1.54.1:src/runtime/task/raw.rs"),
            "scheduling",
        ),
        (Function("len<usize, alloc::alloc::Global>", "app", f"{RUST}alloc/src/vec/mod.rs"), None),
        (Function("<alloc::boxed::Box<dyn F, alloc::alloc::Global> as core::ops::FnOnce<()>>::call_once", "app"), None),
        (Function("alloc_impl", "app", f"{RUST}alloc/src/alloc.rs:59"), "allocation"),
        (Function("deserialize", "app", f"{REGISTRY}serde_json-1.0.1:src/de.rs"), "serialization"),
        (Function("open", "app", f"{RUST}std/src/sys/fs/unix.rs"), "I/O"),
        (Function("write", "app", f"{RUST}std/src/sys/pal/unix/fs.rs"), "I/O"),
        (Function("connect", "app", f"{RUST}std/src/sys_common/net.rs"), "I/O"),
        (Function("_GI___libc_write", "libc.so.6"), "I/O"),
        (Function("write", "app", f"{REGISTRY}xxhash-rust-0.8.19:src/xxh3.rs"), None),
        (Function("poll", "app", "/src/feldera/crates/adapters/src/transport/kafka/input.rs"), "input connectors"),
        (Function("encode", "app", "/src/feldera/crates/adapters/src/format/json/output.rs"), "output connectors"),
    ],
    ids=lambda value: value.name[:40] if isinstance(value, Function) else "",
)
def test_the_shipped_rules_know_the_engine(function: Function, group: str | None) -> None:
    assert next((rule.name for rule in rules.load() if rule.matches(function)), None) == group


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f", "f"),
        ("f<u64>", "f<>"),
        ("<Vec<T> as Read<U>>::read<V>", "<Vec<> as Read<>>::read<>"),
        ("map<fn(&T) -> Vec<u8>>::x", "map<>::x"),
        ("vec<<A as B<C>>::D>::push", "vec<>::push"),
        ("operator<", "operator<"),
        ("operator->", "operator->"),
        ("a<b", "a<b"),
        ("<" * 5000, "<" * 5000),
    ],
    ids=lambda value: value[:20],
)
def test_type_arguments_are_left_out(name: str, expected: str) -> None:
    assert rules.strip_arguments(name) == expected


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
