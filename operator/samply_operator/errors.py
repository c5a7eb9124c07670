"""Every error that this project raises on purpose.

SamplyOperatorError            has a message, a remedy and details; `code` is what clients see
├── SettingsError              the installation is configured wrongly; the process ends
├── RequestError               the request cannot be fulfilled
│   ├── InvalidParam
│   ├── InvalidSpec            an invalid SamplyProfile (or annotation)
│   ├── Unauthenticated
│   ├── Forbidden              may read there, but not do this
│   ├── UnknownPipeline
│   ├── UnknownProfile
│   ├── AmbiguousPipeline      the same name in several namespaces
│   ├── NoSamplyProfile
│   ├── ProfilingInProgress
│   ├── NotRecording           it has already ended, or not started: nothing to stop
│   ├── ProfilingNotEnabled
│   ├── LinksNotEnabled
│   ├── InvalidLink            an invalid or expired signed link
│   ├── ObjectRefused          a quota, policy or webhook of the cluster refuses the SamplyProfile
│   ├── RangeNotSatisfiable
│   └── TooManyRequests
├── ProfilingFailed            an admitted recording ended without a good profile
│   └── RecordingFailed        the same inside the recorder, with its Failure
├── PipelineNotDeployed        known, but none of its pods is running
├── PipelineUnreachable        its pod is unreachable
├── AccessUndecided            the caller or their permissions are unknown now: access is never granted
├── OperatorUnavailable        the other container does not answer
├── StoreError                 the volume, or the bucket
│   ├── StoreFull
│   ├── StoreUnavailable       the bucket does not answer, or refuses the credentials: retry
│   ├── StoreConflict          an object of the bucket was changed by another process
│   ├── StoreFenced            another operator writes to this prefix now: this process must stop writing
│   └── CorruptManifest
├── ProfileError               a file that is not a profile (see profiles/errors.py)
├── KubeError                  the API server, seen through kube/
│   ├── KubeNotFound
│   ├── KubeConflict
│   ├── KubeForbidden
│   │   └── KubeDenied         refused by admission (a webhook, a policy, a quota), whatever the HTTP status
│   ├── KubeInvalid            422 or 400: permanent
│   ├── KubeUnavailable        no answer, 429 or 5xx: worth repeating
│   └── ExecFailed             an exec session ended without a status (transient)
└── FelderaError               Feldera's API server, seen through feldera/
    ├── FelderaUnauthenticated  it does not accept the key
    ├── FelderaForbidden       it accepts the key, which may not do this
    ├── FelderaNotFound
    ├── FelderaRejected        another 4xx: permanent
    └── FelderaUnavailable     no answer, one that cannot be read, 429 or 5xx: worth repeating

The HTTP status of each code is in `api/server/problems.py`; nothing here knows about HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


def join_sentences(message: str, remedy: str) -> str:
    """As one text. Messages of other programs, such as a webhook, have no full stop."""
    end = "" if not message or not remedy or message.endswith((".", "!", "?", ":", "…")) else "."
    return f"{message}{end} {remedy}".strip()


class SamplyOperatorError(Exception):
    """Base class. `message` says what is wrong, `remedy` what to do, `details` are JSON values for programs."""

    code: ClassVar[str] = "InternalError"
    is_transient: ClassVar[bool] = False

    def __init__(self, message: str, *, remedy: str = "", details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details: dict[str, object] = dict(details or {})

    def __str__(self) -> str:
        return join_sentences(self.message, self.remedy)


class SettingsError(SamplyOperatorError):
    code = "InvalidSettings"


class RequestError(SamplyOperatorError):
    code = "BadRequest"


class InvalidParam(RequestError):
    """details: parameter, value, expected."""

    code = "InvalidParam"


class InvalidSpec(RequestError):
    code = "InvalidSpec"


class Unauthenticated(RequestError):
    code = "Unauthenticated"


class Forbidden(RequestError):
    """details: verb, namespace."""

    code = "InsufficientPermissions"


class UnknownPipeline(RequestError):
    """details: pipeline_name."""

    code = "UnknownPipelineName"


class UnknownProfile(RequestError):
    """details: profile."""

    code = "UnknownProfile"


class AmbiguousPipeline(RequestError):
    """details: pipeline_name, namespaces (only readable ones)."""

    code = "AmbiguousPipelineName"


class NoSamplyProfile(RequestError):
    code = "NoSamplyProfile"


class ProfilingInProgress(RequestError):
    """details: retry_after_secs, profile."""

    code = "SamplyProfilingInProgress"


class NotRecording(RequestError):
    """details: profile, state."""

    code = "NotRecording"


class ProfilingNotEnabled(RequestError):
    """details: reason, remedy."""

    code = "ProfilingNotEnabled"


class LinksNotEnabled(RequestError):
    code = "LinksNotEnabled"


class InvalidLink(RequestError):
    code = "InvalidLink"


class RangeNotSatisfiable(RequestError):
    code = "RangeNotSatisfiable"


class TooManyRequests(RequestError):
    code = "TooManyRequests"


class ProfilingFailed(SamplyOperatorError):
    """details: reason, remedy, log."""

    code = "SamplyProfilingFailure"


class RecordingFailed(ProfilingFailed):
    """Ends a recording. `failure` is reported in its object; `reason` is a key of REMEDIES
    (rules/recording/failures.py)."""

    def __init__(self, reason: str, message: str, remedy: str, log: str = "") -> None:
        super().__init__(message, remedy=remedy, details={"reason": reason, "remedy": remedy, "log": log})
        self.reason = reason
        self.log = log


class ObjectRefused(RequestError):
    """Permanent; the message is the API server's."""

    code = "ObjectRefused"


