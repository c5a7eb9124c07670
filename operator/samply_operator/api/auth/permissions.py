"""Authentication and authorization of a request: the only step between parsing and acting on it.

Every route uses it except `/`, `/healthz`, `/readyz` and `/v0/config`, which disclose nothing about namespaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import hdrs, web

from samply_operator import errors
from samply_operator.api import scoped_view
from samply_operator.api.auth.authentication import AUTHENTICATOR, Question
from samply_operator.api.server import measures
from samply_operator.api.server.rate_limits import RATES
from samply_operator.api.server.shown import list_shown
from samply_operator.api.state import STATE, View
from samply_operator.control import audit
from samply_operator.feldera.client import TENANT, Login
from samply_operator.rules.access import permissions
from samply_operator.rules.access.permissions import NOBODY, Decision, Way, Who
from samply_operator.rules.serving import serve
from samply_operator.settings import Verb

VERBS: Mapping[str, tuple[Verb, ...]] = {
    hdrs.METH_POST: ("get", "create"),
    hdrs.METH_PUT: ("get", "create"),
    hdrs.METH_DELETE: ("get", "delete"),
}
"""The verbs that are checked, by the request's method; otherwise only reading."""
READING: tuple[Verb, ...] = ("get",)
OUTCOMES: Mapping[Decision, str] = {
    "Allow": "allowed",
    "Hide": "hidden",
    "Forbid": "forbidden",
    "Unauthenticated": "unauthenticated",
    "Undecided": "unavailable",
}
"""Names in the metrics."""
VISIBLE: web.RequestKey[Mapping[str, str]] = web.RequestKey("visible", Mapping)
"""Of an admitted request: the only pipelines that its caller may see, names by Feldera's id; not set: all."""
VIEWS: web.RequestKey[tuple[View, View]] = web.RequestKey("views", tuple)
"""Of a request: the whole view, and what of it its caller may look at."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`login` goes with calls that act: the operator decides about those itself, from it alone."""

    who: Who
    login: Login

    @property
    def subject(self) -> str:
        return self.who.subject

    @property
    def way(self) -> Way:
        return self.who.way

    @property
    def readable(self) -> frozenset[str] | None:
        """Namespaces that may be read; None: all."""
        return self.who.readable

    def may_read(self, namespace: str) -> bool:
        return self.readable is None or namespace in self.readable

    def may(self, verb: Verb, namespace: str) -> bool:
        """`get`, and the verb of the request's method. Of the others nothing was found out: they may not."""
        return self.who.may(verb, namespace)


async def admit(request: web.Request, other: str = "") -> Caller:
    """Identify the caller; `view_of` is then what they may look at. `other`: a further pipeline that the request is
    about.

    Raises Unauthenticated, AccessUndecided, OperatorUnavailable.
    """
    app = request.app
    view, rates, name = app[STATE].view, app[RATES], request.match_info.get("pipeline_name")
    namespaces = view.list_namespaces() if name is None else view.find_namespaces(name)
    if other not in ("", name):
        # No name has a space: results for both together have a key of their own.
        namespaces, name = namespaces | view.find_namespaces(other), f"{name} {other}"
    question = Question(VERBS.get(request.method, READING), name, namespaces)
    try:
        who, login = await app[AUTHENTICATOR].identify(
            list_shown(request),
            question,
            view=view,
            charge=lambda count: rates.charge(request, count),
            tenant=request.headers.get(TENANT, ""),
        )
    except errors.Unauthenticated as error:
        _note(request, "Unauthenticated", NOBODY, error.message)
        raise
    except (errors.AccessUndecided, errors.OperatorUnavailable) as error:
        _note(request, "Undecided", NOBODY, error.code)
        raise
    if who.visible is not None:
        who = _limit(request, who, who.visible, name)
        namespaces = view_of(request).list_namespaces()
    caller = Caller(who, login)
    if who.way != "Unsafe":
        rates.trust(request)
        request[measures.CALLER] = who
    if not any(map(caller.may_read, namespaces)) and (namespaces or who.visible is not None):
        _note(request, "Hide", who, "")
    else:
        measures.count_decision(measures.WAYS[who.way], OUTCOMES["Allow"])
    return caller


def _limit(request: web.Request, who: Who, visible: Mapping[str, str], asked: str | None) -> Who:
    """From here on only what they may see: by Feldera's names, or by the requested id."""
    ids = (asked or "").split(" ")
    request[VISIBLE] = {each: each if each in ids else name for each, name in visible.items()}
    return permissions.limit_namespaces(who, view_of(request).list_namespaces())


def view_of(request: web.Request) -> View:
    """The caller's view, once authenticated; before that the complete view."""
    whole, visible = request.app[STATE].view, request.get(VISIBLE)
    if visible is None:
        return whole
    known = request.get(VIEWS)
    if known is None or known[0] is not whole:
        known = request[VIEWS] = whole, scoped_view.limit(whole, visible)
    return known[1]


def find_caller(request: web.Request) -> str:
    """Whom the work for a request is counted for, whatever their token: the authenticated caller, else the address."""
    who = request.get(measures.CALLER)
    return who.describe() if who else request.remote or ""


def _note(request: web.Request, decision: Decision, who: Who, reason: str) -> None:
    verb = VERBS.get(request.method, READING)[-1]
    pipeline = request.match_info.get("pipeline_name", "")
    measures.count_decision(measures.WAYS[who.way], OUTCOMES[decision])
    audit.write(decision, verb, who=who, pipeline=pipeline, reason=reason)


def find_namespace(view: View, caller: Caller, pipeline: str, asked: str | None) -> str | None:
    """The namespace of a pipeline's name for this caller; None: no readable namespace has it."""
    found = serve.decide_namespace(view.find_namespaces(pipeline), readable=caller.readable, asked=asked)
    return found if found is None else require_one(found, pipeline)


def require_one(found: str | serve.Ambiguous, pipeline: str) -> str:
    """Raises AmbiguousPipeline, which names the readable namespaces."""
    if isinstance(found, str):
        return found
    names = ", ".join(found.namespaces)
    raise errors.AmbiguousPipeline(
        f"Pipeline '{pipeline}' exists in several namespaces ({names}).",
        remedy="Add ?namespace= to say which is meant.",
        details={"pipeline_name": pipeline, "namespaces": list(found.namespaces)},
    )
