"""The operator's own pod and claim, and the pods that check a node, from raw objects of kubectl. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from samply_operator.model.check import Check
from samply_operator.rules.recording import failures

Raw = Mapping[str, Any]

NO_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
NO_CONFIGURATION = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
READ_PARANOID = ("cat", "/proc/sys/kernel/perf_event_paranoid")


def _list_statuses(pod: Raw) -> Iterator[Raw]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _find_waiting(pod: Raw) -> Iterator[tuple[str, str, str]]:
    """Container, reason and message of each waiting container."""
    for status in _list_statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        if reason := waiting.get("reason"):
            yield str(status["name"]), str(reason), failures.clean_text(str(waiting.get("message") or ""))[:300]


def _find_condition(pod: Raw, kind: str) -> Raw:
    found = (pod.get("status") or {}).get("conditions") or ()
    return next((each for each in found if each.get("type") == kind), {})


def judge_pods(pods: Sequence[Raw], deployments: Sequence[Raw] = ()) -> Check:
    """Of the release: it exists and is ready. `deployments` say why there is none."""
    if not pods:
        refused = [str(_find_condition(each, "ReplicaFailure").get("message") or "") for each in deployments]
        if message := " ".join(filter(None, refused)):
            message = f"The release has no pod: {failures.clean_text(message)[:500]}"
            return Check("Operator", "Failed", message, "Raise the quota, or exempt the release from the policy.")
        remedy = "Check kubectl describe deployment and replicaset: a quota or a policy may refuse the pod."
        return Check("Operator", "Failed", "The release has no pod.", remedy)
    pod = max(pods, key=lambda raw: str(raw["metadata"].get("creationTimestamp") or ""))
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for container, reason, message in _find_waiting(pod):
        if reason in NO_IMAGE:
            remedy = "Correct image.repository and image.tag in the chart's values, or set imagePullSecrets."
            return Check("Operator", "Failed", f"{name}: the image of {container} cannot be pulled: {message}", remedy)
        if reason in NO_CONFIGURATION:
            remedy = "Create the Secret or ConfigMap in the message."
            return Check("Operator", "Failed", f"{name}: {container} cannot be started: {message}", remedy)
        if reason == "CrashLoopBackOff":
            remedy = f"Its log says why: kubectl logs -n {pod['metadata']['namespace']} {pod['metadata']['name']}"
            return Check("Operator", "Failed", f"{name}: {container} restarts repeatedly.", f"{remedy} -c {container}")
    scheduled = _find_condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        message = failures.clean_text(str(scheduled.get("message") or ""))[:300]
        remedy = "Check the claim below, and the nodes' taints and free resources."
        return Check("Operator", "Failed", f"{name} cannot be placed on a node: {message}", remedy)
    if _find_condition(pod, "Ready").get("status") != "True":
        return Check("Operator", "Warning", f"{name} is not ready.", "Wait a moment, or see kubectl describe pod.")
    return Check("Operator", "Passed", f"{name} is ready.")


def list_claims(pods: Sequence[Raw]) -> tuple[str, ...]:
    """Names of the claims that the pods mount."""
    found = [
        str(claim["claimName"])
        for pod in pods
        for volume in (pod.get("spec") or {}).get("volumes") or ()
        if (claim := volume.get("persistentVolumeClaim"))
    ]
    return tuple(dict.fromkeys(found))


def judge_claim(claim: Raw) -> Check:
    name, phase = claim["metadata"]["name"], (claim.get("status") or {}).get("phase")
    if phase == "Bound":
        return Check("Volume", "Passed", f"PersistentVolumeClaim {name} is bound.")
    of = (claim.get("spec") or {}).get("storageClassName") or "the default class, which may be missing"
    return Check(
        "Volume",
        "Failed",
        f"PersistentVolumeClaim {name} is {phase or 'not bound'}; its storage class is {of}.",
        "Set persistence.storageClass to one of kubectl get storageclass, or create a volume for it.",
    )


# ----------------------------------------------------------------------------------------------------------- a node


def build_probe(name: str, pod: Raw, image: str) -> dict[str, Any]:
    """A pod on the same node that pulls the helper's image as an ephemeral container would, and reports what the kernel
    allows. The strictest Pod Security level admits it."""
    spec = pod["spec"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "kubectl-samply"}},
        "spec": {
            "nodeName": spec["nodeName"],
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 120,
            "automountServiceAccountToken": False,
            "imagePullSecrets": spec.get("imagePullSecrets") or [],
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": list(READ_PARANOID),
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "16Mi"},
                        "limits": {"cpu": "100m", "memory": "32Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        },
    }


def is_decided(pod: Raw) -> bool:
    """It has ended, or its image cannot be pulled."""
    if (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
        return True
    return any(reason in NO_IMAGE for _, reason, _ in _find_waiting(pod))


def judge_pull(pod: Raw, image: str, node: str) -> Check:
    """Of a probe."""
    phase = (pod.get("status") or {}).get("phase")
    if phase == "Succeeded":
        return Check("HelperImage", "Passed", f"Node {node} has pulled {image}.")
    waiting = next(iter(_find_waiting(pod)), None)
    if waiting is not None and waiting[1] in NO_IMAGE:
        message = f"Node {node} cannot pull {image}: {waiting[2] or waiting[1]}"
        return Check("HelperImage", "Failed", message, failures.REMEDIES["ImagePullFailed"])
    said = (pod.get("status") or {}).get("message") or (waiting and f"{waiting[1]}: {waiting[2]}") or phase
    message = f"Node {node} has not run a pod of {image}: {failures.clean_text(str(said))[:300]}"
    return Check("HelperImage", "Unknown", message, "Check the node, and the policies and quotas of the namespace.")
