"""The HTTP form of calls over the unix socket: the login and the body that are read, the answer or the error."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from samply_operator.control.messages import ErrorReply
from samply_operator.errors import InvalidParam, RequestError, SamplyOperatorError
from samply_operator.feldera.client import TENANT, Login

Call = TypeVar("Call")
BEARER = "Bearer "


def read_login(request: web.Request) -> Login:
    """What `api` was given; empty: nothing."""
    value = request.headers.get("Authorization", "")
    return Login(value.removeprefix(BEARER) if value.startswith(BEARER) else "", request.headers.get(TENANT, ""))


def parse_call(body: bytes, kind: type[Call]) -> Call:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidParam(f"The call cannot be parsed: {error}.") from error


def build_error(error: SamplyOperatorError) -> web.Response:
    status = 503 if error.is_transient else 400 if isinstance(error, RequestError) else 500
    return build_answer(status, describe_error(error))


def describe_error(error: SamplyOperatorError) -> ErrorReply:
    return ErrorReply(error_code=error.code, message=error.message, remedy=error.remedy, details=error.details)


def build_answer(status: int, message: msgspec.Struct) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(message), content_type="application/json")
