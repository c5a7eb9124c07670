"""Which container of a pod is the pipeline's. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from samply_operator.model import names
from samply_operator.model.pipeline import Container, Pod
from samply_operator.settings import Targets

PIPELINE = "pipeline"
"""Feldera's name of it."""
INJECTED = frozenset({
    "aws-sigv4-proxy", "cloud-sql-proxy", "consul-connect-envoy-sidecar", "consul-dataplane", "daprd", "envoy",
    "envoy-sidecar", "filebeat", "fluent-bit", "fluentd", "istio-proxy", "jaeger-agent", "kuma-sidecar",
    "linkerd-proxy", "nginx-mesh-sidecar", "oauth2-proxy", "opentelemetry-auto-instrumentation", "otc-container",
    "promtail", "queue-proxy", "sandbox-proxy", "tailscale", "traffic-agent", "vault-agent", "vector",
})  # fmt: skip
"""Names of containers that meshes and agents inject."""


@dataclass(frozen=True, slots=True)
class Choice:
    """`container` None: the requested one, or any, is missing. `doubt` says why it was a guess and how to choose
    explicitly; empty: it was not a guess."""

    container: Container | None
    doubt: str = ""


def choose(pod: Pod, wanted: str | None, targets: Targets) -> Choice:
    """The first of: the requested one, the configured one, the one named pipeline, kubectl's default, the first that
    was not injected."""
    if named := wanted or targets.container:
        return Choice(pod.find_container(named))
    for name in (PIPELINE, pod.annotations.get(names.DEFAULT_CONTAINER, "")):
        if found := pod.find_container(name):
            return Choice(found)
    return _guess(pod)


def _guess(pod: Pod) -> Choice:
    own = [container for container in pod.containers if container.name not in INJECTED]
    candidates = own or list(pod.containers)
    if not candidates:
        return Choice(None)
    chosen = candidates[0]
    if len(candidates) == 1 and (own or len(pod.containers) == 1):
        return Choice(chosen)
    others = ", ".join(container.name for container in pod.containers if container is not chosen)
    return Choice(
        chosen,
        f"Container {chosen.name} was guessed: none is named {PIPELINE}, and the pod has {others} too. Say "
        f"which is meant: spec.container, config.targets.container, or the annotation {names.DEFAULT_CONTAINER}.",
    )
