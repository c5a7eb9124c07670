"""What the pod's object adds to the facts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.model.facts import Facts
from samply_operator.rules import surroundings


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50Mi", 50 << 20),
        ("1.5G", 1_500_000_000),
        ("2Gi", 2 << 30),
        ("1000", 1000),
        (7, 7),
        ("10k", 10_000),
        ("1e3", None),
        ("-1", None),
        ("", None),
        ("²Mi", None),
        (None, None),
    ],
)
def test_a_quantity_is_bytes(text: object, size: int | None) -> None:
    """What can't be read is unknown, and unknown is no refusal."""
    assert surroundings.parse_quantity(text) == size


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """Never an exception."""
    surroundings.parse_quantity(text)


@pytest.mark.parametrize(
    ("spec", "storage", "runtime"),
    [
        ({}, None, ""),
        ({"containers": [{"name": "other", "resources": {"limits": {"ephemeral-storage": "1Gi"}}}]}, None, ""),
        ({"containers": [{"name": "pipeline", "resources": {"limits": {"ephemeral-storage": "1Gi"}}}]}, 1 << 30, ""),
        ({"containers": [{"name": "pipeline", "resources": {}}], "runtimeClassName": "gvisor"}, None, "gvisor"),
    ],
    ids=["nothing said", "another container's limit", "its own limit", "a sandbox"],
)
def test_limits_are_those_of_the_target(spec: dict[str, Any], storage: int | None, runtime: str) -> None:
    """Of the container that is recorded."""
    facts = surroundings.add_pod(Facts(folder="/tmp"), {"spec": spec}, "pipeline")
    assert facts == Facts(folder="/tmp", storage_limit=storage, runtime_class=runtime)
