"""Every reason for which a recording can be refused or fail, each with its cure."""

from __future__ import annotations

from typing import NoReturn

from samply_operator.errors import RecordingFailed
from samply_operator.model.profile import Failure

REMEDIES: dict[str, str] = {
    "UnknownPipeline": "Look at `kubectl get statefulset,pod` in this namespace; pods must match the chart's "
    "config.targets.podSelector, and the namespace must be in config.targets.namespaces.",
    "UnknownOrdinal": "Choose one of the ordinals that the message lists.",
    "UnknownContainer": "Choose one of the containers that the message lists, or leave spec.container out.",
    "PodNotRunning": "Start the pipeline, wait until its pod is Running, then ask again.",
    "ProfilingNotEnabled": "Set config.recording.enabled=true in the chart's values.",
    "SwitchedOff": "Ask whoever runs the pipeline, or remove the annotation samply.feldera.com/enabled from what the "
    "message names.",
    "AlreadyRecording": "Wait until the running profile ends, or stop it: kubectl annotate sprof NAME "
    "samply.feldera.com/stop=keep.",
    "ModeNotAllowed": "Allow the mode for this namespace in the chart's values (config.ephemeral, config.bringOwn), or "
    "leave spec.mode out.",
    "OwnSamplyMissing": "Use an operator image that holds the project's samply (hack/images builds it).",
    "EphemeralRefused": "Pod Security `baseline` and admission policies refuse PERFMON: label the namespace "
    "pod-security.kubernetes.io/enforce=privileged, or exempt the operator's ServiceAccount "
    "(docs/troubleshooting.md, Pod Security).",
    "ImageRewritten": "Name the image of the message in the chart's helperImage.rewrittenAs, and make it reachable "
    "from the node; or exempt the operator's ServiceAccount from what rewrites images.",
    "EphemeralLimit": "This pod has had as many ephemeral containers as config.ephemeral.maxPerPod allows (they can't "
    "be removed from a pod): restart the pod, or raise the limit.",
    "ImagePullFailed": "Make the image of config.ephemeral.image reachable from the node, with the pod's "
    "imagePullSecrets.",
    "EphemeralTimeout": "The ephemeral container didn't start in time: look at kubectl describe pod and at the node.",
    "UnsupportedArchitecture": "Put a samply for this architecture into the pipeline's image (mode InPlace).",
    "UserNamespace": "Run the pipeline's pod without hostUsers: false.",
    "AmbiguousProcess": "Say which in spec.process, by its name or its number.",
    "OpenFiles": "Raise the container's limit of open files, or lower the number of threads.",
    "TightMemory": "Record for a shorter time or with a lower rateHz, raise the container's memory limit, or strip the "
    "binary's debug sections.",
    "NodeMemory": "Ask again when the node has more memory left, record for a shorter time or with a lower rateHz, or "
    "run the pipeline on a node with more.",
    "MemoryNear": "The recording was called off before it could harm the pipeline: record for a shorter time or with a "
    "lower rateHz, or raise the container's memory limit.",
    "LowCoverage": "Where a CPU limit hides samples, use mode Ephemeral (its samply sees all CPUs), or remove the "
    "limit. Else ask for a lower rateHz, or again when the node is less busy.",
    "NoShell": "The image must have a POSIX shell at sh (in-place recording runs a small script).",
    "SamplyNotFound": "Put samply (0.13.1 or newer) on the PATH of the pipeline's image.",
    "SamplyTooOld": "Put samply 0.13.1 or newer into the pipeline's image.",
    "NoWritableFolder": "Give the container a writable folder: an emptyDir at /tmp is enough.",
    "TooLittleSpace": "Free space in the pod's folder, or raise its emptyDir's sizeLimit, or the limit for "
    "ephemeral-storage; or record for a shorter time.",
    "PerfEventParanoid": "On the node: sysctl kernel.perf_event_paranoid=1 (samply 0.13.1 refuses at 2 and above, "
    "whatever the capabilities are).",
    "PerfRestricted": "On the node: sysctl kernel.perf_event_paranoid=2 (Debian's and Ubuntu's kernels want "
    "CAP_SYS_ADMIN above that; PERFMON isn't enough there).",
    "PerfNotPermitted": "Add the PERFMON capability to the container's securityContext (or, as non-root, give the "
    "samply file the capability: setcap cap_perfmon,cap_ipc_lock+ep), or set seccompProfile to Unconfined. If it "
    "has it, lower kernel.perf_event_paranoid on the node to 2.",
    "LockedMemory": "Add the IPC_LOCK capability to the container's securityContext, or lower the number of threads.",
    "RateTooHigh": "Ask for a lower rateHz: the node's kernel.perf_event_max_sample_rate is the limit.",
    "ProcessNotFound": "Leave spec.process out, or name a process that runs in the container.",
    "TargetStopped": "The process is stopped (state T), and was before: continue it (SIGCONT), then ask again.",
    "TargetEnded": "The process ended while it was recorded: see why (kubectl logs --previous), then start again.",
    "PodDeleted": "The pod went away while it was recorded: wait until the pipeline runs again, then ask again.",
    "ContainerRestarted": "The container restarted while it was recorded: see why (kubectl describe pod), ask again.",
    "AttachTimeout": "samply never began to record: look at its log in this failure, and at the load of the node.",
    "FinishTimeout": "samply didn't write its file in time: record for a shorter time or with a lower rateHz.",
    "SamplyFailed": "Look at samply's log in this failure.",
    "SamplyKilled": "samply was killed, most likely for want of memory: raise the container's memory limit, or record "
    "for a shorter time.",
    "NoProfileWritten": "Look at samply's log in this failure, and at the space in the pod's folder.",
    "FelderaNotConfigured": "Give config.feldera.url in the chart's values (docs/feldera.md), or use another mode.",
    "FelderaUnreachable": "Look at config.feldera.url and at Feldera's API server, or use another mode.",
    "FelderaRefused": "Look at the keys in config.feldera.secretName and at Feldera's message, or use another mode.",
    "PipelineSamplyFailed": "Look at the pipeline's log: samply must be in its image and be allowed to record "
    "(pipeline.allowProfiling in Feldera's chart). Or use another mode.",
    "EmptyProfile": "No samples were taken: if the pipeline was busy, look at docs/troubleshooting.md, CPU limits.",
    "TransferCorrupt": "The copy's SHA-256 never matched: ask again; if it stays, look at the container runtime.",
    "TransferFailed": "The file couldn't be copied in time: look at the connection to the pod's node, then ask again.",
    "StoreFull": "Delete old SamplyProfile objects, or enlarge the volume (persistence.size). "
    "With a bucket: look in the operator's log why the spool isn't emptied, or raise config.storage.spoolBytes.",
    "StoreFailed": "Look at the operator's log and at the volume.",
    "Unreachable": "The pod, its node or the API server couldn't be reached for too long: look at the node, ask again.",
    "NotPermitted": "The operator lacks a right: look at its log at start, and at the Role that the chart made.",
    "AdmissionRefused": "A webhook, a policy or a quota of the cluster refused it (the message says which, and why): "
    "exempt the operator's ServiceAccount there, or ask whoever runs it.",
    "Lost": "What the recording needs in the pod went away while it was used (the message says what): ask again.",
    "InternalError": "This is a defect of samply-operator: please report it with the operator's log.",
}


def build_failure(reason: str, message: str, *, log: str = "") -> Failure:
    """A failure with the cure of its reason. KeyError for a reason that has none: a test walks them all."""
    return Failure(
        reason=reason, message=clean_text(message)[:1024], remedy=REMEDIES[reason], log=clean_text(log)[-4096:]
    )


def raise_failure(failure: Failure) -> NoReturn:
    """End the recording with it."""
    raise RecordingFailed(failure.reason, failure.message, failure.remedy, failure.log)


def fail(reason: str, message: str, *, log: str = "") -> NoReturn:
    raise_failure(build_failure(reason, message, log=log))


def failure_of(error: RecordingFailed) -> Failure:
    return Failure(error.reason, error.message, error.remedy, error.log)


def clean_text(text: str) -> str:
    """Text that came from a pod: control characters out (it ends up in terminals)."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
