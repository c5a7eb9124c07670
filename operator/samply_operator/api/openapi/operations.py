"""Every route as an `Operation`. A new route gets one here; tests hold both against each other."""

from __future__ import annotations

from dataclasses import replace

from samply_operator import errors
from samply_operator.api import params
from samply_operator.api.openapi import parts, shapes
from samply_operator.api.openapi.parts import BYTES, JSON, Answer, Operation, Param
from samply_operator.api.openapi.shapes import refer
from samply_operator.api.routes import (
    actions,
    doctor,
    export,
    links,
    preflight,
    samply_profile,
    samply_profiles,
    summaries,
    trees,
)
from samply_operator.profiles.analysis import frame_forest, frame_tree
from samply_operator.profiles.errors import (
    BrokenProfile,
    InvalidRules,
    NoMarkers,
    NotInProfile,
    ProfileJobFailed,
    ProfileTooLarge,
    UnreadableProfile,
    UnreadableSymbols,
    UnsupportedVersion,
)
from samply_operator.profiles.worker import jobs
from samply_operator.settings import MAX_LINK_SECS

ONE = samply_profiles.PATH + "/{profile_id}"

NOBODY = (
    errors.Unauthenticated,
    errors.Forbidden,
    errors.AccessUndecided,
    errors.OperatorUnavailable,
    errors.TooManyRequests,
)
"""Any route that asks who it is may say so, and that it can't be found out now."""
STORE = (errors.StoreError, errors.StoreUnavailable, errors.CorruptManifest)
KUBE = (
    errors.KubeError,
    errors.KubeNotFound,
    errors.KubeConflict,
    errors.KubeForbidden,
    errors.KubeDenied,
    errors.ObjectRefused,
    errors.KubeInvalid,
    errors.KubeUnavailable,
    errors.ExecFailed,
)
MADE = (
    errors.ProfileError,
    UnreadableProfile,
    BrokenProfile,
    UnsupportedVersion,
    ProfileTooLarge,
    UnreadableSymbols,
    NoMarkers,
    InvalidRules,
    NotInProfile,
    ProfileJobFailed,
    errors.TooManyRequests,
)
START = (
    errors.InvalidParam,
    errors.InvalidSpec,
    errors.AmbiguousPipeline,
    errors.ProfilingNotEnabled,
    errors.UnknownPipeline,
    errors.ProfilingInProgress,
    errors.PipelineNotDeployed,
    errors.PipelineUnreachable,
    errors.StoreFull,
    *STORE,
    *KUBE,
    *NOBODY,
)
FIND = (errors.InvalidParam, errors.UnknownPipeline, errors.UnknownProfile, *NOBODY)
CONDITIONS = (parts.IF_NONE_MATCH, parts.IF_MATCH, parts.RANGE, parts.IF_RANGE)

GZIP, ZIP = "application/gzip", "application/zip"
UNCHANGED = Answer(
    304, "The client has it already.", headers=parts.OF_A_FILE, optional_headers=("Vary", "Accept-Ranges")
)
NOT_YET = Answer(
    204,
    "With `latest=true`: one is in progress. Ask again after `Retry-After`.",
    headers=("Retry-After", "Cache-Control"),
)
PART = Answer(
    206,
    "The part that `Range` names.",
    {GZIP: BYTES, ZIP: BYTES},
    headers=(*parts.OF_A_FILE, "Content-Disposition", "Content-Range", "Accept-Ranges"),
    optional_headers=("Samply-Last-Failure", "Samply-Missing-Ordinals"),
)
ELSEWHERE = Answer(
    307,
    "The object storage gives the file itself (`config.storage.redirect`): the URL is signed, and holds for a while.",
    headers=("Location", "Cache-Control"),
    optional_headers=("Samply-Last-Failure",),
)
FILE = Answer(
    200,
    "The profile: the gzip file that `samply load` and profiler.firefox.com open, or another format.",
    {GZIP: BYTES, **{media: {"type": "string"} for media in jobs.MEDIA_TYPES.values() if media not in (GZIP, JSON)}}
    | {JSON: {"type": "object", "description": "A speedscope file."}},
    headers=parts.OF_A_FILE,
    optional_headers=("Content-Disposition", "Accept-Ranges", "Vary", "Content-Security-Policy", "Samply-Last-Failure"),
)

