"""GET /console/…: the web console. Its files are public; its data comes from the API, with the user's permissions."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from samply_operator import __version__
from samply_operator.api.app_keys import SETTINGS
from samply_operator.api.content import conditional, console_files
from samply_operator.api.server import base_path
from samply_operator.settings import MAX_DURATION_SECS, MAX_RATE_HZ, MODES, Settings

FOREVER = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
HEADERS = {"Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin"}

NOT_BUILT = "The console was not built. Run `make console` (needs Node.js 20), or use the image of images/operator.\n"

routes = web.RouteTableDef()


@routes.get("/console")
async def redirect(request: web.Request) -> web.StreamResponse:
    """Below the base path, with or without it in the request."""
    return web.Response(status=308, headers={hdrs.LOCATION: f"{base_path.current.get()}/console/"})


@routes.get("/console/{path:.*}")
async def get(request: web.Request) -> web.StreamResponse:
    """A file; every other path is a page of the console itself."""
    path, files = request.match_info["path"], console_files.load()
    if not files:
        return web.Response(status=503, text=NOT_BUILT)
    if path.startswith((console_files.ASSETS, console_files.SPEEDSCOPE)):
        return _send_file(request, path, files)
    page = console_files.render_page(
        files["index.html"].body, base_path.current.get(), build_config(request.app[SETTINGS])
    )
    headers = {**HEADERS, "Content-Security-Policy": console_files.POLICY, hdrs.CACHE_CONTROL: REVALIDATE}
    return _send(request, console_files.build("index.html", page), headers)


def _send_file(request: web.Request, path: str, files: dict[str, console_files.StaticFile]) -> web.Response:
    if path == console_files.SPEEDSCOPE:
        path += "index.html"
    if path not in files:
        raise web.HTTPNotFound
    if path.startswith(console_files.SPEEDSCOPE):
        policy = {"Content-Security-Policy": console_files.SPEEDSCOPE_POLICY}
        return _send(request, files[path], {**HEADERS, **policy, hdrs.CACHE_CONTROL: REVALIDATE})
    # Their names change with what is in them.
    return _send(request, files[path], {**HEADERS, hdrs.CACHE_CONTROL: FOREVER})


def _send(request: web.Request, file: console_files.StaticFile, headers: dict[str, str]) -> web.Response:
    headers = {**headers, hdrs.ETAG: f'"{file.tag}"', hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if conditional.is_listed(request.headers.get(hdrs.IF_NONE_MATCH, ""), file.tag, weak=True):
        return web.Response(status=304, headers=headers)
    body = file.body
    if file.packed and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        body, headers[hdrs.CONTENT_ENCODING] = file.packed, "gzip"
    charset = "utf-8" if file.media_type.startswith("text/") else None
    return web.Response(body=body, content_type=file.media_type, charset=charset, headers=headers)


def build_config(settings: Settings) -> dict[str, Any]:
    """The page's configuration before sign-in: nothing about pipelines."""
    auth, recording = settings.auth, settings.recording
    return {
        "version": __version__,
        "open": auth.unsafe_let_anyone_in_without_authentication,
        "audience": auth.kubernetes.audiences[0] if auth.kubernetes.enabled else None,
        "apiKeys": auth.api_keys.enabled,
        "provider": urlsplit(auth.oidc.issuer).netloc if settings.api.console.sign_in.client_id else None,
        "links": bool(settings.api.links.secret_name),
        "linkMaxSecs": settings.api.links.max_secs,
        "enabled": recording.enabled,
        "durationSecs": recording.duration_secs,
        "maxDurationSecs": MAX_DURATION_SECS,
        "maxRateHz": MAX_RATE_HZ,
        "rateHz": recording.rate_hz,
        "mode": recording.mode,
        "modes": MODES,
        "minCoverage": recording.min_coverage,
    }
