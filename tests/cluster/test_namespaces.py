"""Namespaces and rights in them are added and removed: a change in one does not affect the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster import pipelines, profiles, release
from cluster.pipelines import Pipeline
from cluster.release import Install
from cluster.rights import Rights
from samply_operator.model import names
from support import kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

LONG = 12
"""Seconds of a recording in whose middle something happens."""
SOON = 30
"""Within this time what is asked for in a namespace that has just come back is taken."""
LABEL = "samply-test/profiled"
RECORDING = {"mode": "InPlace", "minCoverage": 0}
"""How much of the time a sampled program got on a busy machine is of no matter here."""


def start(namespace: str, **changes: Any) -> Pipeline:
    started = pipelines.start(namespace, "demo", replicas=1, **changes)
    started.wait_ready()
    return started


@pytest.fixture(scope="module")
def watched() -> Iterator[Install]:
    """A release that watches two more namespaces than its own."""
    with release.fresh_namespace("steady") as steady, release.fresh_namespace("shaky") as shaky:
        targets = {"namespaces": [steady, shaky]}
        with release.installed("scopes", config={"recording": RECORDING, "targets": targets}) as install:
            yield install


@pytest.fixture(scope="module")
def steady(watched: Install) -> Pipeline:
    return start(watched.values["config"]["targets"]["namespaces"][0])


@pytest.fixture(scope="module")
def shaky(watched: Install) -> Pipeline:
    return start(watched.values["config"]["targets"]["namespaces"][1])


def count_restarts(install: Install) -> tuple[str, int]:
    return install.pod()["metadata"]["name"], install.container("operator")["restartCount"]


def record_long(pipeline: Pipeline, secs: int = LONG) -> str:
    name = profiles.make(pipeline, durationSeconds=secs)
    profiles.wait(pipeline, name, "Recording", timeout=20)
    return name


def test_rights_taken_away_and_given_back(watched: Install, steady: Pipeline, shaky: Pipeline) -> None:
    """During one recording there and one elsewhere. Elsewhere nothing is affected, by object or by annotation; there it
    continues once it has the rights again."""
    before, rights = count_restarts(watched), Rights.read(watched, shaky.namespace)
    here, there = record_long(steady), record_long(shaky)
    rights.take()
    try:
        profiles.wait_succeeded(steady, here, timeout=LONG + 20)
        profiles.wait_succeeded(steady, profiles.make(steady, durationSeconds=1), timeout=20)
        steady.annotate_set("1s")
        kubectl.poll(
            lambda: names.TRIGGER not in steady.annotations("statefulset"), timeout=20, what="the annotation is taken"
        )
        assert profiles.phase_of(profiles.get(shaky, there)) == "Recording", "nothing can be written there"
    finally:
        rights.give_back()
    profiles.wait_succeeded(shaky, there, timeout=60)
    profiles.wait_succeeded(shaky, profiles.make(shaky, durationSeconds=1), timeout=SOON)
    assert count_restarts(watched) == before


def test_a_namespace_deleted_and_made_again(watched: Install, steady: Pipeline, shaky: Pipeline) -> None:
    """While one records elsewhere, and one there. Elsewhere nothing is noticed; what is asked for in the new namespace
    of the same name is taken within seconds of its rights."""
    before, rights = count_restarts(watched), Rights.read(watched, shaky.namespace)
    record_long(shaky)
    here = record_long(steady)
    kubectl.succeed("delete", "namespace", shaky.namespace, "--timeout=100s")
    kubectl.succeed("create", "namespace", shaky.namespace)
    rights.give_back()
    again = start(shaky.namespace)
    profiles.wait_succeeded(again, profiles.make(again, durationSeconds=1), timeout=SOON)
    profiles.wait_succeeded(steady, here, timeout=LONG + 20)
    profiles.wait_succeeded(steady, profiles.make(steady, durationSeconds=1), timeout=20)
    assert count_restarts(watched) == before


def test_labels_select_namespaces() -> None:
    """`config.targets.namespaceSelector`: one that is made, or labelled, later is served within seconds and without a
    restart; one without the label never is, and losing it ends it."""
    targets = {"clusterWide": True, "namespaceSelector": f"{LABEL}=yes"}
    config = {"recording": RECORDING, "targets": targets}
    with (
        release.installed("selector", config=config) as install,
        release.fresh_namespace("selected") as selected,
        release.fresh_namespace("other") as other,
    ):
        before = count_restarts(install)
        ours, others = start(selected), start(other)
        ignored = profiles.make(others, durationSeconds=1)
        early = profiles.make(ours, durationSeconds=1)
        kubectl.succeed("label", "namespace", selected, f"{LABEL}=yes")
        labelled = time.monotonic()
        profiles.wait_succeeded(ours, early, timeout=20)
        assert time.monotonic() - labelled < 20
        record = record_long(ours, 5)
        kubectl.succeed("label", "namespace", selected, f"{LABEL}-")
        profiles.wait_succeeded(ours, record, timeout=LONG + 20)
        late = profiles.make(ours, durationSeconds=1)
        kubectl.succeed("label", "namespace", other, f"{LABEL}=yes")
        profiles.wait_succeeded(others, ignored, timeout=20)
        assert not profiles.phase_of(profiles.get(ours, late))
        assert count_restarts(install) == before
