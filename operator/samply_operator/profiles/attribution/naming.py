"""Names for nodes of the circuit that users know: tables, views and places in the SQL, from Feldera's answers. Pure.

Three names meet here. Markers and `circuit_json_profile` have the node's id (`nn18`); the latter has the persistent id
of some nodes (a hash); `dataflow_graph` has for each hash what the SQL compiler made it of. A node that the engine
added for another one has that one's hash with a suffix (`.shard`, `.integral`); one without any hash works for the
nearest nodes after it that have one, as the engine itself says (crate `dbsp`, `mir_refinement_map`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

Relation = Literal["is", "part", "feeds", "follows"]
WORDS: Mapping[Relation, str] = {"is": "", "part": "part of ", "feeds": "before ", "follows": "after "}
SUFFIX = ".operators.json"
MAX_BYTES = 64 << 20
MAX_POSITIONS = 8
MAX_VIEWS = 20
MAX_TEXT = 200


class Position(msgspec.Struct, frozen=True):
    """A range in the program's SQL. Lines and columns count from 1."""

    start_line_number: int = 0
    start_column: int = 0
    end_line_number: int = 0
    end_column: int = 0


class NodeName(msgspec.Struct, frozen=True):
    """`label`: what the engine calls the node. `operation`: what the SQL compiler calls what it was made of.
    `relation`: it `is` that, is a `part` that the engine added for it, `feeds` it, or `follows` it. `views`: those
    whose rows go through it. `positions`: its own, or those of the nearest operations after it."""

    label: str
    operation: str
    relation: Relation
    table: str | None = None
    view: str | None = None
    views: list[str] = []
    positions: list[Position] = []

    def describe(self) -> str:
        """In one line, such as `part of join for totals, SQL 17:1`."""
        what = f"table {self.table}" if self.table else f"view {self.view}" if self.view else self.operation
        shown = [f" for {', '.join(self.views[:2])}{', …' if len(self.views) > 2 else ''}"] if self.views else []
        shown += [f", SQL {each.start_line_number}:{each.start_column}" for each in self.positions[:2]]
        return WORDS[self.relation] + what + "".join(shown)


class NodeNames(msgspec.Struct, frozen=True):
    """Names by node id that are stored with a profile, as of the recording's end. `problem`: why there are none."""

    names: dict[str, NodeName] = {}
    program_version: int | None = None
    problem: str = ""


class _Input(msgspec.Struct):
    node: str


class _Mir(msgspec.Struct):
    operation: str = ""
    table: str | None = None
    view: str | None = None
    inputs: tuple[_Input, ...] = ()
    positions: tuple[Position, ...] = ()
    persistent_id: str | None = None
    outputs: tuple[_Input | None, ...] = ()
    """Of a nested circuit: its nodes whose rows leave it."""
    views: tuple[str, ...] = ()


class _Dataflow(msgspec.Struct):
    mir: dict[str, Any]


class _Simple(msgspec.Struct):
    id: str
    label: str = ""


class _Edge(msgspec.Struct):
    from_node: str
    to_node: str


class _Graph(msgspec.Struct):
    nodes: dict[str, Any]
    edges: list[_Edge] = []


class _Worker(msgspec.Struct):
    metadata: dict[str, Any]


class _Circuit(msgspec.Struct):
    graph: _Graph | None
    worker_profiles: list[_Worker] = []


def find_path(profile: Path) -> Path:
    """The file with the names of a profile's operators: `p.operators.json` for `p.json.gz`."""
    return profile.with_name(profile.name.removesuffix(".gz").removesuffix(".json") + SUFFIX)


def find_stored_names(profile: Path) -> NodeNames | None:
    """The names that are stored with a profile, if any. A broken file is reported in `problem`."""
    try:
        with find_path(profile).open("rb") as file:
            return msgspec.json.decode(file.read(MAX_BYTES), type=NodeNames)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return NodeNames(problem=f"the file with them cannot be read: {str(error)[:MAX_TEXT]}")


def join(dataflow: bytes, circuit: bytes) -> NodeNames:
    """The names of all nodes that have any, from the two answers of Feldera's API; none, and why, if they don't fit."""
    try:
        made_of = _read_dataflow(dataflow)
        found = msgspec.json.decode(circuit, type=_Circuit)
        if found.graph is None:
            return NodeNames(problem="Feldera's profile of the circuit has no graph")
        labels = dict(_walk(found.graph.nodes))
        hashes = _find_hashes(found.worker_profiles)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return NodeNames(problem=f"Feldera's answers are not as they are known here: {str(error)[:MAX_TEXT]}")
    names = {node: name for node in labels if (name := _name(labels[node], hashes.get(node, ""), made_of))}
    if not names:
        return NodeNames(problem="no node of the circuit has a hash that the dataflow graph has: another version of it")
    return NodeNames(_spread(names, labels, found.graph.edges))


