"""The reasons for which a recording can be refused or fail, each with its remedy."""

from __future__ import annotations

from typing import NoReturn

from samply_operator.errors import RecordingFailed
from samply_operator.model.profile import Failure

REMEDIES: dict[str, str] = {
    "UnknownPipeline": "Check `kubectl get statefulset,pod` in this namespace; pods must match the chart's "
    "config.targets.podSelector, and the namespace must be in config.targets.namespaces.",
    "UnknownOrdinal": "Use one of the ordinals listed in the message.",
    "UnknownContainer": "Use one of the containers listed in the message, or omit spec.container.",
    "PodNotRunning": "Start the pipeline, wait until its pod is Running, then retry.",
    "ProfilingNotEnabled": "Set config.recording.enabled=true in the chart's values.",
    "SwitchedOff": "Ask the owner of the pipeline, or remove the annotation samply.feldera.com/enabled from the object "
    "named in the message.",
    "AlreadyRecording": "Wait until the running profile ends, or stop it: kubectl annotate sprof NAME "
    "samply.feldera.com/stop=keep.",
    "ModeNotAllowed": "Allow the mode for this namespace in the chart's values (config.ephemeral, config.bringOwn), or "
    "omit spec.mode.",
    "OwnSamplyMissing": "Use an operator image that contains the project's samply (hack/images builds it).",
    "EphemeralRefused": "Pod Security `baseline` and admission policies refuse PERFMON: label the namespace "
    "pod-security.kubernetes.io/enforce=privileged, or exempt the operator's ServiceAccount "
    "(docs/troubleshooting.md, Pod Security). On OpenShift, a SecurityContextConstraints for it is needed "
    "(docs/install.md, OpenShift).",
    "ImageRewritten": "Add the image in the message to the chart's helperImage.rewrittenAs, and make it reachable "
    "from the node; or exempt the operator's ServiceAccount from the webhook that rewrites images.",
    "EphemeralLimit": "This pod has had as many ephemeral containers as config.ephemeral.maxPerPod allows (they cannot "
    "be removed from a pod): restart the pod, or raise the limit. If recordings in them failed, cure that first: their "
    "SamplyProfiles have the reason.",
    "ImagePullFailed": "Make the image of config.ephemeral.image reachable from the node, with the pod's "
    "imagePullSecrets.",
    "EphemeralTimeout": "The ephemeral container did not start in time: check kubectl describe pod and the node.",
    "UnsupportedArchitecture": "Install samply for this architecture in the pipeline's image (mode InPlace), or build "
    "the helper's image for it and set config.ephemeral.architectures (docs/install.md, arm64).",
    "UserNamespace": "Run the pipeline's pod without hostUsers: false.",
    "AmbiguousProcess": "Set spec.process to the name or PID of one of them.",
    "OpenFiles": "Raise the container's limit of open files, or reduce the number of threads.",
    "TightMemory": "Record for a shorter time or with a lower rateHz, raise the container's memory limit, or strip the "
    "binary's debug sections.",
    "NodeMemory": "Retry when the node has more free memory, record for a shorter time or with a lower rateHz, or "
    "run the pipeline on a node with more.",
    "MemoryNear": "The recording was ended before it could harm the pipeline: record for a shorter time or with a "
    "lower rateHz, or raise the container's memory limit.",
    "LowCoverage": "If a CPU limit hides samples, use mode Ephemeral (its samply sees all CPUs), or remove the "
    "limit. Otherwise use a lower rateHz, or retry when the node is less busy.",
    "NoShell": "Install a POSIX shell as sh in the image (in-place recording runs a small script).",
    "SamplyNotFound": "Install samply (0.13.1 or newer) on the PATH of the pipeline's image.",
    "SamplyTooOld": "Install samply 0.13.1 or newer in the pipeline's image.",
    "NoWritableFolder": "Add a writable folder to the container: an emptyDir at /tmp is enough.",
    "TooLittleSpace": "Free space in the pod's folder, or raise its emptyDir's sizeLimit or the limit for "
    "ephemeral-storage; or record for a shorter time.",
    "PerfEventParanoid": "On the node: sysctl kernel.perf_event_paranoid=1 (samply 0.13.1 refuses 2 and above, "
    "whatever the capabilities).",
    "PerfRestricted": "On the node: sysctl kernel.perf_event_paranoid=2 (Debian's kernel requires CAP_SYS_ADMIN above "
    "that; PERFMON is not enough).",
    "PageSize": "Run the pipeline on a node whose kernel has pages of 4 KiB (on arm64, not one of the 16k or 64k "
    "kernels).",
    "PerfNotPermitted": "Add the PERFMON capability to the container's securityContext (or, as non-root, give the "
    "samply file the capability: setcap cap_perfmon,cap_ipc_lock+ep), or set seccompProfile to Unconfined. If it "
    "already has it, as in mode Ephemeral, on the node: sysctl kernel.perf_event_paranoid=2.",
    "LockedMemory": "Add the IPC_LOCK capability to the container's securityContext, or lower the number of threads.",
    "RateTooHigh": "Use a lower rateHz: the node's kernel.perf_event_max_sample_rate is the limit.",
    "ProcessNotFound": "Omit spec.process, or name a process that runs in the container.",
    "TargetStopped": "The process was already stopped (state T): continue it (SIGCONT), then retry.",
    "TargetEnded": "The process ended during the recording: check kubectl logs --previous, then retry.",
    "PodDeleted": "The pod was deleted during the recording: wait until the pipeline runs again, then retry.",
    "ContainerRestarted": "The container restarted during the recording: check kubectl describe pod, then retry.",
    "AttachTimeout": "samply did not start to record: check its log in this failure and the load of the node.",
    "FinishTimeout": "samply did not write its file in time: record for a shorter time or with a lower rateHz.",
    "SamplyFailed": "Check samply's log in this failure.",
    "SamplyKilled": "samply was killed, most likely because memory ran out: raise the container's memory limit, or "
    "record for a shorter time.",
    "NoProfileWritten": "Check samply's log in this failure and the free space in the pod's folder.",
    "FelderaNotConfigured": "Set config.feldera.url in the chart's values (docs/feldera.md), or use another mode.",
    "FelderaUnreachable": "Check config.feldera.url and Feldera's API server, or use another mode.",
    "FelderaRefused": "Check the keys in config.feldera.secretName and Feldera's message, or use another mode.",
    "PipelineSamplyFailed": "Check the pipeline's log: samply must be in its image and be allowed to record "
    "(pipeline.allowProfiling in Feldera's chart). Or use another mode.",
    "EmptyProfile": "No samples were taken: if the pipeline was busy, see docs/troubleshooting.md, CPU limits.",
    "TransferCorrupt": "The copy's SHA-256 never matched: retry; if it happens again, check the container runtime.",
    "TransferFailed": "The file could not be copied in time: check the connection to the pod's node, then retry.",
    "StoreFull": "Delete old SamplyProfile objects, or enlarge the volume (persistence.size).",
    "StoreFailed": "Check the operator's log and the volume.",
    "Unreachable": "The pod, its node or the API server was unreachable for too long: check the node, then retry.",
    "NotPermitted": "The operator lacks a permission: check its log after the start and the chart's Role.",
    "AdmissionRefused": "A webhook, a policy or a quota of the cluster refused it, or does not answer (see the "
    "message): exempt the operator's ServiceAccount there, or ask its owner.",
    "Lost": "Something that the recording needs in the pod disappeared (see the message): retry.",
    "InternalError": "This is a bug in samply-operator: please report it with the operator's log.",
}


def build_failure(reason: str, message: str, *, remedy: str = "", log: str = "") -> Failure:
    """A failure with a known remedy, else that of its reason. Raises KeyError for an unknown reason."""
    return Failure(
        reason=reason,
        message=clean_text(message)[:1024],
        remedy=remedy or REMEDIES[reason],
        log=clean_text(log)[-4096:],
    )


def raise_failure(failure: Failure) -> NoReturn:
    """Raises RecordingFailed with this failure."""
    raise RecordingFailed(failure.reason, failure.message, failure.remedy, failure.log)


def fail(reason: str, message: str, *, remedy: str = "", log: str = "") -> NoReturn:
    raise_failure(build_failure(reason, message, remedy=remedy, log=log))


def failure_of(error: RecordingFailed) -> Failure:
    return Failure(error.reason, error.message, error.remedy, error.log)


def clean_text(text: str) -> str:
    """Text from a pod without control characters, since it is shown in terminals."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
