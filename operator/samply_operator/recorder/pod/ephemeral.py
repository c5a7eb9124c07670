"""The ephemeral container: added to the pod, waited for, and ended after the recording.

It has the capabilities that profiling needs and nothing else, an image of the project's own, and an end of its own.
An entry in the pod's spec stays: Kubernetes can't remove it.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from samply_operator.errors import KubeDenied, KubeForbidden, KubeInvalid, KubeNotFound
from samply_operator.kube import faults, objects
from samply_operator.kube.client import KubeClient
from samply_operator.model.manifest import JournalEntry
from samply_operator.recorder.pod import script_calls
from samply_operator.recorder.pod.target_pod import TargetPod, find_helper_state
from samply_operator.rules.recording import failures
from samply_operator.settings import Recording, Settings

PREFIX = "samply-operator-"
CAPABILITIES = ("PERFMON", "SYS_PTRACE", "IPC_LOCK", "KILL", "SYS_CHROOT", "DAC_READ_SEARCH")
"""perf events; /proc/PID/root; ring buffers; stop and continue; the target's root; binaries under 0700 folders."""
POLL_SECS = 0.25
REWRITTEN = re.compile(r"samply-operator may only add its own image, not (\S+)")
"""Message of the chart's policy: the operator requests only its own image, so another component renamed it."""
MARGIN_SECS = 60
PULL_TROUBLE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
FOREIGN = ("no match for platform", "exec format error")
"""Messages of container runtimes for an image of another architecture."""
START_TROUBLE = frozenset({"CreateContainerError", "CreateContainerConfigError", "RunContainerError"})


def list_names(pod: Mapping[str, Any]) -> list[str]:
    containers = (pod.get("spec") or {}).get("ephemeralContainers") or []
    return [c["name"] for c in containers if c["name"].startswith(PREFIX)]


def find_life(entry: JournalEntry, settings: Recording) -> int:
    """Seconds after which it ends by itself, from when it runs: no step of a recording that may still end well is cut
    short by it, and a file that couldn't be copied stays for its time."""
    after = settings.finish_deadline_secs + max(settings.copy_deadline_secs, settings.remote_ttl_secs)
    return math.ceil(entry.duration_secs + settings.attach_deadline_secs + after)


def find_idle_secs(settings: Settings) -> int:
    """Seconds that it waits for a recording to start in it. A container that came too late, and that was not ended,
    stays no longer."""
    return math.ceil(settings.recording.unreachable_secs + settings.ephemeral.start_deadline_secs + MARGIN_SECS)