FACTS_EXAMPLE = {
    "id": "0b5c2f6e-7a51-4c1e-9d3b-2f1f5a1c9e10",
    "namespace": "feldera",
    "name": "profile-7d1f0c52-0",
    "pipeline_name": "orders",
    "ordinal": 0,
    "state": "Recording",
    "requested_at": "2026-01-31T09:30:00.000Z",
    "ends_at": "2026-01-31T09:30:31.000Z",
    "duration_secs": 30,
    "preflight_only": False,
    "queue_position": None,
    "href": "/v0/pipelines/orders/samply_profiles/0b5c2f6e-7a51-4c1e-9d3b-2f1f5a1c9e10",
}
STARTED_EXAMPLE = {
    "started": [
        {"ordinal": 0, "profile": FACTS_EXAMPLE["id"], "state": "Recording", "href": FACTS_EXAMPLE["href"]},
    ],
    "refused": [
        {
            "ordinal": 1,
            "message": "Ordinal 1 of pipeline 'orders' isn't running.",
            "error_code": "PipelineInteractionNotDeployed",
            "details": {"pipeline_name": "orders", "status": "Stopped", "desired_status": "Running"},
        }
    ],
}
PREFLIGHT_EXAMPLE = {
    "verdict": "Go",
    "pipeline_name": "orders",
    "namespace": "feldera",
    "ordinal": 0,
    "profile": FACTS_EXAMPLE["id"],
    "object": "profile-7d1f0c52-0",
    "pod": "orders-0",
    "container": "pipeline",
    "mode": "InPlace",
    "facts": {"samply": "/usr/bin/samply 0.13.1", "perfEventParanoid": "1", "cpus": "2 of 2"},
    "findings": [],
    "failure": None,
}


LINK_EXAMPLE = {
    "profile": FACTS_EXAMPLE["id"],
    "expires_at": "2026-01-31T10:31:00Z",
    "href": f"{FACTS_EXAMPLE['href']}/profile?expires=1769855460&signature=kJ3…",
    "url": f"https://profiles.example.com{FACTS_EXAMPLE['href']}/profile?expires=1769855460&signature=kJ3…",
    "firefox_profiler": "https://profiler.firefox.com/from-url/https%3A%2F%2Fprofiles.example.com…",
}
LINK = (
    Param("expires", "query", {"type": "integer"}, "Of a signed link: Unix time."),
    Param("signature", "query", {"type": "string"}, "Of a signed link: then no token is needed."),
)


def _whole(name: str, least: int, most: int, default: int, text: str) -> Param:
    return Param(name, "query", {"type": "integer", "minimum": least, "maximum": most, "default": default}, text)


def _choice(choices: tuple[str, ...], text: str) -> Param:
    return Param("output", "query", {"type": "string", "enum": list(choices)}, text)


