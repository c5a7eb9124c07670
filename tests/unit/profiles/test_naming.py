"""Node ids joined with Feldera's dataflow graph: matches, mismatches, and how these are reported."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from samply_operator import profiles
from samply_operator.cli import profile_commands
from samply_operator.profiles.analysis import breakdown
from samply_operator.profiles.attribution import naming
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.attribution.naming import NodeNames
from samply_operator.profiles.output import breakdown_text, folded
from support import marker_maker, profile_maker
from support.marker_maker import evaluate
from support.profile_maker import Sample


def place(line: int) -> dict[str, int]:
    return {"start_line_number": line, "start_column": 1, "end_line_number": line + 1, "end_column": 9}


DATAFLOW: dict[str, Any] = {
    "calcite_plan": {},
    "mir": {
        "s0": {
            "operation": "source_multiset",
            "table": "orders",
            "inputs": [],
            "positions": [place(1)],
            "persistent_id": "aa",
        },
        "s1": {"operation": "join", "inputs": [{"node": "s0", "output": 0}], "positions": [], "persistent_id": "bb"},
        "s2": {
            "operation": "nested",
            "outputs": [{"node": "s3", "output": 0}],
            "s3": {
                "operation": "distinct",
                "inputs": [{"node": "s1", "output": 0}],
                "positions": [],
                "persistent_id": "cc",
            },
        },
        "s4": {
            "operation": "inspect",
            "view": "totals",
            "inputs": [{"node": "s2", "output": 0}],
            "positions": [place(17)],
            "persistent_id": "dd",
        },
    },
}
"""As Feldera 0.337 answers; the hashes are shortened."""


def simple(node: str, label: str) -> dict[str, Any]:
    return {"Simple": {"id": node, "label": label}}


def edge(start: str, end: str) -> dict[str, Any]:
    return {"from_node": start, "to_node": end, "from_cluster": False, "to_cluster": False}


HASHES = {"nn1": "aa", "nn2": "aa.shard", "nn4": "bb", "nn5_n1": "cc", "nn6": "dd", "nn7": "zz"}
GRAPH = {
    "nodes": {
        "id": "n",
        "label": "root",
        "nodes": [
            simple("nn1", "Input"),
            simple("nn2", "ExchangeReceiver @ s/o/shard.rs:79:49"),
            simple("nn3", "MapIndexedZSet @ s/lib.rs:122:87"),
            simple("nn4", "JoinTrace"),
            {"Cluster": {"id": "nn5", "label": "Recursive", "nodes": [simple("nn5_n1", "Distinct")]}},
            simple("nn6", "Inspect"),
            simple("nn7", "AccumulateTraceAppend"),
            simple("nn8", "Constant"),
        ],
    },
    "edges": [edge("nn1", "nn2"), edge("nn2", "nn3"), edge("nn3", "nn4"), edge("nn4", "nn5_n1"), edge("nn4", "nn7")],
}


def build_circuit(*, is_old: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"nn8": {"entries": [["inputs", 0]]} if is_old else []}
    for node, text in HASHES.items():
        metadata[node] = (
            {"entries": [["inputs", 0], ["persistent_id", text]]}
            if is_old
            else [
                {"metric_id": "inputs", "value": 0},
                {"metric_id": "persistent_id", "value": {"type": "string", "value": text}},
            ]
        )
    return {"metrics": [], "worker_profiles": [{"metadata": {}}, {"metadata": metadata}], "graph": GRAPH}


def join(dataflow: Any = DATAFLOW, circuit: Any = None) -> NodeNames:
    return naming.join(
        json.dumps(dataflow).encode(), json.dumps(build_circuit() if circuit is None else circuit).encode()
    )


@pytest.mark.parametrize("is_old", [False, True], ids=["newer", "older"])
def test_each_node_has_what_the_compiler_made_it_of(is_old: bool) -> None:
    names = join(circuit=build_circuit(is_old=is_old)).names
    assert {node: name.describe() for node, name in names.items()} == {
        "nn1": "table orders for totals, SQL 1:1",
        "nn2": "part of table orders for totals, SQL 1:1",
        "nn3": "before join for totals, SQL 17:1",
        "nn4": "join for totals, SQL 17:1",
        "nn5_n1": "distinct for totals, SQL 17:1",
        "nn6": "view totals, SQL 17:1",
        "nn7": "after join for totals, SQL 17:1",
    }
    assert names["nn2"].label == "ExchangeReceiver"


GRAPHLESS: dict[str, Any] = {"graph": {"nodes": {}}}


def graph(*nodes: Any) -> dict[str, Any]:
    return {"graph": {"nodes": {"id": "n", "nodes": [*nodes]}}}


@pytest.mark.parametrize(
    ("dataflow", "circuit", "problem"),
    [
        ({"mir": {}}, None, "no node of the circuit has a hash"),
        ({"mir": {"s0": {"operation": "map", "persistent_id": "other"}}}, None, "another version"),
        ({"message": "no"}, None, "dataflow_graph has an unknown form: mir is missing"),
        ({"mir": []}, None, "there is a list instead of an object, at mir"),
        ({"mir": {"s0": {"operation": ["x"]}}}, None, "there is a list instead of text, at operation"),
        ({"mir": {"s0": {"operation": "map", "positions": "x"}}}, None, "instead of a list, at positions"),
        (DATAFLOW, {"graph": None, "worker_profiles": []}, "has no graph"),
        (DATAFLOW, [], "circuit_json_profile has an unknown form: there is a list instead of an object"),
        (DATAFLOW, {}, "graph is missing"),
        (DATAFLOW, {"graph": {"nodes": 5}}, "at graph.nodes"),
        (DATAFLOW, {"graph": {"nodes": {"nodes": None}}}, "there is null instead of a list, at graph.nodes.nodes"),
        (DATAFLOW, graph(1), "at graph.nodes.nodes[0]"),
        (DATAFLOW, graph("Cluster"), "there is text instead of an object"),
        (DATAFLOW, graph({"Cluster": []}), "there is a list instead of an object"),
        (DATAFLOW, graph({"Simple": 3}), "there is a whole number instead of an object"),
        (DATAFLOW, graph({"Simple": {"label": "Map"}}), "id is missing"),
        (DATAFLOW, graph({"Other": 1}), "no node of the circuit has a hash"),
        (DATAFLOW, GRAPHLESS | {"worker_profiles": [{"metadata": {"n1": None}}]}, "there is null"),
        (DATAFLOW, GRAPHLESS | {"worker_profiles": [{"metadata": {"n1": {"entries": None}}}]}, "there is null"),
        (DATAFLOW, GRAPHLESS | {"worker_profiles": [{"metadata": {"n1": [3, None, ["persistent_id"]]}}]}, "no node"),
    ],
)
def test_answers_that_do_not_fit_give_no_names_and_say_why(dataflow: Any, circuit: Any, problem: str) -> None:
    found = join(dataflow, circuit)
    assert found.names == {}
    assert problem in found.problem


@pytest.mark.parametrize(
    ("dataflow", "circuit"),
    [(b"<html>", b"{}"), (b"\xff\xfe", b"{}"), (b'{"mir":{}}', b'{"graph":'), (b'{"mir":' * 9999, b""), (b"", b"")],
)
def test_text_that_is_no_json_is_no_traceback(dataflow: bytes, circuit: bytes) -> None:
    assert "has an unknown form" in naming.join(dataflow, circuit).problem


def test_graphs_of_any_depth_and_length() -> None:
    """A chain of operations, nested circuits, and loops, in time that grows with their number."""
    chain: dict[str, Any] = {
        f"s{number}": {
            "operation": "map",
            "persistent_id": f"h{number}",
            "inputs": [{"node": f"s{number - 1}"}] if number else [{"node": "s0"}, {"node": "gone"}],
        }
        for number in range(20_000)
    }
    chain["s19999"] |= {"view": "last", "positions": [place(7)]}
    nested = simple("nn1", "Map")
    for number in range(300):
        nested = {"Cluster": {"id": f"nn{number + 2}", "nodes": [nested]}}
    metadata = {"nn1": [["persistent_id", "h0"]]}
    started = time.process_time()
    names = join({"mir": chain}, graph(nested) | {"worker_profiles": [{"metadata": metadata}]}).names
    assert time.process_time() - started < 5
    assert names["nn1"].describe() == "map for last, SQL 7:1"


def test_the_nearest_views_are_listed() -> None:
    views = {f"v{number}": build_view(number) for number in range(50)}
    mir = {"s0": {"operation": "map", "persistent_id": "h"}, **views, "near": build_view(50)}
    mir["far"] = {"operation": "inspect", "view": "far", "inputs": [{"node": "near"}]}
    metadata = {"nn1": [["persistent_id", "h"]]}
    found = join({"mir": mir}, graph(simple("nn1", "Map")) | {"worker_profiles": [{"metadata": metadata}]})
    assert found.names["nn1"].views == [f"view{number}" for number in range(naming.MAX_VIEWS)]


def build_view(number: int) -> dict[str, Any]:
    return {"operation": "inspect", "view": f"view{number}", "inputs": [{"node": "s0"}]}


@pytest.fixture
def profile(tmp_path: Path) -> profiles.Profile:
    document = profile_maker.build([[Sample(("main", "work"))] * 10])
    marker_maker.add(document, 0, [evaluate(1, 4, "Input nn1"), evaluate(4, 11, "JoinTrace nn4")])
    return profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))


def show(profile: profiles.Profile, names: NodeNames | None) -> str:
    attribution = Choice("operator", names=names).build(profile)
    assert attribution is not None
    return breakdown_text.render(breakdown.break_down(profile, attribution, by="operator"))


def test_names_stand_beside_the_operators_in_every_output(profile: profiles.Profile) -> None:
    assert "JoinTrace nn4  join for totals, SQL 17:1\n" in show(profile, join())
    lines = b"".join(folded.convert(profile, choice=Choice("operator", names=join()))).decode()
    assert ";JoinTrace nn4 (join for totals, SQL 17:1);main;work 7\n" in lines


def test_names_of_another_version_of_the_program_are_not_used(profile: profiles.Profile) -> None:
    """Told by a node that the engine calls something else: then no other one can be trusted either."""
    names = join()
    wrong = NodeNames({**names.names, "nn4": msgspec.structs.replace(names.names["nn4"], label="Distinct")})
    table = show(profile, wrong)
    assert (
        "without Feldera's names: they are of another version of the program, which has no node JoinTrace nn4" in table
    )
    assert "totals" not in table


def test_what_lies_beside_the_profile_may_be_broken(profile: profiles.Profile, tmp_path: Path) -> None:
    """The profile is still usable, and the response states why the names are missing."""
    path = naming.find_path(profile.path)
    assert path == tmp_path / "p.operators.json"
    assert "Feldera's names" not in show(profile, None)
    path.write_bytes(msgspec.json.encode(join()))
    assert naming.find_stored_names(profile.path) == join()
    assert "JoinTrace nn4  join for totals" in show(profile, None)
    path.write_bytes(b"{")
    assert "without Feldera's names: the file with them cannot be read" in show(profile, None)
    assert "without Feldera's names: away" in show(profile, NodeNames(problem="away"))


def test_the_command_that_keeps_them_beside_a_profile(
    profile: profiles.Profile, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d.json").write_text(json.dumps(DATAFLOW))
    (tmp_path / "c.json").write_text(json.dumps(build_circuit()))
    command = ["name", str(profile.path), "--dataflow", str(tmp_path / "d.json"), "--circuit"]
    assert profile_commands.main([*command, str(tmp_path / "c.json")]) == 0
    assert "7 operators named" in capfd.readouterr().out
    assert profile_commands.main(["top", str(profile.path), "--by", "operator"]) == 0
    assert "join for totals, SQL 17:1" in capfd.readouterr().out
    assert profile_commands.main([*command, str(tmp_path / "d.json")]) == 1
    assert "circuit_json_profile has an unknown form: graph is missing" in capfd.readouterr().err
