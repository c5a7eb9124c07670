"""Events are published once, repeats are counted, and a failure to publish harms nothing."""

from __future__ import annotations

import logging

import pytest

from samply_operator.kube import events, objects
from samply_operator.kube.client import KubeClient
from support.fake_kube import FakeKube

POD = {"apiVersion": "v1", "kind": "Pod", "namespace": "space", "name": "pod", "uid": "u"}


def list_published(kube: FakeKube) -> list[tuple[str, str, int]]:
    found = [raw for path, raw in kube.objects.items() if path.startswith(objects.events("space"))]
    return [(raw["reason"], raw["message"], raw["count"]) for raw in found]


async def test_a_repeat_is_counted(kube: FakeKube, client: KubeClient) -> None:
    sink = events.EventSink(client, "operator-0")
    for message in ("one", "one", "two", "one"):
        await sink.publish(POD, "Normal", "Recording", message)
    assert list_published(kube) == [("Recording", "one", 3), ("Recording", "two", 1)]


async def test_a_repeat_of_a_dropped_event_is_published_again(kube: FakeKube, client: KubeClient) -> None:
    sink = events.EventSink(client, "operator-0")
    await sink.publish(POD, "Warning", "Failed", "why")
    kube.objects.clear()
    await sink.publish(POD, "Warning", "Failed", "why")
    assert list_published(kube) == [("Failed", "why", 1)]


async def test_a_late_repeat_is_a_new_event(
    kube: FakeKube, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "REPEAT_SECS", 0.0)
    sink = events.EventSink(client, "operator-0")
    for _ in range(2):
        await sink.publish(POD, "Normal", "Recording", "one")
    assert list_published(kube) == [("Recording", "one", 1)] * 2


async def test_trouble_is_logged_and_not_raised(
    kube: FakeKube, client: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    kube.failures.append(403)
    with caplog.at_level(logging.WARNING):
        await events.EventSink(client, "operator-0").publish(POD, "Normal", "Recording", "one")
    assert "403" in caplog.text
    assert list_published(kube) == []


async def test_memory_of_published_events_is_bounded(
    kube: FakeKube, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "REMEMBERED", 3)
    sink = events.EventSink(client, "operator-0")
    for number in range(10):
        await sink.publish(POD, "Normal", "Recording", str(number))
    assert len(sink._published) == 3
    assert len(list_published(kube)) == 10


def test_an_event_of_a_long_name_has_a_valid_name() -> None:
    involved = {**POD, "name": "a" * 229 + "." + "b" * 23}
    name = events.build_event(involved, "Normal", "R", "m", instance="i", now="t")["metadata"]["name"]
    assert len(name) <= 253
    assert ".." not in name
