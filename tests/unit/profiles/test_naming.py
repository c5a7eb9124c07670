"""Node ids joined with Feldera's dataflow graph: matches, mismatches, and how these are reported."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize(
    ("dataflow", "circuit", "problem"),
    [
        ({"mir": {}}, None, "no node of the circuit has a hash"),
        ({"mir": {"s0": {"operation": "map", "persistent_id": "other"}}}, None, "another version"),
        ({"message": "no"}, None, "not as they are known here"),
        (DATAFLOW, {"graph": None, "worker_profiles": []}, "has no graph"),
        (DATAFLOW, {"graph": {"nodes": {"id": "n", "nodes": [{"Simple": 3}]}}}, "not as they are known here"),
        (DATAFLOW, [], "not as they are known here"),
        ({"mir": {"s0": {"operation": "map", "positions": "x"}}}, None, "not as they are known here"),
    ],
)
def test_answers_that_do_not_fit_give_no_names_and_say_why(dataflow: Any, circuit: Any, problem: str) -> None:
    found = join(dataflow, circuit)
    assert found.names == {}
    assert problem in found.problem


def test_text_that_is_no_json_is_no_traceback() -> None:
    assert "not as they are known here" in naming.join(b"<html>", b"{").problem


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
    assert "not as they are known here" in capfd.readouterr().err
