"""Paths of the API server, and its raw objects as this project's facts (pure).

    pods(namespace, name="", subresource="") / stateful_sets / samply_profiles / leases / events / secrets -> path
    parse_pod(raw) -> model.Pod, parse_stateful_set(raw) -> model.StatefulSet, parse_secret(raw) -> {entry: bytes}

Without a namespace a path means all of them; without a name, the list.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from samply_operator.errors import KubeInvalid
from samply_operator.model import names
from samply_operator.model.pipeline import Container, Pod, StatefulSet

Raw = Mapping[str, Any]


def build_path(api: str, plural: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """`api` is `api/v1` or `apis/<group>/<version>`. No part can leave its place: each is quoted, dots are refused."""
    parts = ["namespaces", namespace, plural] if namespace else [plural]
    parts += [part for part in (name, subresource) if part]
    if not {".", ".."}.isdisjoint(parts):
        raise KubeInvalid("No object is named '.' or '..'.")
    return f"/{api}/" + "/".join(quote(part, safe="") for part in parts)


def pods(namespace: str = "", name: str = "", subresource: str = "") -> str:
    return build_path("api/v1", "pods", namespace, name, subresource)


def stateful_sets(namespace: str = "", name: str = "", subresource: str = "") -> str:
    return build_path("apis/apps/v1", "statefulsets", namespace, name, subresource)


def samply_profiles(namespace: str = "", name: str = "", subresource: str = "") -> str:
    return build_path(f"apis/{names.API_VERSION}", names.PLURAL, namespace, name, subresource)


def leases(namespace: str = "", name: str = "") -> str:
    return build_path("apis/coordination.k8s.io/v1", "leases", namespace, name)


def events(namespace: str = "", name: str = "") -> str:
    return build_path("api/v1", "events", namespace, name)


def secrets(namespace: str, name: str) -> str:
    return build_path("api/v1", "secrets", namespace, name)


def parse_secret(raw: Raw) -> dict[str, bytes]:
    """Its entries. Raises KubeInvalid for what is no base64, which no API server sends."""
    try:
        return {
            str(name): base64.b64decode(value or "", validate=True) for name, value in (raw.get("data") or {}).items()
        }
    except (binascii.Error, TypeError, AttributeError) as error:
        raise KubeInvalid("A Secret's data can't be read.") from error


def parse_pod(raw: Raw) -> Pod:
    """Containers in the order of the spec (ephemeral and init ones are not among them)."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    states = {state.get("name"): state for state in status.get("containerStatuses") or ()}
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid") or "",
        phase=status.get("phase") or "Unknown",
        node=spec.get("nodeName") or "",
        owner=_find_owner(meta),
        containers=tuple(
            _parse_container(container["name"], states.get(container["name"]) or {})
            for container in spec.get("containers") or ()
        ),
        labels=dict(meta.get("labels") or {}),
        annotations=dict(meta.get("annotations") or {}),
        is_deleted="deletionTimestamp" in meta,
    )


def _find_owner(meta: Raw) -> str:
    owners = meta.get("ownerReferences") or ()
    return next((str(o.get("name", "")) for o in owners if o.get("kind") == "StatefulSet" and o.get("controller")), "")


def _parse_container(name: str, status: Raw) -> Container:
    state = status.get("state") or {}
    other = state.get("waiting") or state.get("terminated") or {}
    return Container(
        name=name,
        id=status.get("containerID") or "" if "running" in state else "",
        is_running="running" in state,
        restarts=int(status.get("restartCount") or 0),
        state_reason=str(other.get("reason") or ""),
    )


def parse_stateful_set(raw: Raw) -> StatefulSet:
    """`replicas` absent means 1, `ordinals.start` absent means 0, as the API server defaults them."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    template = (spec.get("template") or {}).get("metadata") or {}
    replicas = spec.get("replicas")
    return StatefulSet(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid") or "",
        start=int((spec.get("ordinals") or {}).get("start") or 0),
        replicas=1 if replicas is None else int(replicas),
        template_labels=dict(template.get("labels") or {}),
        labels=dict(meta.get("labels") or {}),
        annotations=dict(meta.get("annotations") or {}),
        template_annotations=dict(template.get("annotations") or {}),
    )
