"""Each row of the HTTP contract again: through the Service of a release, with real pipelines in the row's state.

The table is that of `tests/contract/http`, which asks it each time; here it is slow, and `test_http.py` asks the most
usual. The pipelines are prepared once; what a row starts is cancelled after it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from cluster import pipelines, profiles, release
from cluster.node import Node
from cluster.pipelines import BARE_IMAGE, IMAGE, Pipeline
from cluster.release import Install, Service
from contract.http import table
from contract.http.table import Given, Row
from samply_operator.model import names
from support import kubectl
from support.service import make_id

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

LONG_SECS = 900
"""Of the recordings that run while all rows are asked."""
NAMES: Mapping[tuple[Given, ...], str] = {
    (): "nobody",
    (table.is_running,): "fresh",
    (table.is_running, table.looks_only): "looked-at",
    (table.is_running, table.starts): "free",
    (table.is_running, table.has_good): "free",
    (table.is_running, table.NO_SUCH_ORDINAL): "free",
    (table.is_running, table.records): "first",
    (table.is_running, table.records, table.starts): "first",
    (table.is_running, table.has_good, table.records): "busy",
    (table.is_running, table.fails_at_once): "bare",
    (table.has_newer_failure,): "bare",
    (table.has_good, table.has_newer_failure): "turned",
    (table.is_running, table.SWITCHED_OFF): "switched-off",
    (table.is_stopped,): "stopped",
    (table.is_stopped, table.NOT_DEPLOYED): "stopped",
    (table.is_stopped, table.has_good): "halted",
    (table.has_good,): "gone",
    (table.is_running, table.has_good_of_ordinal_4): "shrunk",
    (table.is_in_two_namespaces,): "twin",
    (table.is_in_two_namespaces, table.starts): "twin",
}
"""The pipeline that is in the state."""
ELSEWHERE: Mapping[tuple[Given, ...], str] = {
    (table.is_running, table.UNREACHABLE): "needs a node without its kubelet: test_programs.py",
    (table.is_running, table.records_past_its_end): "a moment: test_http.py counts down to 1",
}
ROWS = sorted((*table.POSTS, *table.GETS), key=lambda row: row.is_away)
HERE = [row for row in ROWS if row.given not in ELSEWHERE]
PATTERNS = {
    "4": "[1-9][0-9]{3,}",
    "/v0/pipelines/orders/samply_profiles/.+": "/v0/pipelines/(free|twin)/samply_profiles/.+",
    f"{make_id(2)}; reason=PerfDenied": "[0-9a-f-]{36}; reason=SamplyNotFound",
}
"""What the headers say here."""
WITH_GOOD = {"free": 0, "busy": 0, "turned": 0, "halted": 0, "gone": 0, "shrunk": 1}
"""Those that a good profile is taken of, and the ordinal."""


@dataclass(frozen=True)
class Stage:
    install: Install
    service: Service
    node: Node
    words: Mapping[str, str]
    """What a row's query says, as it has to be said here."""

    def ask(self, name: str, method: str = "GET", query: str = "") -> tuple[int, Mapping[str, str], bytes]:
        for word, here in self.words.items():
            query = query.replace(word, here)
        answer = self.service.profile(name, query, method, {"Feldera-Tenant": "acme"})
        return answer.status, answer.headers, answer.body

    def wait_status(self, name: str, status: int, method: str = "GET", query: str = "") -> None:
        seen: list[int] = []

        def is_so() -> bool:
            seen[:] = [self.ask(name, method, query)[0]]
            return seen == [status]

        kubectl.poll(is_so, timeout=60, what=lambda: f"{method} {name}{query} is {status}; it is {seen}")

    def cancel(self, location: str) -> None:
        assert self.service.call("DELETE", location).status in (202, 204)
        kubectl.poll(
            lambda: self.service.call("GET", location).status == 404, timeout=30, what=f"{location} is cancelled"
        )


@pytest.fixture(scope="module")
def stage(node: Node) -> Iterator[Stage]:
    with release.fresh_namespace("rows-two") as two, release.fresh_namespace("rows") as one:
        recording = {"mode": "InPlace", "maxConcurrent": 20, "maxPerNode": 20}
        install = Install(one, values={"config": {"recording": recording, "targets": {"namespaces": [one, two]}}})
        install.values["config"]["auth"] = {"apiKeys": {"enabled": True}}
        try:
            install.install()
            started = start_pipelines(one, two)
            with install.open_with_key() as service:
                words = {"namespace=two": f"namespace={two}", "ordinal=4": "ordinal=1"}
                found = Stage(install, service, node, words)
                bring_into_state(found, started)
                yield found
                assert_nothing_left(started)
        finally:
            install.uninstall()


