"""Which of several pods leads: whoever holds one Lease. What is in a bucket is guarded by the bucket itself as well.

A foreign Lease counts as over once it was seen unchanged for its time, by our own clock; no clocks are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samply_operator.rules import times

API_VERSION = "coordination.k8s.io/v1"
ADDRESS = "samply.feldera.com/address"
"""Annotation: where the leader's HTTP port is, such as 10.0.0.7:8080."""
DURATION_SECS = 8
RENEW_SECS = 2.0
LOOK_SECS = 0.5
"""How often whoever stands by looks: a leader that ends in order gives the Lease up."""


@dataclass(frozen=True, slots=True)
class Leader:
    """The Lease as observed. `holder` empty: nobody. `version` changes with each renewal."""

    holder: str
    address: str
    version: str
    transitions: int


def build_name(release: str) -> str:
    """Of the one Lease of an installation; the chart's policy and Role name it as well."""
    return f"{release}-leader"


def may_take(leader: Leader, me: str, unchanged_secs: float) -> bool:
    """`unchanged_secs`: how long we have seen it without a change."""
    return leader.holder in {"", me} or unchanged_secs >= DURATION_SECS


def parse(raw: Mapping[str, Any]) -> Leader:
    """Others may have written it: what can't be read is nobody's."""
    meta, spec = raw.get("metadata") or {}, raw.get("spec") or {}
    transitions = spec.get("leaseTransitions")
    return Leader(
        holder=str(spec.get("holderIdentity") or ""),
        address=str((meta.get("annotations") or {}).get(ADDRESS) or ""),
        version=str(meta.get("resourceVersion") or ""),
        transitions=transitions if isinstance(transitions, int) else 0,
    )


def render(name: str, namespace: str, leader: Leader, now: float, *, acquired_at: str = "") -> dict[str, Any]:
    """The whole object; `leader.version` empty: it is to be made."""
    at = times.format_time_micro(now)
    meta: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": {"app.kubernetes.io/managed-by": "samply-operator"},
        "annotations": {ADDRESS: leader.address},
    }
    if leader.version:
        meta["resourceVersion"] = leader.version
    spec = {
        "holderIdentity": leader.holder,
        "leaseDurationSeconds": DURATION_SECS,
        "acquireTime": acquired_at or at,
        "renewTime": at,
        "leaseTransitions": leader.transitions,
    }
    return {"apiVersion": API_VERSION, "kind": "Lease", "metadata": meta, "spec": spec}