def _read_dataflow(data: bytes) -> dict[str, _Mir]:
    """By hash, each with what it serves."""
    nodes = dict(_walk_mir(msgspec.json.decode(data, type=_Dataflow).mir))
    after: dict[str, list[str]] = {}
    for key, node in nodes.items():
        for each in node.inputs:
            after.setdefault(each.node, []).append(key)
    for key, node in nodes.items():
        for each in filter(None, node.outputs):
            after.setdefault(each.node, []).extend(after.get(key, ()))
    for key, node in nodes.items():
        _serve(key, node, nodes, after)
    return {node.persistent_id: node for node in nodes.values() if node.persistent_id}


def _walk_mir(nodes: Mapping[str, Any]) -> Iterator[tuple[str, _Mir]]:
    """Including those of nested circuits."""
    for key, node in nodes.items():
        if not isinstance(node, dict) or "operation" not in node:
            continue
        yield key, msgspec.convert(node, _Mir)
        if node["operation"] == "nested":
            yield from _walk_mir({inner: each for inner, each in node.items() if isinstance(each, dict)})


def _serve(key: str, node: _Mir, nodes: Mapping[str, _Mir], after: Mapping[str, list[str]]) -> None:
    """Find the views that an operation's rows reach, and a place in the SQL where it has none of its own."""
    seen, front, views = {key}, [key], dict[str, None]()
    while front:
        reached = [each for each in dict.fromkeys(n for at in front for n in after.get(at, ())) if each not in seen]
        seen.update(reached)
        front = reached
        for each in map(nodes.__getitem__, (each for each in reached if each in nodes)):
            views.update(dict.fromkeys([each.view] if each.view else []))
            node.positions = node.positions or each.positions
    node.views = tuple(views)[:MAX_VIEWS]


def _walk(cluster: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All nodes with their labels, without the place in the engine's own source."""
    yield str(cluster.get("id", "")), str(cluster.get("label", ""))
    for each in cluster.get("nodes", []):
        if "Cluster" in each:
            yield from _walk(each["Cluster"])
        elif "Simple" in each:
            node = msgspec.convert(each["Simple"], _Simple)
            yield node.id, node.label.partition(" @ ")[0][:MAX_TEXT]


def _find_hashes(workers: list[_Worker]) -> dict[str, str]:
    """By node. Older engines write `["persistent_id", text]`, newer ones an object with the text in `value`."""
    out: dict[str, str] = {}
    for worker in workers:
        for node, metrics in worker.metadata.items():
            entries = metrics.get("entries", []) if isinstance(metrics, dict) else metrics
            text = next(filter(None, map(_read_hash, entries)), "")
            if text:
                out.setdefault(node, text)
    return out


def _read_hash(entry: Any) -> str:
    match entry:
        case ["persistent_id", str() as text] | {"metric_id": "persistent_id", "value": str() as text}:
            return text
        case {"metric_id": "persistent_id", "value": {"value": str() as text}}:
            return text
    return ""


def _name(label: str, text: str, made_of: Mapping[str, _Mir]) -> NodeName | None:
    own = made_of.get(text)
    if own is not None:
        return _build(label, own, "is")
    part = next((made_of[each] for each in text.split(".") if each in made_of), None)
    return None if part is None else _build(label, part, "part")


def _build(label: str, mir: _Mir, relation: Relation) -> NodeName:
    return NodeName(
        label, mir.operation, relation, mir.table, mir.view, list(mir.views), list(mir.positions[:MAX_POSITIONS])
    )


def _spread(names: Mapping[str, NodeName], labels: Mapping[str, str], edges: list[_Edge]) -> dict[str, NodeName]:
    """Nodes without a hash have the name of the nearest after them that has one, or of the nearest before."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for edge in edges:
        before.setdefault(edge.to_node, []).append(edge.from_node)
        after.setdefault(edge.from_node, []).append(edge.to_node)
    known = _reach(names, labels, before, "feeds")
    return _reach(known, labels, after, "follows")


def _reach(
    names: Mapping[str, NodeName], labels: Mapping[str, str], onward: Mapping[str, list[str]], relation: Relation
) -> dict[str, NodeName]:
    """With the nodes without a name that can be reached from those with one; the nearest counts."""
    known, front = dict(names), list(names)
    while front:
        following = []
        for node in front:
            for each in onward.get(node, ()):
                if each in labels and each not in known:
                    known[each] = msgspec.structs.replace(known[node], label=labels[each], relation=relation)
                    following.append(each)
        front = following
    return known
