"""The console's files, built by `make console`: read once, kept compressed.

They include two viewers: the project's own page, and speedscope's unchanged build, below a path and with a policy of
its own.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

FOLDER = "console"
ASSETS, SPEEDSCOPE = "assets/", "speedscope/"
BASE_MARK, CONFIG_MARK = "{{base}}", "{{config}}"

POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "font-src 'self'",
    "connect-src 'self'", "frame-src 'self'", "base-uri 'self'", "form-action 'self'", "frame-ancestors 'none'",
    "require-trusted-types-for 'script'", "trusted-types 'none'",
))  # fmt: skip
"""The project's own page: nothing inline, nothing from other hosts, and no text is interpreted as markup."""
SPEEDSCOPE_POLICY = "; ".join((
    "default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:", "font-src 'self' data:", "connect-src blob:", "base-uri 'none'", "form-action 'none'",
    "frame-ancestors 'self'",
))  # fmt: skip
"""speedscope gets the profile as a blob from the surrounding page, and can access neither the API nor other hosts."""

mimetypes.add_type("font/woff2", ".woff2")


@dataclass(frozen=True, slots=True)
class StaticFile:
    """`packed` is the same as gzip, None where that saves nothing."""

    body: bytes
    packed: bytes | None
    media_type: str
    tag: str


@cache
def load() -> dict[str, StaticFile]:
    """All files by their path; empty where the console was not built."""
    root = resources.files("samply_operator.api").joinpath(FOLDER)
    return {path: build(path, file.read_bytes()) for path, file in _walk(root, "")} if root.is_dir() else {}


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        path = f"{prefix}{each.name}"
        found += _walk(each, f"{path}/") if each.is_dir() else [(path, each)]
    return found


def build(path: str, body: bytes) -> StaticFile:
    packed = gzip.compress(body, 9, mtime=0)
    media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    tag = hashlib.sha256(body).hexdigest()
    return StaticFile(body, packed if len(packed) < 0.95 * len(body) else None, media_type, tag)


def render_page(template: bytes, base: str, config: dict[str, Any]) -> bytes:
    """The page with its configuration: the base path of the service, and how to sign in."""
    text = template.decode()
    escaped = escape(json.dumps(config, separators=(",", ":")), quote=True)
    return text.replace(BASE_MARK, escape(base, quote=True)).replace(CONFIG_MARK, escaped).encode()