SECS: shapes.Schema = {"type": "number", "minimum": 0, "maximum": 999_999}
SUMMARY_PARAMS = (
    Param("thread", "query", {"type": "string", "pattern": "^[^\\x00-\\x1f]{1,64}$"}, "Only threads of this name."),
    Param("from", "query", SECS, "Seconds since the first sample."),
    Param("to", "query", SECS, "Seconds; more than `from`."),
    _whole("limit", 1, params.MAX_PAGE, 20, "How many rows."),
    parts.BY,
    _choice(params.OUTPUTS, "Left out: as `Accept` says."),
)
DIFF_PARAMS = (
    Param("before", "query", {"type": "string", "pattern": parts.ID_PATTERN}, "Id of a profile.", is_required=True),
    Param("after", "query", {"type": "string", "pattern": parts.ID_PATTERN}, "Id of a profile.", is_required=True),
    _whole("limit", 1, params.MAX_PAGE, 30, "How many rows."),
    parts.BY,
    _choice(params.DIFF_OUTPUTS, "Left out: as `Accept` says."),
)
TREE_PARAMS = (
    Param(
        "view",
        "query",
        {"type": "string", "enum": list(frame_tree.VIEWS), "default": "top-down"},
        "`bottom-up`: callers below what they call. `callees` and `callers`: of all calls of `function` together.",
    ),
    Param("function", "query", {"type": "string", "pattern": f"^{params.KEY_PATTERN}$"}, "The key of a function."),
    Param(
        "by",
        "query",
        {"type": "string", "enum": list(frame_forest.BYS), "default": "none"},
        "What is parted at the root: a sample's thread, operator, group, or the library of its innermost function.",
    ),
    parts.MEASURE,
    Param(
        "threads",
        "query",
        {"type": "string", "pattern": f"^{params.NUMBERS_PATTERN}$"},
        "The `index` of each thread of a timeline that counts, parted by commas.",
    ),
    Param("from", "query", SECS, "Seconds since the first sample."),
    Param("to", "query", SECS, "Seconds; more than `from`."),
    Param(
        "path",
        "query",
        {"type": "string", "pattern": f"^{params.KEYS_PATTERN}$"},
        "Keys of frames from the root down, parted by dots: only what is below the last one is sent.",
    ),
    _whole(
        "limit", 1, params.MAX_NODES, params.NODES, "How many nodes, and functions: those with the most below them."
    ),
    Param(
        "before",
        "query",
        {"type": "string", "pattern": parts.ID_PATTERN},
        "Id of a profile to compare with: the second column of all numbers.",
    ),
    Param(
        "before_pipeline",
        "query",
        {"type": "string", "pattern": parts.PIPELINE_PATTERN},
        "The pipeline of `before`. Left out: the same.",
    ),
)
TIMELINE_PARAMS = (
    _whole("buckets", 1, params.MAX_BUCKETS, 400, "Into how many parts the time is cut."),
    _whole("limit", 1, params.MAX_PAGE, 200, "How many threads, the busiest first."),
)
AFTER = Param("after", "query", {"type": "string", "pattern": parts.ID_PATTERN}, "The last page's `next`.")


def _json(status: int, text: str, name: str, *headers: str, example: object = None) -> Answer:
    return Answer(status, text, {JSON: refer(name)}, headers=(*headers, "Cache-Control"), example=example)


def _made(text: str, names: tuple[str, ...], *others: str) -> Answer:
    shapes_of_it = [refer(name) for name in names]
    content = {
        JSON: shapes_of_it[0] if len(names) == 1 else {"oneOf": shapes_of_it},
        **{media: {"type": "string"} for media in others},
    }
    return Answer(200, text, content, headers=(*parts.OF_A_FILE, "Vary"), optional_headers=("Content-Security-Policy",))


LAST = (
    Operation(
        "get",
        samply_profile.PATH,
        "getSamplyProfile",
        "Profiles",
        "Get the last profile",
        "The last good profile of one ordinal, from storage: pipelines that are stopped or deleted have theirs too. "
        "With `ordinal=all`, one zip with the last profile of each.",
        (
            parts.NAME,
            parts.ORDINALS,
            parts.LATEST,
            parts.NAMESPACE,
            parts.FORMAT,
            parts.MEASURE,
            parts.BY,
            *CONDITIONS,
            parts.TENANT,
        ),
        (
            replace(
                FILE,
                content={**FILE.content, ZIP: BYTES},
                optional_headers=(*FILE.optional_headers, "Samply-Missing-Ordinals"),
            ),
            NOT_YET,
            PART,
            replace(
                UNCHANGED,
                optional_headers=(*UNCHANGED.optional_headers, "Samply-Last-Failure", "Samply-Missing-Ordinals"),
            ),
            ELSEWHERE,
        ),
        (
            errors.InvalidParam,
            errors.NoSamplyProfile,
            errors.AmbiguousPipeline,
            errors.UnknownPipeline,
            errors.UnknownProfile,
            errors.RangeNotSatisfiable,
            errors.ProfilingFailed,
            errors.PipelineNotDeployed,
            *STORE,
            *MADE,
            *NOBODY,
        ),
        ("PreconditionFailed",),
    ),
    Operation(
        "post",
        samply_profile.PATH,
        "startSamplyProfile",
        "Profiles",
        "Take a profile",
        "Answers as soon as the recording runs or was refused, after `config.api.startWaitSecs` (2 s) at the latest. "
        "If the operator ends meanwhile, the next one answers, with the profile that was begun. To send it again "
        "after a time-out is harmless: the repeat gets 409.",
        (parts.NAME, parts.ORDINALS, parts.DURATION, parts.RATE, parts.MODE, parts.NAMESPACE, parts.TENANT),
        (
            Answer(
                202,
                "Started, or waiting for its turn. Empty; with `ordinal=all` what became of each.",
                {JSON: refer("StartedAll")},
                headers=parts.NO_STORE,
                optional_headers=("Location",),
                example=STARTED_EXAMPLE,
            ),
        ),
        (errors.ProfilingFailed, *START),
    ),
    Operation(
        "post",
        preflight.PATH,
        "preflightSamplyProfile",
        "Profiles",
        "Would a recording work?",
        "Looks at the pod as a recording would, and records nothing. A refusal is an answer (200).",
        (parts.NAME, parts.ORDINAL, parts.DURATION, parts.RATE, parts.MODE, parts.NAMESPACE),
        (_json(200, "The verdict, with what was found.", "Preflight", example=PREFLIGHT_EXAMPLE),),
        START,
    ),
)

