"""Names for nodes of the circuit that users know: tables, views and places in the SQL, from Feldera's answers. Pure.

Three names meet here. Markers and `circuit_json_profile` have the node's id (`nn18`); the latter has the persistent id
of some nodes (a hash); `dataflow_graph` has for each hash what the SQL compiler made it of. A node that the engine
added for another one has that one's hash with a suffix (`.shard`, `.integral`); one without any hash works for the
nearest nodes after it that have one, as the engine itself says (crate `dbsp`, `mir_refinement_map`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from samply_operator import json_errors

Relation = Literal["is", "part", "feeds", "follows"]
WORDS: Mapping[Relation, str] = {"is": "", "part": "part of ", "feeds": "before ", "follows": "after "}
SUFFIX = ".operators.json"
MAX_BYTES = 64 << 20
MAX_POSITIONS = 8
MAX_VIEWS = 20
MAX_TEXT = 200

Item = TypeVar("Item")


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


class _Node(msgspec.Struct, rename="pascal"):
    """Either of the two."""

    simple: _Simple | None = None
    cluster: _Cluster | None = None


class _Cluster(msgspec.Struct):
    id: str = ""
    label: str = ""
    nodes: list[_Node] = []


class _Edge(msgspec.Struct):
    from_node: str
    to_node: str


class _Graph(msgspec.Struct):
    nodes: _Cluster
    edges: list[_Edge] = []


class _Metrics(msgspec.Struct):
    entries: list[Any] = []


class _Worker(msgspec.Struct):
    metadata: dict[str, list[Any] | _Metrics]
    """By node."""


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
        return NodeNames(problem=f"the file with them cannot be read: {json_errors.describe(error)[:MAX_TEXT]}")


def join(dataflow: bytes, circuit: bytes) -> NodeNames:
    """The names of all nodes that have any, from the two answers of Feldera's API; none, and why, if they don't fit."""
    answer = "dataflow_graph"
    try:
        made_of = _read_dataflow(dataflow)
        answer = "circuit_json_profile"
        found = msgspec.json.decode(circuit, type=_Circuit)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        why = json_errors.describe(error)[:MAX_TEXT]
        return NodeNames(problem=f"Feldera's answer to {answer} has an unknown form: {why}")
    if found.graph is None:
        return NodeNames(problem="Feldera's profile of the circuit has no graph")
    labels = dict(_walk(found.graph.nodes))
    hashes = _find_hashes(found.worker_profiles)
    names = {node: name for node in labels if (name := _name(labels[node], hashes.get(node, ""), made_of))}
    if not names:
        return NodeNames(problem="no node of the circuit has a hash that the dataflow graph has: another version of it")
    return NodeNames(_spread(names, labels, found.graph.edges))


def _read_dataflow(data: bytes) -> dict[str, _Mir]:
    """By hash, each with the views that its rows reach, and with a place in the SQL, also where it has none itself."""
    nodes = dict(_walk_mir(msgspec.json.decode(data, type=_Dataflow).mir))
    before = {key: [each.node for each in node.inputs] for key, node in nodes.items()}
    for key, node in nodes.items():
        before[key] += [each.node for each in node.outputs if each]
    views = _find_nearest([(key, node.view) for key, node in nodes.items() if node.view], before, MAX_VIEWS)
    places = _find_nearest([(key, node.positions) for key, node in nodes.items() if node.positions], before, 1)
    for key, node in nodes.items():
        node.views = tuple(view for view in views.get(key, ()) if view != node.view)
        node.positions = node.positions or next(iter(places.get(key, ())), ())
    return {node.persistent_id: node for node in nodes.values() if node.persistent_id}


def _walk_mir(nodes: Mapping[str, Any]) -> Iterator[tuple[str, _Mir]]:
    """Including those of nested circuits."""
    for key, node in nodes.items():
        if not isinstance(node, dict) or "operation" not in node:
            continue
        yield key, msgspec.convert(node, _Mir)
        if node["operation"] == "nested":
            yield from _walk_mir({inner: each for inner, each in node.items() if isinstance(each, dict)})


def _find_nearest(
    seeds: Iterable[tuple[str, Item]], onward: Mapping[str, Iterable[str]], most: int
) -> dict[str, dict[Item, None]]:
    """For each node the seeds that lead to it, nearest first, at most so many."""
    found: dict[str, dict[Item, None]] = {}
    front = deque(seeds)
    while front:
        node, item = front.popleft()
        for each in onward.get(node, ()):
            known = found.setdefault(each, {})
            if len(known) < most and item not in known:
                known[item] = None
                front.append((each, item))
    return found


def _walk(root: _Cluster) -> Iterator[tuple[str, str]]:
    """All nodes with their labels, without the place in the engine's own source."""
    clusters = [root]
    while clusters:
        cluster = clusters.pop()
        yield cluster.id, cluster.label[:MAX_TEXT]
        clusters += [each.cluster for each in cluster.nodes if each.cluster]
        for node in (each.simple for each in cluster.nodes if each.simple):
            yield node.id, node.label.partition(" @ ")[0][:MAX_TEXT]


def _find_hashes(workers: list[_Worker]) -> dict[str, str]:
    """By node. Older engines write `["persistent_id", text]`, newer ones an object with the text in `value`."""
    out: dict[str, str] = {}
    for worker in workers:
        for node, metrics in worker.metadata.items():
            entries = metrics.entries if isinstance(metrics, _Metrics) else metrics
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
        if edge.from_node in labels and edge.to_node in labels:
            before.setdefault(edge.to_node, []).append(edge.from_node)
            after.setdefault(edge.from_node, []).append(edge.to_node)
    return _reach(_reach(names, labels, before, "feeds"), labels, after, "follows")


def _reach(
    names: Mapping[str, NodeName], labels: Mapping[str, str], onward: Mapping[str, list[str]], relation: Relation
) -> dict[str, NodeName]:
    """With the nodes without a name that can be reached from those with one."""
    nearest = _find_nearest(((node, node) for node in names), onward, 1)
    known = dict(names)
    for node, (source, *_) in nearest.items():
        if node not in names:
            known[node] = msgspec.structs.replace(names[source], label=labels[node], relation=relation)
    return known
