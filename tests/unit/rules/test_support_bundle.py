"""Which objects of a namespace are included in a support bundle."""

from __future__ import annotations

from typing import Any

from samply_operator.rules.serving import support_bundle

NAMES = {"Pod": {"orders-0"}, "SamplyProfile": {"p-1"}, "StatefulSet": {"orders"}}


def make_event(kind: str, name: str, *, last: str = "2026-01-31T10:00:00Z", **more: Any) -> dict[str, Any]:
    return {"involvedObject": {"kind": kind, "name": name}, "reason": "R", "lastTimestamp": last, **more}


def test_events_are_those_of_the_pipelines_own_objects() -> None:
    """A pod named like a profile is not one."""
    events = [
        make_event("Pod", "orders-0"),
        make_event("Pod", "other-0"),
        make_event("Pod", "p-1"),
        make_event("Job", "x"),
    ]
    assert [event["object"] for event in support_bundle.choose_events(events, NAMES)] == ["Pod/orders-0"]


def test_they_are_in_order_and_the_newest_are_kept() -> None:
    events = [make_event("Pod", "orders-0", last=f"2026-01-31T10:{n // 60:02}:{n % 60:02}Z") for n in range(600)]
    chosen = support_bundle.choose_events(reversed(events), NAMES)
    assert len(chosen) == support_bundle.MAX_EVENTS
    assert chosen[-1]["last_seen"] == "2026-01-31T10:09:59Z"


def test_text_of_others_is_cleaned() -> None:
    chosen = support_bundle.choose_events([make_event("Pod", "orders-0", message="a\x1b[31m" + "x" * 100_000)], NAMES)
    assert "\x1b" not in chosen[0]["message"]
    assert len(chosen[0]["message"]) < 10_000


def test_newer_events_without_a_timestamp_of_the_old_kind_are_read() -> None:
    event = {"involvedObject": {"kind": "Pod", "name": "orders-0"}, "eventTime": "2026-01-31T10:00:00.000000Z"}
    assert support_bundle.choose_events([event], NAMES)[0]["last_seen"] == "2026-01-31T10:00:00.000000Z"


def test_objects_are_shown_without_what_may_hold_secrets() -> None:
    """kubectl writes whole manifests into an annotation."""
    raw = {
        "metadata": {"name": "p-1", "uid": "u", "annotations": {"secret": "1"}, "managedFields": [{}]},
        "spec": {"pipeline": "orders"},
        "status": {"phase": "Failed"},
    }
    assert support_bundle.choose_objects([raw]) == (
        {"metadata": {"name": "p-1", "uid": "u"}, "spec": {"pipeline": "orders"}, "status": {"phase": "Failed"}},
    )