def assert_nothing_left(started: Mapping[str, Pipeline]) -> None:
    """Whatever was recorded, cancelled or refused in all the rows; two recordings run until here."""
    for pipeline in started.values():
        for profile in profiles.find(pipeline):
            profiles.delete(pipeline, profiles.name_of(profile))
    for pipeline in started.values():
        for ordinal in pipeline.list_running():
            pipeline.wait_untouched(ordinal)


def start_pipelines(one: str, two: str) -> Mapping[str, Pipeline]:
    replicas = {"stopped": 0, "shrunk": 2}
    started = {
        name: pipelines.start(
            one, name, replicas=replicas.get(name, 1), image=BARE_IMAGE if name == "bare" else IMAGE, load="3"
        )
        for name in sorted({*NAMES.values()} - {"nobody"})
    }
    twin = pipelines.start(two, "twin", replicas=1, load="3")
    for pipeline in (*started.values(), twin):
        pipeline.wait_ready()
    return started


def bring_into_state(stage: Stage, started: Mapping[str, Pipeline]) -> None:
    for name, ordinal in WITH_GOOD.items():
        stage.wait_status(name, 202, "POST", f"?ordinal={ordinal}&duration_secs=1")
    for name, ordinal in WITH_GOOD.items():
        stage.wait_status(name, 200, "GET", f"?ordinal={ordinal}&latest=true")
    for name in ("first", "busy"):
        stage.wait_status(name, 202, "POST", f"?duration_secs={LONG_SECS}")
    started["turned"].exec(0, "mv $(command -v samply) /tmp/hidden")
    for name in ("bare", "turned"):
        stage.wait_status(name, 500, "POST")
        stage.wait_status(name, 500, "GET", "?latest=true")
    profiles.wait(started["looked-at"], profiles.make(started["looked-at"], preflightOnly=True))
    started["switched-off"].annotate_set("false", names.ENABLED)
    for name, replicas in (("halted", 0), ("shrunk", 1)):
        stateful_set = f"statefulset/{started[name].stateful_set}"
        kubectl.succeed("-n", started[name].namespace, "scale", stateful_set, f"--replicas={replicas}")
    started["gone"].delete()
    stage.wait_status("switched-off", 400, "POST")
    stage.wait_status("halted", 503, "POST")
    stage.wait_status("gone", 503, "POST")
    stage.wait_status("shrunk", 400, "POST", "?ordinal=1")
    stage.wait_status("twin", 400)


@pytest.fixture(scope="module")
def away(stage: Stage) -> Iterator[Stage]:
    """The operator's processes are stopped: it says nothing more."""
    container = stage.install.container("operator")["containerID"]
    stage.node.signal(container, "STOP")
    try:
        stage.service.wait_operator("Away")
        yield stage
    finally:
        with contextlib.suppress(AssertionError):  # it may have been restarted meanwhile
            stage.node.signal(container, "CONT")
        stage.service.wait_operator("Connected", timeout=90)


def test_all_rows_have_their_place() -> None:
    assert {row.given for row in ROWS} == {*NAMES, *ELSEWHERE}


@pytest.mark.slow
@pytest.mark.parametrize("row", HERE, ids=lambda row: f"{row.method}: {row.case}")
def test_row(row: Row, request: pytest.FixtureRequest) -> None:
    """A tenant is named each time, and never matters."""
    stage: Stage = request.getfixturevalue("away" if row.is_away else "stage")
    status, headers, body = stage.ask(NAMES[row.given], row.method, row.query)
    if status == 202:
        stage.cancel(headers["location"])
    row.check(status, headers, body, PATTERNS)


@pytest.mark.slow
def test_a_row_is_of_real_profiles(stage: Stage) -> None:
    """What the rows were asked about: profiles with samples."""
    for name in WITH_GOOD:
        found = json.loads(stage.service.call("GET", f"/v0/pipelines/{name}/samply_profiles").body)["profiles"]
        assert any(item["state"] == "Succeeded" and item["file"]["size_bytes"] > 1000 for item in found), found
