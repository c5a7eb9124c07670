"""What is counted for Prometheus: two registries, one for each container, and what is known of each metric.

A metric is made beside the code that counts it, by the functions below; `DECLARED` then has its row of
docs/metrics.md. Only shells count: rules and models decide and know no metric. No label holds a name that a user
chose (pipeline, namespace, path): the metrics port has no authentication, and label values must stay few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

PREFIX = "samply_operator"

OPERATOR = CollectorRegistry()
"""Metrics of the container with the cluster permissions."""
API = CollectorRegistry()
"""Metrics of the container with the port."""

ProcessCollector(namespace=PREFIX, registry=OPERATOR)
"""`samply_operator_process_…`: api's own are `process_…`, and both are exported together."""
ProcessCollector(registry=API)
GCCollector(registry=API)


@dataclass(frozen=True, slots=True)
class Declared:
    """One row of the table."""

    name: str
    """As Prometheus sees it."""
    kind: str
    labels: tuple[str, ...]
    text: str


DECLARED: list[Declared] = []


def count(registry: CollectorRegistry, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
    """A counter; `name` ends in `_total`."""
    metric = Counter(f"{PREFIX}_{name}", text, labels, registry=registry)
    DECLARED.append(Declared(f"{PREFIX}_{name}", "counter", tuple(labels), text))
    return metric


def gauge(registry: CollectorRegistry, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
    metric = Gauge(f"{PREFIX}_{name}", text, labels, registry=registry)
    DECLARED.append(Declared(f"{PREFIX}_{name}", "gauge", tuple(labels), text))
    return metric


def histogram(
    registry: CollectorRegistry, name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()
) -> Histogram:
    metric = Histogram(f"{PREFIX}_{name}", text, labels, registry=registry, buckets=tuple(buckets))
    DECLARED.append(Declared(f"{PREFIX}_{name}", "histogram", tuple(labels), text))
    return metric


def render(registry: CollectorRegistry) -> bytes:
    """In Prometheus' text format 0.0.4, which can be concatenated with another text."""
    return generate_latest(registry)
