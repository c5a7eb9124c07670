"""The data types of the project: parsed from the API server's JSON and back, and stored on the volume."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.model import manifest, pipeline, profile
from samply_operator.model.manifest import JournalEntry, Manifest
from samply_operator.model.pipeline import Container, Pipeline
from samply_operator.model.profile import Failure, Spec
from support.samples import UID, make_entry, make_manifest, make_pod, make_set

OPTIONAL_INT = st.none() | st.integers(1, 3600)
OPTIONAL_TEXT = st.none() | st.text(min_size=1)
SPECS = st.builds(
    Spec,
    pipeline=st.text(min_size=1),
    ordinal=st.integers(0, 1000),
    duration_secs=OPTIONAL_INT,
    rate_hz=OPTIONAL_INT,
    container=OPTIONAL_TEXT,
    process=OPTIONAL_TEXT,
    mode=st.sampled_from([None, "Auto", "InPlace", "BringOwn", "Ephemeral"]),
    preflight_only=st.booleans(),
    attachments=st.sampled_from([None, (), ("Stats", "HeapProfile")]),
)


@given(SPECS)
def test_a_spec_comes_back_from_its_json(spec: Spec) -> None:
    """What was asked is what the API server keeps."""
    assert msgspec.convert(profile.render_spec(spec), Spec) == spec


def test_what_was_not_asked_is_not_written() -> None:
    """The installation's settings decide later, not at creation."""
    assert profile.render_spec(Spec("a")) == {"pipeline": "a", "ordinal": 0}


def make_raw(**changes: Any) -> dict[str, Any]:
    meta = {"namespace": "prod", "name": "p", "uid": UID, "creationTimestamp": "t"} | changes.pop("metadata", {})
    return {"metadata": meta, "spec": {"pipeline": "a"}} | changes


def test_an_object_is_read_with_and_without_a_status() -> None:
    """A new one has none."""
    new = profile.parse_object(make_raw())
    assert (new.key, new.uid, new.spec, new.phase, new.has_ended, new.is_deleted) == (
        ("prod", "p"), UID, Spec("a"), None, False, False
    )  # fmt: skip
    old = profile.parse_object(make_raw(status={"phase": "Failed"}, metadata={"deletionTimestamp": "t"}))
    assert (old.has_ended, old.is_deleted) == (True, True)
    assert profile.parse_object(make_raw(status=None, metadata={"labels": None, "annotations": None})).labels == {}


@pytest.mark.parametrize(
    ("phase", "has_ended"),
    [(None, False), ("Pending", False), ("Recording", False), ("Collecting", False)]
    + [(phase, True) for phase in ("Succeeded", "Failed", "Cancelled")],
)
def test_an_object_has_ended_in_three_phases(phase: str | None, has_ended: bool) -> None:
    """And is left alone then."""
    assert profile.parse_object(make_raw(status={"phase": phase})).has_ended is has_ended


@pytest.mark.parametrize(
    ("changes", "is_running"),
    [
        ({}, True),
        ({"phase": "Pending"}, False),
        ({"is_deleted": True}, False),
        ({"containers": ()}, False),
        ({"containers": (Container("a"), Container("b", is_running=True))}, True),
    ],
    ids=["yes", "pending", "being deleted", "no containers", "one of two runs"],
)
def test_a_pod_runs(changes: dict[str, Any], is_running: bool) -> None:
    """If its status says so, it isn't being deleted, and a container runs; a pipeline runs if one of its pods does."""
    pod = make_pod(**changes)
    assert pod.is_running is is_running
    assert Pipeline("n", "a", (0,), {0: pod}).is_running is is_running


@pytest.mark.parametrize(("start", "replicas", "ordinals"), [(0, 2, (0, 1)), (5, 2, (5, 6)), (0, 0, ()), (3, 0, ())])
def test_a_sets_ordinals_begin_at_its_start(start: int, replicas: int, ordinals: tuple[int, ...]) -> None:
    """As many as there are replicas."""
    assert make_set(start=start, replicas=replicas).ordinals == ordinals


@pytest.mark.parametrize(
    "document",
    [
        make_manifest(),
        make_manifest(outcome="Failed", file=None, failure=Failure("PodDeleted", "gone", "wait", "log")),
        make_entry(),
        make_entry(step="Cleaning", outcome="Failed", failure=Failure("X", "y"), stop="keep", warnings=("w",)),
    ],
    ids=["stored", "failed", "recording", "cleaning"],
)
def test_documents_of_the_volume_come_back(document: Manifest | JournalEntry) -> None:
    """And a newer release's further keys do no harm."""
    raw = msgspec.json.encode(document)
    assert msgspec.json.decode(raw, type=type(document)) == document
    newer = msgspec.json.encode(msgspec.json.decode(raw) | {"newKey": {"x": 1}, "schema": 2})
    assert msgspec.structs.replace(msgspec.json.decode(newer, type=type(document)), schema=1) == document


@pytest.mark.parametrize("module", [manifest, pipeline, profile])
def test_every_value_is_frozen(module: Any) -> None:
    """Facts don't change under a reader."""
    kinds = [k for k in vars(module).values() if isinstance(k, type) and k.__module__ == module.__name__]
    assert kinds
    for kind in kinds:
        if issubclass(kind, msgspec.Struct):
            assert kind.__struct_config__.frozen
        else:
            assert dataclasses.is_dataclass(kind)
            assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
            assert hasattr(kind, "__slots__")
