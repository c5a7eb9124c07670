"""The rest of the interface, through the Service of a real installation: preflight, links, and Feldera's SDK."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import Iterator

import pytest

from cluster import pipelines, release
from cluster import profiles as objects
from cluster.pipelines import Pipeline
from cluster.release import Answer, Install, Service
from sdk import run
from support import kubectl
from support.openapi import read_document

pytestmark = pytest.mark.cluster

SECRET = "samply-links"
NOTICED_SECS = 15
"""The operator reads the Secret every 2 s and tells the api at once."""


@pytest.fixture(scope="module")
def install() -> Iterator[Install]:
    config = {"recording": {"mode": "InPlace"}, "api": {"links": {"secretName": SECRET, "maxSecs": 3600}}}
    with release.installed("interface", config=config) as found:
        yield found


@pytest.fixture(scope="module")
def pipeline(install: Install) -> Pipeline:
    started = pipelines.start(install.namespace, "interface", replicas=1)
    started.wait_ready()
    return started


def fetch(service: Service, pipeline: Pipeline) -> Answer:
    found: list[Answer] = []

    def look() -> bool:
        found[:] = [service.profile(pipeline.name, "?latest=true")]
        return found[0].status != 204

    kubectl.poll(look, timeout=60, what="the profile is there")
    return found[0]


@pytest.fixture(scope="module")
def stored(install: Install, pipeline: Pipeline) -> str:
    """The path of a stored profile."""
    with install.open() as service:
        started = service.profile(pipeline.name, "?duration_secs=2", "POST")
        assert started.status == 202, started.body
        assert fetch(service, pipeline).status == 200
    return started.headers["location"]


def make_link(service: Service, stored: str) -> dict[str, str]:
    answer = service.call("POST", f"{stored}/links?expires_secs=600")
    assert answer.status == 200, answer.body
    link: dict[str, str] = json.loads(answer.body)
    return link


def test_a_preflight_says_go_and_records_nothing(pipeline: Pipeline, service: Service) -> None:
    """Its object keeps the verdict; no attempt, no file. The list may show the request for a moment."""
    before = service.list_stored(pipeline.name)
    answer = service.profile(pipeline.name, "/preflight?duration_secs=10", "POST")
    assert answer.status == 200, answer.body
    body = json.loads(answer.body)
    assert body["verdict"] in {"Go", "GoWithWarning"}
    assert (body["pod"], body["mode"]) == (pipeline.pod(0), "InPlace")
    made = next(raw for raw in objects.find(pipeline) if raw["metadata"]["name"] == body["object"])
    assert made["spec"]["preflightOnly"] is True
    assert made["status"]["phase"] == "Succeeded"
    kubectl.poll(lambda: service.list_stored(pipeline.name) == before, timeout=30, what="the list is as it was before")


def test_a_preflight_that_refuses_is_an_answer(install: Install, service: Service) -> None:
    """With the reason and the cure."""
    bare = pipelines.start(install.namespace, "interface-bare", image=pipelines.BARE_IMAGE, replicas=1)
    bare.wait_ready()
    kubectl.poll(lambda: service.profile(bare.name).status == 400, timeout=10, what="the API knows the pipeline")
    answer = service.profile(bare.name, "/preflight", "POST")
    assert answer.status == 200, answer.body
    body = json.loads(answer.body)
    assert (body["verdict"], body["failure"]["reason"]) == ("Refuse", "SamplyNotFound")
    assert "Install samply" in body["failure"]["remedy"]
    bare.delete()


def test_the_document_is_that_of_this_release(service: Service) -> None:
    """As the source has it, served by the image."""
    assert json.loads(service.call("GET", "/openapi.json").body) == read_document()
    assert b"<main>" in service.call("GET", "/docs").body


def test_a_link_outlives_an_upgrade_and_ends_with_its_key(install: Install, stored: str) -> None:
    """The chart made the key once. Replacing it revokes its links, unless it is kept as the previous key."""
    with install.open() as service:
        link = make_link(service, stored)
        whole = service.call("GET", link["href"])
        assert whole.status == 200
    made = kubectl.get("-n", install.namespace, "secret", SECRET)["data"]
    install.upgrade(podAnnotations={"test": "upgraded"})
    assert kubectl.get("-n", install.namespace, "secret", SECRET)["data"] == made
    newer = base64.b64encode(os.urandom(48)).decode()
    with install.open() as service:
        service.wait_operator("Connected")
        assert service.call("GET", link["href"]).body == whole.body
        change_secret(install, {"data": {"current": newer, "previous": made["current"]}})
        kubectl.poll(
            lambda: make_link(service, stored)["href"] != link["href"], timeout=NOTICED_SECS, what="the new key signs"
        )
        assert service.call("GET", link["href"]).status == 200
        change_secret(install, {"data": {"previous": None}})
        kubectl.poll(
            lambda: service.call("GET", link["href"]).status == 403, timeout=NOTICED_SECS, what="the link has ended"
        )
        assert service.call("GET", make_link(service, stored)["href"]).body == whole.body
    logs = kubectl.succeed("-n", install.namespace, "logs", install.deployment, "-c", "api")
    assert f"{stored}/profile" in logs
    assert "signature" not in logs


def change_secret(install: Install, patch: dict[str, object]) -> None:
    kubectl.succeed("-n", install.namespace, "patch", "secret", SECRET, "--type=merge", "-p", json.dumps(patch))


def test_feldera_s_sdk_starts_and_gets(pipeline: Pipeline, service: Service, stored: str) -> None:
    """A new profile, byte for byte what the service has."""
    run.need_sdk()
    before = service.profile(pipeline.name).headers["etag"]
    url = f"http://127.0.0.1:{service.port}"
    (began,) = asyncio.run(run.run(url, f"start:{pipeline.name}:2", key=service.token, tenant="acme"))
    assert began == {"started": pipeline.name}
    whole = fetch(service, pipeline)
    assert whole.headers["etag"] != before
    (got,) = asyncio.run(run.run(url, f"get:{pipeline.name}", key=service.token))
    assert got == {"sha256": hashlib.sha256(whole.body).hexdigest(), "size_bytes": len(whole.body)}