class PipelineNotDeployed(SamplyOperatorError):
    """details: pipeline_name, status, desired_status."""

    code = "PipelineInteractionNotDeployed"
    is_transient = True


class PipelineUnreachable(SamplyOperatorError):
    """details: pipeline_name, request, error."""

    code = "PipelineInteractionUnreachable"
    is_transient = True


class AccessUndecided(SamplyOperatorError):
    code = "AccessUndecided"
    is_transient = True


class OperatorUnavailable(SamplyOperatorError):
    code = "OperatorUnavailable"
    is_transient = True


class StoreError(SamplyOperatorError):
    code = "StoreError"


class StoreFull(StoreError):
    code = "StoreFull"


class StoreUnavailable(StoreError):
    code = "StoreUnavailable"
    is_transient = True


class StoreConflict(StoreError):
    code = "StoreConflict"
    is_transient = True


class StoreFenced(StoreError):
    code = "StoreFenced"


class CorruptManifest(StoreError):
    code = "CorruptManifest"


class ProfileError(SamplyOperatorError):
    code = "BadProfile"


class KubeError(SamplyOperatorError):
    """details: status (HTTP status or None), reason (of the API server's Status)."""

    code = "KubernetesError"


class KubeNotFound(KubeError):
    code = "KubernetesNotFound"


class KubeConflict(KubeError):
    code = "KubernetesConflict"


class KubeForbidden(KubeError):
    code = "KubernetesForbidden"


class KubeDenied(KubeForbidden):
    code = "KubernetesDenied"


class KubeInvalid(KubeError):
    code = "KubernetesInvalid"


class KubeUnavailable(KubeError):
    code = "KubernetesUnavailable"
    is_transient = True


class ExecFailed(KubeError):
    code = "ExecFailed"
    is_transient = True


class FelderaError(SamplyOperatorError):
    """details: status (HTTP status, if there was an answer), error_code (Feldera's own), path."""

    code = "FelderaError"


class FelderaUnauthenticated(FelderaError):
    code = "FelderaUnauthenticated"


class FelderaForbidden(FelderaError):
    code = "FelderaForbidden"


class FelderaNotFound(FelderaError):
    code = "FelderaNotFound"


class FelderaRejected(FelderaError):
    code = "FelderaRejected"


class FelderaUnavailable(FelderaError):
    code = "FelderaUnavailable"
    is_transient = True
