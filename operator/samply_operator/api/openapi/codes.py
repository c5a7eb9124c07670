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
    errors.RequestError: "The request can't be understood.",
    errors.InvalidParam: "A parameter is wrong, or given twice.",
    errors.InvalidSpec: "A SamplyProfile that can't be carried out.",
    errors.Unauthenticated: "No token, or one that is not accepted.",
    errors.Forbidden: "The token is accepted, but may not do this.",
    errors.UnknownPipeline: "There is no such pipeline, or none that the caller may see.",
    errors.UnknownProfile: "There is no such profile of this pipeline, or it has no file.",
    errors.AmbiguousPipeline: "Several namespaces hold the name: add `namespace`.",
    errors.NoSamplyProfile: "None was taken yet; the message names the request that takes one.",
    errors.ProfilingInProgress: "One runs on that target already.",
    errors.NotRecording: "It ended already, or hasn't begun: there is nothing to stop.",
    errors.ProfilingNotEnabled: "Profiling is switched off for this installation or pipeline.",
    errors.LinksNotEnabled: "Links are switched off for this installation.",
    errors.InvalidLink: "The link was changed, its time is over, or its key was replaced.",
    errors.ObjectRefused: "A quota, policy or webhook of the cluster refuses the SamplyProfile; as it says.",
    errors.RangeNotSatisfiable: "The range lies outside of the file.",
    errors.TooManyRequests: "Too many at once: come back after `Retry-After`.",
    errors.ProfilingFailed: "The last recording failed, or this one did at once; `details` say why and what to do.",
    errors.PipelineNotDeployed: "The pipeline is known, but no pod of it runs.",
    errors.PipelineUnreachable: "Its pod can't be reached.",
    errors.AccessUndecided: "Who calls, or what they may, can't be found out now.",
    errors.OperatorUnavailable: "The operator is away: what only it knows or may do has to wait.",
    errors.StoreError: "The volume can't be read or written.",
    errors.StoreFull: "The volume is full.",
    errors.StoreUnavailable: "The bucket doesn't answer, or refuses the operator's credentials.",
    errors.StoreConflict: "An object of the bucket was written by somebody else in between.",
    errors.StoreFenced: "Another operator leads now.",
    errors.CorruptManifest: "The facts beside a stored profile can't be read.",
    errors.ProfileError: "The stored file can't be read as a profile; the file itself is still served.",
    profile_errors.UnreadableProfile: "The stored file is no gzip, no JSON, or cut off.",
    profile_errors.BrokenProfile: "The stored file is JSON, but no whole profile.",
    profile_errors.UnsupportedVersion: "The stored profile is of a version that isn't known here.",
    profile_errors.ProfileTooLarge: "The stored profile is too large to be converted here.",
    profile_errors.UnreadableSymbols: "The file with the names is broken.",
    profile_errors.NoMarkers: "The profile has no markers of operators: it can be seen by function and by group.",
    profile_errors.InvalidRules: "The rules that sort functions into groups can't be used.",
    profile_errors.NotInProfile: "The profile has not what is asked for; `details.reason` says what (CpuTimes, Range, "
    "Samples, Thread, Unit).",
    profile_errors.ProfileJobFailed: "Converting it took more memory or time than it may.",
    errors.KubeError: "The Kubernetes API server refused a call of the operator.",
    errors.KubeNotFound: "An object went away while the operator worked on it.",
    errors.KubeConflict: "An object changed while the operator worked on it.",
    errors.KubeForbidden: "The operator lacks a right in this namespace.",
    errors.KubeDenied: "A webhook, a policy or a quota of the cluster refused it; the message says which.",
    errors.KubeInvalid: "The API server took a call of the operator for invalid.",
    errors.KubeUnavailable: "The API server doesn't answer the operator.",
    errors.ExecFailed: "A command in the pod ended without a word.",
    errors.FelderaError: "Feldera refused a call of this service.",
    errors.FelderaUnauthenticated: "Feldera does not accept this service's own key.",
    errors.FelderaForbidden: "Feldera accepts this service's own key, which may not do this.",
    errors.FelderaNotFound: "Feldera does not know the pipeline.",
    errors.FelderaRejected: "Feldera refused a call of this service; repeating it does not help.",
    errors.FelderaUnavailable: "Feldera's API server does not answer, or not as it should.",
}

PROTOCOL: Mapping[str, tuple[int, str]] = {
    "UnknownRoute": (404, "There is nothing at this path."),
    "MethodNotAllowed": (405, "There is something at this path, but not for this method; `Allow` lists those."),
    "PreconditionFailed": (412, "It is another file than `If-Match` names."),
}
"""Said by api/server/problems.py and api/content/files.py themselves."""


def list_codes() -> Mapping[str, tuple[int, str]]:
    """Code → status and meaning, in the order of statuses."""
    known = {kind.code: (problems.find_status(kind), meaning) for kind, meaning in MEANINGS.items()}
    return dict(sorted({**known, **PROTOCOL}.items(), key=lambda row: (row[1][0], row[0])))