def build_container(settings: Settings, entry: JournalEntry, name: str, command: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": settings.ephemeral.image,
        "imagePullPolicy": settings.ephemeral.image_pull_policy,
        "targetContainerName": entry.container,
        "command": command,
        "terminationMessagePolicy": "File",
        # Each field is explicit: the pod's own defaults would refuse a root container.
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": False,
            "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


async def choose_name(pod: TargetPod) -> str:
    """The next number of this pod, and which recording's it is: two that choose at once, for two containers of the pod,
    choose differently. Ends the recording where the cap is reached."""
    taken, entry = list_names(await pod.read()), pod.entry
    limit = pod.context.settings.ephemeral.max_per_pod
    if len(taken) >= limit:
        failures.fail("EphemeralLimit", f"Pod {entry.pod} has had {len(taken)} of {limit} ephemeral containers.")
    return f"{PREFIX}{max(map(_parse_number, taken), default=0) + 1}-{entry.id[:8]}"


def _parse_number(name: str) -> int:
    number = name.removeprefix(PREFIX).partition("-")[0]
    return int(number) if number.isascii() and number.isdigit() else 0


async def start(pod: TargetPod) -> None:
    """Add the container `entry.helper` (unless it is there) and wait until it runs."""
    entry, settings = pod.entry, pod.context.settings
    life, patience = find_life(entry, settings.recording), find_idle_secs(settings)
    command = script_calls.build_command("hold.sh", str(life), str(patience))
    await pod.repeat(_ensure, build_container(settings, entry, entry.helper, command))
    await _wait(pod)


async def has_ended(pod: TargetPod) -> bool:
    """Whether the container `entry.helper` has started and ended."""
    return "terminated" in find_helper_state(await pod.read(), pod.entry.helper)


async def wake(pod: TargetPod) -> bool:
    """Continue a target that the lost container left stopped, where the target's own has no shell to do it: one more
    container, which does only that. True if it did. Raises KubeError, RecordingFailed."""
    entry, settings = pod.entry, pod.context.settings
    name = f"{PREFIX}wake-{entry.id[:8]}"
    command = script_calls.build_command("wake.sh", str(entry.pid), str(entry.pid_started))
    await _ensure(pod.client, entry, build_container(settings, entry, name, command))
    until = time.monotonic() + settings.ephemeral.start_deadline_secs
    while time.monotonic() < until:
        raw = await pod.client.get(objects.pods(entry.namespace, entry.pod))
        if (ended := find_helper_state(raw, name).get("terminated")) is not None:
            return bool(ended.get("exitCode") == 0)
        await asyncio.sleep(POLL_SECS)
    return False


async def _ensure(client: KubeClient, entry: JournalEntry, container: Mapping[str, Any]) -> None:
    """Idempotent: repeated after a lost response, it finds what the first call created."""
    pod = await client.get(objects.pods(entry.namespace, entry.pod))
    if container["name"] not in list_names(pod):
        await _add(client, entry, container)


async def _add(client: KubeClient, entry: JournalEntry, container: Mapping[str, Any]) -> None:
    body = {"spec": {"ephemeralContainers": [container]}}
    path = objects.pods(entry.namespace, entry.pod, "ephemeralcontainers")
    try:
        await client.patch(path, body, kind="strategic")
    except KubeDenied as error:
        if rewritten := REWRITTEN.search(error.message):
            _refuse_rewritten(container["image"], rewritten[1], "The chart's policy refuses it under that name.")
        # Pod Security, which has no such prefix, has the remedy of the reason.
        remedy = failures.REMEDIES["AdmissionRefused"] if faults.DENIED.search(error.message) else ""
        failures.fail("EphemeralRefused", f"The ephemeral container was refused: {error.message}", remedy=remedy)
    except KubeForbidden as error:
        if faults.NOT_AUTHORIZED.search(error.message):
            raise  # the operator's Role lacks it, which has another remedy than a refusal by admission
        failures.fail("EphemeralRefused", f"The ephemeral container was refused: {error.message}")
    except KubeInvalid as error:
        # Of containers that are there already the message has a comparison of all fields.
        message = f"The API server rejects the ephemeral container: {error.message.partition(' @@ ')[0]}"
        remedy = failures.REMEDIES["AdmissionRefused"] if "may not be changed" in message else ""
        failures.fail("EphemeralRefused", message, remedy=remedy)
    except KubeNotFound:
        failures.fail("PodDeleted", f"Pod {entry.pod} was deleted.")


async def _wait(pod: TargetPod) -> None:
    image = pod.context.settings.ephemeral.image
    until = time.monotonic() + pod.context.settings.ephemeral.start_deadline_secs
    trouble = ""
    while True:
        raw = await pod.read()
        state = find_helper_state(raw, pod.entry.helper)
        waiting = state.get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        if "running" in state:
            return
        if "terminated" in state:
            ended = state["terminated"]
            _check_platform(image, str(ended.get("message") or ""))
            failures.fail("EphemeralTimeout", f"The ephemeral container ended at once: {ended.get('reason')}.")
        if reason in PULL_TROUBLE | START_TROUBLE:
            trouble = f"{reason}: {str(waiting.get('message') or '')[:300]}"
            _check_platform(image, trouble)
        if reason in {"InvalidImageName", "ErrImageNeverPull"} or time.monotonic() >= until:
            if any(word in trouble for word in PULL_TROUBLE):
                if (actual := find_image(raw, pod.entry.helper)) not in {"", image}:
                    _refuse_rewritten(image, actual, f"The node can't pull it. {trouble}")
                failures.fail("ImagePullFailed", f"The node can't pull {image}. {trouble}")
            failures.fail("EphemeralTimeout", f"The ephemeral container is not running. {trouble or reason}".strip())
        await asyncio.sleep(POLL_SECS)


def _refuse_rewritten(own: str, actual: str, why: str) -> NoReturn:
    failures.fail("ImageRewritten", f"Admission replaced the image {own} by {actual}. {why}")


def find_image(pod: Mapping[str, Any], name: str) -> str:
    """The image of an ephemeral container, as the pod has it; empty: there is no such container."""
    containers = (pod.get("spec") or {}).get("ephemeralContainers") or []
    return next((str(c.get("image", "")) for c in containers if c.get("name") == name), "")


def _check_platform(image: str, said: str) -> None:
    if any(words in said for words in FOREIGN):
        failures.fail("UnsupportedArchitecture", f"{image} isn't built for the node's architecture. {said}")
