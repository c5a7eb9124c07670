"""GET /openapi.json and GET /docs: the description of this service, as a document and as a page. Both are public."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec
from aiohttp import web

from samply_operator.api.content import conditional
from samply_operator.api.openapi import document, page
from samply_operator.api.server import base_path

routes = web.RouteTableDef()

CACHE = "public, max-age=300"


@routes.get("/openapi.json")
async def get_document(request: web.Request) -> web.StreamResponse:
    return _answer(request, build_document(base_path.current.get()), "application/json", {})


@routes.get("/docs")
async def get_page(request: web.Request) -> web.StreamResponse:
    headers = {"Content-Security-Policy": page.POLICY, "Referrer-Policy": "no-referrer"}
    return _answer(request, build_page(base_path.current.get()), "text/html", headers)


@lru_cache(1)
def build_document(base: str) -> bytes:
    return msgspec.json.encode(document.build(base))


@lru_cache(1)
def build_page(base: str) -> bytes:
    return page.render(document.build(base)).encode()


def _answer(request: web.Request, body: bytes, content_type: str, headers: dict[str, str]) -> web.Response:
    tag = hashlib.sha256(body).hexdigest()
    facts = {"ETag": f'"{tag}"', "Cache-Control": CACHE, **headers}
    if conditional.is_listed(conditional.find(request.headers, "If-None-Match") or "", tag, weak=True):
        return web.Response(status=304, headers=facts)
    charset = "utf-8" if content_type.startswith("text/") else None
    return web.Response(body=body, content_type=content_type, charset=charset, headers=facts)