HISTORY = (
    Operation(
        "get",
        samply_profiles.PATH,
        "listSamplyProfiles",
        "Profiles",
        "The history of a pipeline",
        params=(
            parts.NAME,
            replace(parts.ORDINAL, schema=shapes.ORDINAL, text="Only those of this pod."),
            Param(
                "state",
                "query",
                {"type": "string", "enum": list(params.STATES)},
                "Only those that ended so; Running: only those that haven't ended.",
            ),
            parts.NAMESPACE,
            _whole("limit", 1, params.MAX_PAGE, params.PAGE, "How many that ended."),
            AFTER,
        ),
        answers=(_json(200, "One page.", "History", example={"profiles": [FACTS_EXAMPLE], "next": None}),),
        errors=(errors.InvalidParam, errors.AmbiguousPipeline, errors.UnknownPipeline, *NOBODY),
    ),
    Operation(
        "get",
        ONE,
        "getSamplyProfileFacts",
        "Profiles",
        "The facts of one profile",
        "What was asked, by whom, how it ended, how good it is.",
        (parts.NAME, parts.PROFILE),
        (
            Answer(
                200,
                "One that ended, or one that runs.",
                {JSON: {"anyOf": [refer("Attempt"), refer("Recording")]}},
                headers=parts.NO_STORE,
                example=FACTS_EXAMPLE,
            ),
        ),
        FIND,
    ),
    Operation(
        "get",
        ONE + "/profile",
        "getSamplyProfileFile",
        "Profiles",
        "The file of one profile",
        "These bytes never change.",
        (parts.NAME, parts.PROFILE, parts.FORMAT, parts.MEASURE, parts.BY, *LINK, *CONDITIONS),
        (FILE, replace(PART, content={GZIP: BYTES}, optional_headers=()), UNCHANGED, ELSEWHERE),
        (*FIND, errors.InvalidLink, errors.LinksNotEnabled, errors.RangeNotSatisfiable, *STORE, *MADE),
        ("PreconditionFailed",),
    ),
    Operation(
        "post",
        links.PATH,
        "linkSamplyProfile",
        "Profiles",
        "Make a link that needs no credentials",
        "Who knows the URL may read this one file until it expires. It can't be taken back by itself. Who may read, "
        "may make one.",
        (
            parts.NAME,
            parts.PROFILE,
            Param(
                "expires_secs",
                "query",
                {"type": "integer", "minimum": 1, "maximum": MAX_LINK_SECS},
                "How long it holds, at most `config.api.links.maxSecs` (a day). Left out: an hour.",
            ),
        ),
        (_json(200, "The link. Nothing is stored of it.", "Link", example=LINK_EXAMPLE),),
        (*FIND, errors.LinksNotEnabled, errors.RequestError),
    ),
    Operation(
        "delete",
        actions.PATH,
        "deleteSamplyProfile",
        "Profiles",
        "Remove a profile, or cancel its recording",
        "Removes one that ended, pinned or not, object and file.",
        (parts.NAME, parts.PROFILE),
        (
            Answer(204, "Removed.", headers=parts.NO_STORE),
            Answer(202, "It ran: it is gone a moment later.", headers=("Retry-After", *parts.NO_STORE)),
        ),
        (*FIND, *STORE, *KUBE),
    ),
    Operation(
        "post",
        actions.PATH + "/stop",
        "stopSamplyProfile",
        "Profiles",
        "End sampling now and keep the profile",
        "To repeat it is harmless.",
        (parts.NAME, parts.PROFILE),
        (Answer(202, "It is stored a little later.", headers=("Location", "Retry-After", *parts.NO_STORE)),),
        (*FIND, errors.NotRecording, *STORE, *KUBE),
    ),
    Operation(
        "put",
        actions.PATH + "/pin",
        "pinSamplyProfile",
        "Profiles",
        "Pin a profile",
        "Retention keeps it, and its object names the caller. Needs the verb create.",
        (parts.NAME, parts.PROFILE),
        (Answer(204, "It is pinned.", headers=parts.NO_STORE),),
        (*FIND, *STORE, *KUBE),
    ),
    Operation(
        "delete",
        actions.PATH + "/pin",
        "unpinSamplyProfile",
        "Profiles",
        "Unpin a profile",
        "Retention may remove it from now on. Needs the verb delete.",
        (parts.NAME, parts.PROFILE),
        (Answer(204, "It is not pinned.", headers=parts.NO_STORE),),
        (*FIND, *STORE, *KUBE),
    ),
)

