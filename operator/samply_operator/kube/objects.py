"""Paths of the API server, and its raw objects as this project's facts (pure).

    pods(namespace, name="", subresource="") / stateful_sets / samply_profiles / leases / events / secrets -> path
    parse_pod(raw) -> model.Pod, parse_stateful_set(raw) -> model.StatefulSet, parse_secret(raw) -> {entry: bytes}

Without a namespace a path means all of them; without a name, the list. `raw` is JSON that was not decoded yet
(msgspec.Raw, from lists and watches) or was (a dict, from a GET): only the fields that are used are read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from samply_operator.errors import KubeInvalid
from samply_operator.model import names
from samply_operator.model.pipeline import Container, Pod, StatefulSet

Raw = Mapping[str, Any] | msgspec.Raw
FOREIGN_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)
"""Large, on every object that kubectl applied, and never used here."""


class _Owner(msgspec.Struct, frozen=True):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    namespace: str = ""
    uid: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None
    deletion_timestamp: str | None = None


class _Named(msgspec.Struct, frozen=True):
    name: str


class _State(msgspec.Struct, frozen=True):
    """One of them is there."""

    running: _Running | None = None
    waiting: _Cause | None = None
    terminated: _Cause | None = None


class _Running(msgspec.Struct, frozen=True, rename="camel"):
    started_at: str | None = None


class _Cause(msgspec.Struct, frozen=True):
    reason: str | None = None


class _ContainerStatus(msgspec.Struct, frozen=True, rename={"container_id": "containerID", "restarts": "restartCount"}):
    name: str
    container_id: str | None = None
    restarts: int | None = None
    state: _State | None = None


class _PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str | None = None
    containers: list[_Named] | None = None


class _PodStatus(msgspec.Struct, frozen=True, rename="camel"):
    phase: str | None = None
    container_statuses: list[_ContainerStatus] | None = None


class _Pod(msgspec.Struct, frozen=True):
    metadata: _Meta
    spec: _PodSpec | None = None
    status: _PodStatus | None = None


class _Ordinals(msgspec.Struct, frozen=True):
    start: int | None = None


class _TemplateMeta(msgspec.Struct, frozen=True):
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Template(msgspec.Struct, frozen=True):
    metadata: _TemplateMeta | None = None


class _SetSpec(msgspec.Struct, frozen=True):
    replicas: int | None = None
    ordinals: _Ordinals | None = None
    template: _Template | None = None


class _Set(msgspec.Struct, frozen=True):
    metadata: _Meta
    spec: _SetSpec | None = None


class _Whole(msgspec.Struct, frozen=True):
    """An object of which only the name is read."""

    metadata: _Named


_pods = msgspec.json.Decoder(_Pod)
_sets = msgspec.json.Decoder(_Set)
_wholes = msgspec.json.Decoder(_Whole)


def build_path(api: str, plural: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """`api` is `api/v1` or `apis/<group>/<version>`. Each part is quoted and dots are refused, so that no part can
    change the path."""
    parts = ["namespaces", namespace, plural] if namespace else [plural]
    parts += [part for part in (name, subresource) if part]
    if not {".", ".."}.isdisjoint(parts):
        raise KubeInvalid("No object is named '.' or '..'.")
    return f"/{api}/" + "/".join(quote(part, safe="") for part in parts)


def namespaces(name: str = "") -> str:
    return build_path("api/v1", "namespaces", name=name)


def pods(namespace: str = "", name: str = "", subresource: str = "") -> str:
    return build_path("api/v1", "pods", namespace, name, subresource)


def stateful_sets(namespace: str = "", name: str = "", subresource: str = "") -> str:
    return build_path("apis/apps/v1", "statefulsets", namespace, name, subresource)


def samply_profiles(namespace: str = "", name: str = "", subresource: str = "") -> str:
    return build_path(f"apis/{names.API_VERSION}", names.PLURAL, namespace, name, subresource)


def samply_triggers(namespace: str = "", name: str = "", subresource: str = "") -> str:
    return build_path(f"apis/{names.API_VERSION}", names.TRIGGER_PLURAL, namespace, name, subresource)


def leases(namespace: str = "", name: str = "") -> str:
    return build_path("apis/coordination.k8s.io/v1", "leases", namespace, name)


def events(namespace: str = "", name: str = "") -> str:
    return build_path("api/v1", "events", namespace, name)


def secrets(namespace: str, name: str) -> str:
    return build_path("api/v1", "secrets", namespace, name)


def parse_secret(raw: Mapping[str, Any]) -> dict[str, bytes]:
    """Its entries. Raises KubeInvalid for invalid base64."""
    try:
        return {
            str(name): base64.b64decode(value or "", validate=True) for name, value in (raw.get("data") or {}).items()
        }
    except (binascii.Error, TypeError, AttributeError) as error:
        raise KubeInvalid("A Secret's data cannot be read.") from error


Decoded = TypeVar("Decoded")


def _read(raw: Raw, decoder: msgspec.json.Decoder[Decoded]) -> Decoded:
    """Raises msgspec.ValidationError for an invalid object."""
    if isinstance(raw, msgspec.Raw):
        return decoder.decode(raw)
    return msgspec.convert(raw, type=decoder.type)


def parse_name(raw: Raw) -> str:
    """Of any object."""
    return _read(raw, _wholes).metadata.name


def parse_pod(raw: Raw) -> Pod:
    """Containers in the order of the spec, without ephemeral and init containers."""
    found = _read(raw, _pods)
    meta, spec, status = found.metadata, found.spec or _PodSpec(), found.status or _PodStatus()
    states = {state.name: state for state in status.container_statuses or ()}
    return Pod(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid or "",
        phase=status.phase or "Unknown",
        node=spec.node_name or "",
        owner=_find_owner(meta),
        containers=tuple(_build_container(each.name, states.get(each.name)) for each in spec.containers or ()),
        labels=meta.labels or {},
        annotations=_choose_annotations(meta.annotations),
        is_deleted=meta.deletion_timestamp is not None,
    )


def _choose_annotations(annotations: dict[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (annotations or {}).items() if key not in FOREIGN_ANNOTATIONS}


def _find_owner(meta: _Meta) -> str:
    return next((o.name for o in meta.owner_references or () if o.kind == "StatefulSet" and o.controller), "")


def _build_container(name: str, status: _ContainerStatus | None) -> Container:
    state = (status and status.state) or _State()
    other = state.waiting or state.terminated or _Cause()
    running = state.running
    return Container(
        name=name,
        id=((status and status.container_id) or "") if running else "",
        is_running=running is not None,
        restarts=(status and status.restarts) or 0,
        state_reason=other.reason or "",
        started_at=(running and running.started_at) or "",
    )


def parse_stateful_set(raw: Raw) -> StatefulSet:
    """`replicas` absent means 1, `ordinals.start` absent means 0, as the API server defaults them."""
    found = _read(raw, _sets)
    meta, spec = found.metadata, found.spec or _SetSpec()
    template = (spec.template and spec.template.metadata) or _TemplateMeta()
    return StatefulSet(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid or "",
        start=(spec.ordinals and spec.ordinals.start) or 0,
        replicas=1 if spec.replicas is None else spec.replicas,
        template_labels=template.labels or {},
        labels=meta.labels or {},
        annotations=_choose_annotations(meta.annotations),
        template_annotations=template.annotations or {},
    )
