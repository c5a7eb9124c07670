"""Properties of other platforms, simulated: their own user and group, no DNS, a proxy, private authorities."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from chart import helm
from cluster import pipelines, profiles, release
from cluster.release import Install
from support import kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

USER = 1000650000
"""As OpenShift gives out: of the namespace's range, in no image's /etc/passwd, with group 0."""
CLOSED = "http://127.0.0.1:9"
"""A proxy that isn't there: whoever takes that way reaches nothing."""
LOOK = """
import os, ssl
paths = ssl.get_default_verify_paths()
print(os.getuid(), os.getgid(), any(name.endswith(".0") for name in os.listdir(paths.openssl_capath)))
print(ssl.create_default_context().cert_store_stats()["x509_ca"])
"""


@pytest.fixture(scope="module")
def foreign() -> Iterator[Install]:
    """The API server by its address alone, around the proxy by its range."""
    values = {
        "podSecurityContext": {"runAsUser": USER, "runAsGroup": 0, "fsGroup": USER},
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["127.0.0.1"]},
        "extraEnv": [
            {"name": "HTTPS_PROXY", "value": CLOSED},
            {"name": "NO_PROXY", "value": "192.0.2.0/24,$(KUBERNETES_SERVICE_HOST)/32"},
        ],
        "extraCaBundle": {"configMapName": "kube-root-ca.crt"},
    }
    with release.installed("platforms", **values) as install:
        yield install


def test_it_records_and_serves(foreign: Install) -> None:
    """An annotation that only a watch sees in time, an exec, a file on the volume, and its download."""
    target = pipelines.start(foreign.namespace, "platforms", replicas=1)
    target.wait_ready()
    target.annotate_pod(0, "2s")
    kubectl.poll(lambda: bool(profiles.find(target)), timeout=20, what="the annotation is seen")
    done = profiles.wait(target, profiles.name_of(profiles.find(target)[0]))
    assert done["status"]["phase"] == "Succeeded", profiles.show(done["status"])
    with foreign.open() as service:
        assert service.profile(target.name, "?ordinal=0").status == 200
    assert foreign.container("operator")["restartCount"] == 0


def test_its_user_is_the_platforms_and_authorities_are_added(foreign: Install) -> None:
    where = ("-n", foreign.namespace, "exec", foreign.deployment, "-c", "api", "--", "python3", "-c", LOOK)
    user, group, has_public, added = kubectl.succeed(*where).split()
    assert (user, group, has_public) == (str(USER), "0", "True")
    assert int(added) == 1


def test_helm_test_passes(foreign: Install) -> None:
    command = ("test", foreign.release, "--namespace", foreign.namespace, "--timeout", "90s")
    done = helm.run(*command, kubeconfig=os.environ["KUBECONFIG"])
    assert done.returncode == 0, done.stdout + done.stderr