READ = (
    Operation(
        "get",
        summaries.SUMMARY,
        "summariseSamplyProfile",
        "Reading",
        "The functions, operators or groups that took most",
        params=(parts.NAME, parts.PROFILE, *SUMMARY_PARAMS, parts.IF_NONE_MATCH, parts.IF_MATCH),
        answers=(
            _made("JSON, or a table.", ("Summary", "Breakdown"), "text/plain; charset=utf-8"),
            UNCHANGED,
        ),
        errors=(*FIND, *STORE, *MADE),
        other_codes=("PreconditionFailed",),
    ),
    Operation(
        "get",
        summaries.OPERATORS,
        "nameOperators",
        "Reading",
        "What Feldera calls the operators",
        "By node id: table, view and place in the SQL, as they were when the profile was taken; or why there are none.",
        (parts.NAME, parts.PROFILE),
        (_json(200, "The names.", "NodeNames"),),
        (*FIND, *STORE),
    ),
    Operation(
        "get",
        summaries.MERGED,
        "summarisePipeline",
        "Reading",
        "The functions that took most, over several profiles",
        "Over the last profile of each ordinal, or over those that `ids` names, such as repeated recordings.",
        (
            parts.NAME,
            parts.NAMESPACE,
            Param(
                "ids",
                "query",
                {"type": "string", "pattern": f"^{params.IDS_PATTERN}$"},
                f"At most {params.MAX_MERGED}, parted by commas.",
            ),
            _whole("limit", 1, params.MAX_PAGE, 20, "How many rows."),
            parts.BY,
            _choice(params.OUTPUTS, "Left out: as `Accept` says."),
            parts.IF_NONE_MATCH,
            parts.IF_MATCH,
        ),
        (
            replace(
                _made("JSON, or a table.", ("Merged",), "text/plain; charset=utf-8"),
                optional_headers=("Samply-Missing-Ordinals",),
            ),
            replace(UNCHANGED, optional_headers=(*UNCHANGED.optional_headers, "Samply-Missing-Ordinals")),
        ),
        (errors.AmbiguousPipeline, errors.NoSamplyProfile, *FIND, *STORE, *MADE),
        ("PreconditionFailed",),
    ),
    Operation(
        "get",
        summaries.DIFF,
        "compareSamplyProfiles",
        "Reading",
        "What changed between two profiles",
        "By function, operator or group, in shares of all.",
        (parts.NAME, *DIFF_PARAMS, parts.IF_NONE_MATCH, parts.IF_MATCH),
        (
            _made("JSON, a table, or a flame graph.", ("Comparison",), "text/plain; charset=utf-8", "image/svg+xml"),
            UNCHANGED,
        ),
        (*FIND, *STORE, *MADE),
        ("PreconditionFailed",),
    ),
    Operation(
        "get",
        trees.TREE,
        "getCallTree",
        "Reading",
        "The call tree, for a viewer",
        "As columns: a node is a place in each list of `nodes`, a function one in each list of `functions`. What the "
        "limit leaves out is marked with `cut`, and comes with `path`.",
        (parts.NAME, parts.PROFILE, *TREE_PARAMS, parts.IF_NONE_MATCH),
        (_made("The tree.", ("FrameTree",)), UNCHANGED),
        (*FIND, *STORE, *MADE),
    ),
    Operation(
        "get",
        trees.TIMELINE,
        "getTimeline",
        "Reading",
        "How busy each thread was over time",
        params=(parts.NAME, parts.PROFILE, *TIMELINE_PARAMS, parts.IF_NONE_MATCH),
        answers=(_made("One lane for each thread.", ("Timeline",)), UNCHANGED),
        errors=(*FIND, *STORE, *MADE),
    ),
)

