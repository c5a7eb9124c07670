"""Requests with a signed link instead of a token. The signature is in the URL: queries must never be logged."""

from __future__ import annotations

import re
import time

from aiohttp import web

from samply_operator import errors
from samply_operator.api import params
from samply_operator.api.app_keys import OPERATOR, SETTINGS
from samply_operator.api.server import measures
from samply_operator.api.state import View
from samply_operator.control import audit
from samply_operator.model.manifest import Manifest
from samply_operator.rules.access import links
from samply_operator.rules.access.permissions import Who

BEARER = Who("", "Link")
"""The holder of a link: their identity is unknown."""
SWITCHED_OFF = "Name a Secret in config.api.links.secretName."

_FILE = re.compile(r".*/v0/pipelines/[^/]+/samply_profiles/[^/]+/profile")


def is_used(request: web.Request) -> bool:
    """Whether the link alone decides: the request is for a stored file and has a signature. Tokens are then ignored."""
    url = request.rel_url
    if "signature=" not in url.raw_query_string or _FILE.fullmatch(url.raw_path) is None:
        return False
    return "signature" in params.split(url.raw_query_string)


def admit(request: web.Request, view: View, profile_id: str) -> Manifest:
    """The profile of the request's link. Raises InvalidLink, with the same message for every fault, and before anything
    about the profile is disclosed; OperatorUnavailable while the keys are unknown, StoreUnavailable while only an
    earlier list of the bucket is known, which lacks it."""
    link = params.parse_link(request.rel_url.raw_query_string)
    manifest = view.get(profile_id)
    namespace, known_id = (manifest.namespace, manifest.id) if manifest else ("", "")
    is_valid = link is not None and links.is_valid(link, list_keys(request), namespace, known_id, time.time())
    if manifest is None and link is not None and view.may_lack_profiles:
        raise errors.StoreUnavailable(
            "The list of stored profiles cannot be read now.", remedy="Try again in a few seconds."
        )
    if manifest is None or not is_valid or manifest.pipeline != request.match_info["pipeline_name"]:
        measures.count_decision("link", "forbidden")
        pipeline = request.match_info["pipeline_name"]
        audit.write("Forbid", "get", who=BEARER, pipeline=pipeline, profile=profile_id, reason=errors.InvalidLink.code)
        raise errors.InvalidLink("The link is not valid, or its time is over.", remedy="Request a new one.")
    measures.count_decision("link", "allowed")
    return manifest


def list_keys(request: web.Request) -> tuple[bytes, ...]:
    """The key that signs comes first. While the operator is down, the last known keys stay valid."""
    if not request.app[SETTINGS].api.links.secret_name:
        raise errors.LinksNotEnabled("Links are switched off for this installation.", remedy=SWITCHED_OFF)
    credentials = request.app[OPERATOR].credentials
    if not credentials.read_at:
        raise errors.OperatorUnavailable("The keys of links are not known yet.", remedy="Try again in a few seconds.")
    if not credentials.link_keys:
        raise errors.LinksNotEnabled(
            "The Secret of config.api.links.secretName has no entry `current` of at least 32 bytes.",
            remedy="Make it; docs/http.md says how.",
        )
    return credentials.link_keys
