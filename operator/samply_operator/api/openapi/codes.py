"""Every `error_code` that a client may see: its status and meaning. Pure; held against errors.py by a test."""

from __future__ import annotations

from collections.abc import Mapping

from samply_operator import errors
from samply_operator.api.server import problems
from samply_operator.profiles import errors as profile_errors

Kind = type[errors.SamplyOperatorError]

MEANINGS: Mapping[Kind, str] = {
    errors.SamplyOperatorError: "A defect; the log of the api container has the request's id.",
    errors.SettingsError: "The installation is configured wrongly.",
    errors.RequestError: "The request is invalid.",
    errors.InvalidParam: "A parameter is invalid, or given twice.",
    errors.InvalidSpec: "The SamplyProfile is invalid.",
    errors.Unauthenticated: "No token, or one that is not accepted.",
    errors.Forbidden: "The token is accepted, but lacks the permission.",
    errors.UnknownPipeline: "There is no such pipeline, or the caller may not see it.",
    errors.UnknownProfile: "There is no such profile of this pipeline, or it has no file.",
    errors.AmbiguousPipeline: "Several namespaces have the name: add `namespace`.",
    errors.NoSamplyProfile: "There is no profile yet; the message has the request that records one.",
    errors.ProfilingInProgress: "The target is already being recorded.",
    errors.NotRecording: "It has already ended, or not started: there is nothing to stop.",
    errors.ProfilingNotEnabled: "Profiling is switched off for this installation or pipeline.",
    errors.LinksNotEnabled: "Links are switched off for this installation.",
    errors.InvalidLink: "The link is invalid or expired, or its key was replaced.",
    errors.ObjectRefused: "A quota, policy or webhook of the cluster refused the SamplyProfile; see the message.",
    errors.RangeNotSatisfiable: "The range is outside the file.",
    errors.TooManyRequests: "Too many requests: retry after `Retry-After`.",
    errors.ProfilingFailed: "The last recording failed, or this one immediately; `details` have reason and remedy.",
    errors.PipelineNotDeployed: "The pipeline is known, but none of its pods is running.",
    errors.PipelineUnreachable: "Its pod is unreachable.",
    errors.AccessUndecided: "The caller or their permissions cannot be determined now.",
    errors.OperatorUnavailable: "The operator is down, and the request needs it.",
    errors.StoreError: "The volume cannot be read or written.",
    errors.StoreFull: "The volume is full.",
    errors.StoreUnavailable: "The bucket does not answer, or refuses the operator's credentials.",
    errors.StoreConflict: "An object of the bucket was changed by another process.",
    errors.StoreFenced: "Another operator has become the writer.",
    errors.CorruptManifest: "The manifest of a stored profile cannot be read.",
    errors.ProfileError: "The stored file cannot be read as a profile; the file itself is still served.",
    profile_errors.UnreadableProfile: "The stored file is not gzip or JSON, or is truncated.",
    profile_errors.BrokenProfile: "The stored file is JSON, but not a complete profile.",
    profile_errors.UnsupportedVersion: "The stored profile has an unsupported version.",
    profile_errors.ProfileTooLarge: "The stored profile is too large to be converted here.",
    profile_errors.UnreadableSymbols: "The file with the symbols is invalid.",
    profile_errors.NoMarkers: "The profile has no markers of operators: use `by=function` or `by=group`.",
    profile_errors.InvalidRules: "The rules for groups of functions are invalid.",
    profile_errors.NotInProfile: "The profile lacks the requested data; `details.reason` says which (CpuTimes, Range, "
    "Samples, Thread, Unit).",
    profile_errors.ProfileJobFailed: "The conversion exceeded its limit of memory or time.",
    errors.KubeError: "The Kubernetes API server refused a call of the operator.",
    errors.KubeNotFound: "An object was deleted while the operator used it.",
    errors.KubeConflict: "An object was changed while the operator used it.",
    errors.KubeForbidden: "The operator lacks a permission in this namespace.",
    errors.KubeDenied: "A webhook, a policy or a quota of the cluster refused it; the message says which.",
    errors.KubeInvalid: "The API server considered a request of the operator invalid.",
    errors.KubeUnavailable: "The API server does not answer the operator.",
    errors.ExecFailed: "A command in the pod ended without a status.",
    errors.FelderaError: "Feldera refused a call of this service.",
    errors.FelderaUnauthenticated: "Feldera does not accept this service's own key.",
    errors.FelderaForbidden: "Feldera accepts this service's own key, which may not do this.",
    errors.FelderaNotFound: "Feldera does not know the pipeline.",
    errors.FelderaRejected: "Feldera refused a call of this service; repeating it does not help.",
    errors.FelderaUnavailable: "Feldera's API server does not answer, or not as it should.",
}

PROTOCOL: Mapping[str, tuple[int, str]] = {
    "UnknownRoute": (404, "The path does not exist."),
    "MethodNotAllowed": (405, "The path does not support this method; `Allow` lists those that it does."),
    "PreconditionFailed": (412, "The file does not match `If-Match`."),
}
"""Said by api/server/problems.py and api/content/files.py themselves."""


def list_codes() -> Mapping[str, tuple[int, str]]:
    """Code → status and meaning, in the order of statuses."""
    known = {kind.code: (problems.find_status(kind), meaning) for kind, meaning in MEANINGS.items()}
    return dict(sorted({**known, **PROTOCOL}.items(), key=lambda row: (row[1][0], row[0])))