EXPORTED = (
    Operation(
        "get",
        export.PATH,
        "exportPipeline",
        "Reading",
        "Everything about a pipeline in one zip",
        "For a support bundle: profiles, manifests, objects with their preflight, pods, recent Events. Without the "
        "operator the latter three are missing, and README.txt in the zip says so.",
        (
            parts.NAME,
            parts.NAMESPACE,
            _whole("limit", 1, params.MAX_EXPORT, params.EXPORT, "How many attempts, newest first."),
            *CONDITIONS,
        ),
        (
            Answer(
                200,
                "The zip; its members are stored as they are.",
                {ZIP: BYTES},
                headers=(*parts.OF_A_FILE, "Content-Disposition", "Accept-Ranges"),
            ),
            replace(PART, content={ZIP: BYTES}, optional_headers=()),
            UNCHANGED,
        ),
        (
            errors.InvalidParam,
            errors.AmbiguousPipeline,
            errors.UnknownPipeline,
            errors.UnknownProfile,
            errors.RangeNotSatisfiable,
            *STORE,
            *NOBODY,
        ),
        ("PreconditionFailed",),
    ),
)

SERVICE = (
    Operation(
        "get",
        "/v0/pipelines",
        "listPipelines",
        "Service",
        "Pipelines, their ordinals, and the last profile of each",
        "All that the caller may see.",
        answers=(_json(200, "All of them.", "Pipelines"),),
        errors=NOBODY,
    ),
    Operation(
        "get",
        "/v0/config",
        "getConfig",
        "Service",
        "What Feldera's SDK asks for first",
        answers=(_json(200, "Edition and version.", "Config"),),
        errors=(errors.TooManyRequests,),
        is_open=True,
    ),
    Operation(
        "get",
        doctor.PATH,
        "examine",
        "Service",
        "What is wrong with this installation, and the cures",
        "Rights, selector, names, kernel, Pod Security, the helper's image, the volume and Feldera's API, as the "
        "operator sees them. For whoever may `get` samplyprofiles in every namespace that is watched.",
        answers=(_json(200, "All checks; `status` is that of the worst.", "Report"),),
        errors=(errors.Forbidden, *NOBODY),
    ),
    Operation(
        "get",
        "/healthz",
        "getHealth",
        "Service",
        "The process answers",
        answers=(_json(200, "It does.", "Health"),),
        is_open=True,
    ),
    Operation(
        "get",
        "/readyz",
        "getReadiness",
        "Service",
        "Whether the volume was read",
        "The operator may be away: stored profiles are served without it.",
        answers=(_json(200, "It was.", "Readiness"), _json(503, "Not yet.", "Readiness")),
        is_open=True,
    ),
    Operation(
        "get",
        "/openapi.json",
        "getOpenApi",
        "Service",
        "This document",
        answers=(
            Answer(
                200,
                "OpenAPI 3.1.",
                {JSON: {"type": "object"}},
                headers=("ETag", "Cache-Control"),
            ),
            Answer(304, "The client has it already.", headers=("ETag", "Cache-Control")),
        ),
        params=(parts.IF_NONE_MATCH,),
        errors=(errors.TooManyRequests,),
        is_open=True,
    ),
    Operation(
        "get",
        "/docs",
        "getDocs",
        "Service",
        "This document, for people",
        answers=(
            Answer(
                200,
                "A page that loads nothing.",
                {"text/html; charset=utf-8": {"type": "string"}},
                headers=("ETag", "Cache-Control", "Content-Security-Policy"),
            ),
            Answer(304, "The client has it already.", headers=("ETag", "Cache-Control", "Content-Security-Policy")),
        ),
        params=(parts.IF_NONE_MATCH,),
        errors=(errors.TooManyRequests,),
        is_open=True,
    ),
)

OPERATIONS = (*LAST, *HISTORY, *READ, *EXPORTED, *SERVICE)
