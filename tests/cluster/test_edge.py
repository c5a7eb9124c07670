"""The edge of one release: HTTPS with probes, a renewed certificate, metrics of both containers, published paths, and a
download that outlives its pod's end.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from cluster import release
from cluster.release import Install
from support import certificates, kubectl

pytestmark = pytest.mark.cluster

RENEWED_SECS = 180.0
"""The kubelet brings a changed Secret within a minute or two."""
SECRET = "profiles-tls"
VALUES = {
    "tls": {"secretName": SECRET},
    "networkPolicy": {"enabled": True, "metricsFrom": [{"podSelector": {}}]},
    "ingress": {"enabled": True, "hosts": ["profiles.example"]},
    "config": {"api": {"basePath": "/profiles"}, "auth": {"unsafeLetAnyoneInWithoutAuthentication": True}},
}


def put_secret(namespace: str, folder: Path, name: str) -> None:
    certificates.write_pair(folder / name, name)
    data = {key: base64.b64encode((folder / name / key).read_bytes()).decode() for key in ("tls.crt", "tls.key")}
    body = {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET, "namespace": namespace}, "data": data,
    }  # fmt: skip
    kubectl.succeed("apply", "-f", "-", body=body)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def edge(folder: Path) -> Iterator[Install]:
    """It is ready only once the probes were answered over HTTPS."""
    with release.fresh_namespace("edge") as namespace:
        put_secret(namespace, folder, "first")
        install = Install(namespace, values=VALUES)
        try:
            install.install()
            yield install
        finally:
            install.uninstall()


def read_subject(port: int) -> str:
    """Of the certificate that is shown."""
    shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    return x509.load_pem_x509_certificate(shown.encode()).subject.rfc4514_string().removeprefix("CN=")


def trusting(folder: Path, name: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / name / "tls.crt"))


def test_the_service_speaks_https_with_the_secrets_certificate(edge: Install, folder: Path) -> None:
    """A client that trusts it needs no exception; below the base path too."""
    with edge.forward(f"service/{edge.name}", 80) as port:
        for path in ("/v0/config", "/profiles/v0/config"):
            url = f"https://127.0.0.1:{port}{path}"
            with urllib.request.urlopen(url, context=trusting(folder, "first"), timeout=10) as answer:
                assert answer.status == 200


def test_the_metrics_are_those_of_both_containers(edge: Install) -> None:
    with (
        edge.forward(edge.deployment, 9090) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer,
    ):
        text = answer.read().decode()
    found = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
    assert found["samply_operator_operator_connected"] == 1
    assert found["samply_operator_synced"] == 1
    assert found["samply_operator_store_free_bytes"] > 0
    assert found["samply_operator_kubernetes_requests_total"] > 0
    assert found["samply_operator_process_resident_memory_bytes"] > 0
    assert found["process_resident_memory_bytes"] > 0
    assert found["samply_operator_tls_certificate_expiry_timestamp_seconds"] > 0


def test_the_api_server_takes_the_policy_and_the_ingress(edge: Install) -> None:
    """As it stores them: what it would drop or change isn't there."""
    policy = kubectl.get("-n", edge.namespace, "networkpolicy", edge.name)["spec"]
    assert [rule["ports"][0]["port"] for rule in policy["ingress"]] == ["http", "metrics"]
    ingress = kubectl.get("-n", edge.namespace, "ingress", edge.name)["spec"]
    paths = [path["path"] for path in ingress["rules"][0]["http"]["paths"]]
    assert "/profiles/v0/pipelines" in paths


@pytest.mark.slow
def test_a_renewed_secret_is_shown_without_a_restart(edge: Install, folder: Path) -> None:
    before = edge.container("api")
    put_secret(edge.namespace, folder, "second")
    with edge.forward(f"service/{edge.name}", 80) as port:
        assert read_subject(port) == "first"
        kubectl.poll(
            lambda: read_subject(port) == "second", timeout=RENEWED_SECS, what="the new certificate is shown", pause=2
        )
    after = edge.container("api")
    assert (after["restartCount"], after["containerID"]) == (before["restartCount"], before["containerID"])


PUBLISH = """
import hashlib, os, sys
from samply_operator.model.manifest import StoredFile, Manifest
from samply_operator.store.volume import Volume
volume, data = Volume("/data"), os.urandom(int(sys.argv[1]))
name = "00000000-0000-4000-8000-000000000001"
path = volume.tmp_path(name, "profile")
path.write_bytes(data)
digest = hashlib.sha256(data).hexdigest()
volume.publish(Manifest(id=name, namespace="x", name="p", pipeline="large", ordinal=0, outcome="Succeeded",
    requested_at="2026-01-31T09:00:00.000Z", finished_at="2026-01-31T09:00:30.500Z",
    file=StoredFile(len(data), digest)), path)
print(digest)
"""
LARGE_BYTES = 96 * 1024 * 1024
"""More than all buffers between the pod and here hold."""


@pytest.mark.slow
def test_a_download_under_way_outlives_the_end_of_its_pod(edge: Install, folder: Path) -> None:
    """The pod is deleted while the client has read only a little; then it reads on, and gets all."""
    pod = edge.pod()["metadata"]["name"]
    run = ("exec", pod, "-c", "operator", "--", "python3", "-c", PUBLISH, str(LARGE_BYTES))
    digest = kubectl.succeed("-n", edge.namespace, *run).strip()
    context = ssl._create_unverified_context()
    with edge.forward(f"pod/{pod}", 8080) as port:
        url = f"https://127.0.0.1:{port}/v0/pipelines/large/samply_profile"
        answer = kubectl.poll(lambda: open_url(url, context), timeout=90, what="the large profile is served")
        with answer:
            first = answer.read(1_000_000)
            found, size = hashlib.sha256(first), len(first)
            kubectl.succeed("-n", edge.namespace, "delete", "pod", pod, "--wait=false")
            time.sleep(5)  # not ready any more, and closed for new connections
            while data := answer.read(1 << 20):
                found.update(data)
                size += len(data)
    assert (size, found.hexdigest()) == (LARGE_BYTES, digest)
    edge.wait()


def open_url(url: str, context: ssl.SSLContext) -> Any:
    """The answer with its head read; None: not there yet."""
    try:
        return urllib.request.urlopen(url, context=context, timeout=30)
    except urllib.error.HTTPError:
        return None
