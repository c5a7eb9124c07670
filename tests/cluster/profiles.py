"""SamplyProfiles from the user's side: apply, kubectl wait, list, read conditions and Events."""

from __future__ import annotations

import json
import uuid
from typing import Any

from cluster.pipelines import Pipeline
from samply_operator.model import names
from support import kubectl

Object = dict[str, Any]


def make(pipeline: Pipeline, /, ordinal: int = 0, **spec: Any) -> str:
    """Apply one; its name. A recording of 3 s unless `spec` says otherwise."""
    name = f"p-{uuid.uuid4().hex[:8]}"
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name},
        "spec": {"pipeline": pipeline.name, "ordinal": ordinal, "durationSeconds": 3, **spec},
    }
    kubectl.succeed("-n", pipeline.namespace, "apply", "-f", "-", body=body)
    return name


def get(pipeline: Pipeline, name: str) -> Object:
    return kubectl.get("-n", pipeline.namespace, f"sprof/{name}")


def find(pipeline: Pipeline) -> list[Object]:
    """All of the pipeline's, oldest first."""
    items = kubectl.get("-n", pipeline.namespace, "sprof")["items"]
    mine = [item for item in items if item["spec"]["pipeline"] == pipeline.name]
    return sorted(mine, key=lambda item: (item["metadata"]["creationTimestamp"], item["spec"]["ordinal"]))


def name_of(profile: Object) -> str:
    found: str = profile["metadata"]["name"]
    return found


def uid_of(profile: Object) -> str:
    found: str = profile["metadata"]["uid"]
    return found


def wait(pipeline: Pipeline, name: str, condition: str = "Finished", timeout: float = 60) -> Object:
    """As a user would: kubectl wait."""
    kubectl.succeed(
        *("-n", pipeline.namespace, "wait", f"sprof/{name}", f"--for=condition={condition}"),
        f"--timeout={timeout:g}s",
        timeout=timeout + 10,
    )
    return get(pipeline, name)


def wait_succeeded(pipeline: Pipeline, name: str, timeout: float = 60) -> Object:
    profile = wait(pipeline, name, timeout=timeout)
    assert phase_of(profile) == "Succeeded", show(profile["status"])
    assert profile["status"]["profile"]["samples"] > 0
    return profile


def wait_failed(pipeline: Pipeline, name: str, reason: str, timeout: float = 60) -> Object:
    """It failed for that reason, its conditions show it too, and it has a remedy. Returns `status.failure`."""
    status = wait(pipeline, name, timeout=timeout)["status"]
    assert (status["phase"], status.get("failure", {}).get("reason")) == ("Failed", reason), show(status)
    assert conditions(status) | {"Finished": "True", "Succeeded": "False"} == conditions(status)
    failure: Object = status["failure"]
    assert failure["message"]
    assert failure["remedy"]
    return failure


def show(value: Object) -> str:
    """For the message of an assertion: whole, where pytest would shorten an object."""
    return json.dumps(value, indent=1)


def phase_of(profile: Object) -> str:
    found: str = profile.get("status", {}).get("phase", "")
    return found


def conditions(status: Object) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


def wait_gone(pipeline: Pipeline, name: str) -> None:
    kubectl.poll(
        lambda: kubectl.run("-n", pipeline.namespace, "get", f"sprof/{name}").returncode != 0,
        timeout=10,
        what=f"sprof/{name} is gone",
    )


def delete(pipeline: Pipeline, name: str) -> None:
    kubectl.succeed("-n", pipeline.namespace, "delete", f"sprof/{name}")


def find_events(namespace: str, name: str, reason: str) -> list[str]:
    """Messages of the Events with that reason on the object of that name."""
    found = kubectl.get("-n", namespace, "events", f"--field-selector=involvedObject.name={name},reason={reason}")
    return [event.get("message") or event.get("note") or "" for event in found["items"]]


def wait_event(namespace: str, name: str, reason: str, text: str = "") -> str:
    """The message of the newest Event of this reason that has `text` in it."""

    def look() -> list[str]:
        return [message for message in find_events(namespace, name, reason) if text in message]

    return kubectl.poll(look, timeout=15, what=f"an Event {reason} on {name} with {text!r}")[-1]
