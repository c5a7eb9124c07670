"""Handles files that are missing although the index lists them: the volume is read again and the response rebuilt,
within the same request. Otherwise a request right after a deletion would fail instead of returning the next profile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from samply_operator import errors
from samply_operator.api.auth import permissions
from samply_operator.api.state import STATE, View

TRIES = 5
"""Another file may be gone each time."""


async def answer(request: web.Request, build: Callable[[View], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """`build` answers from a view, and raises UnknownProfile before it sends anything if a file of it is gone. One that
    is still named when the volume was read again (its manifest is there, its file isn't) is left out."""
    view = permissions.view_of(request)
    try:
        return await build(view)
    except errors.UnknownProfile as error:
        gone = {_find_gone(view, error)}
    for _ in range(TRIES):
        await request.app[STATE].look_again()
        view = permissions.view_of(request).without(gone)
        try:
            return await build(view)
        except errors.UnknownProfile as error:
            gone.add(_find_gone(view, error))
    return await build(permissions.view_of(request).without(gone))


def _find_gone(view: View, error: errors.UnknownProfile) -> str:
    """The id of the stored profile whose file is missing. Raises the error itself if it has another cause."""
    named = view.get(str(error.details.get("profile", "")))
    if named is None or named.file is None:
        raise error
    return named.id
