"""POST /v0/alerts: the webhook that Alertmanager sends alerts to, for SamplyTriggers."""

from __future__ import annotations

import logging

import msgspec
from aiohttp import web

from samply_operator import errors
from samply_operator.api.app_keys import OPERATOR
from samply_operator.api.auth import permissions
from samply_operator.api.content import representations
from samply_operator.control.messages import AlertsRequest
from samply_operator.model.alert import VERSION, Notification

logger = logging.getLogger(__name__)

PATH = "/v0/alerts"
EXPECTED = "a notification of Alertmanager's webhook, payload version 4"

routes = web.RouteTableDef()


@routes.post(PATH)
async def post(request: web.Request) -> web.StreamResponse:
    """What the triggers made of each alert (200); an error of 5xx only if it is to be sent again."""
    caller = await permissions.admit(request)
    received = _parse(await _read(request))
    if received.truncated_alerts:
        logger.warning(
            "Alertmanager left out %d alerts of receiver %r: raise max_alerts of its webhook",
            received.truncated_alerts,
            received.receiver[:100],
        )
    reply = await request.app[OPERATOR].send_alerts(caller.login, AlertsRequest(received.alerts))
    outcomes = [msgspec.to_builtins(outcome) for outcome in reply.outcomes]
    return representations.build_json({"outcomes": outcomes, "truncated_alerts": received.truncated_alerts})


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise _build_error("a body of more than 512 KiB; set max_alerts of the webhook") from error


def _parse(body: bytes) -> Notification:
    try:
        found = msgspec.json.decode(body, type=Notification)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _build_error(str(error)) from error
    if found.version != VERSION:
        raise _build_error(f"version {found.version[:20]!r}")
    return found


def _build_error(got: str) -> errors.InvalidParam:
    details = {"parameter": "body", "value": got[:200], "expected": EXPECTED}
    return errors.InvalidParam(f"Invalid body: expected {EXPECTED}: {got[:200]}", details=details)
