"""Links to one stored profile that need no credentials: signing and verification. Pure.

A link grants reading exactly one file until it expires. The signature is HMAC-SHA-256 over purpose, namespace, profile
and expiry; it discloses nothing about the key. Links cannot be revoked one by one: replacing the key revokes all of
them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

PURPOSE = "samply-operator/link/1"

_EXPIRES = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Link:
    """The query parameters of a link. `expires` is Unix time in whole seconds."""

    expires: int
    signature: str


def sign(key: bytes, namespace: str, profile_id: str, expires: int) -> str:
    """43 URL-safe characters. No part may contain a line break; Kubernetes allows none."""
    message = "\n".join((PURPOSE, namespace, profile_id, str(expires))).encode()
    return base64.urlsafe_b64encode(hmac.digest(key, message, hashlib.sha256)).decode().rstrip("=")


def build(key: bytes, namespace: str, profile_id: str, expires: int) -> Link:
    return Link(expires, sign(key, namespace, profile_id, expires))


def parse(expires: str, signature: str) -> Link | None:
    """None: not the format of a link."""
    if _EXPIRES.fullmatch(expires) is None or not signature.isascii():
        return None
    return Link(int(expires), signature)


def is_valid(link: Link, keys: Sequence[bytes], namespace: str, profile_id: str, now: float) -> bool:
    """Whether one of the keys signed it and it has not expired. Tries all keys, so that the time discloses nothing."""
    matches = [hmac.compare_digest(link.signature, sign(key, namespace, profile_id, link.expires)) for key in keys]
    return any(matches) and now < link.expires


def build_origin(scheme: str, host: str) -> str | None:
    """The origin that a request was sent to, from its Host header, which is untrusted. None: not a valid host."""
    found = _HOST.fullmatch(host)
    if found is None or int(found["port"] or 0) > 65535:
        return None
    return f"{scheme}://{host}"


def build_viewer_url(url: str, name: str, viewer: str) -> str | None:
    """URL of Firefox Profiler at `viewer` with the profile at `url`. None: a browser would not load it, since an https
    page may load only https, or http from the local machine."""
    parts = urlsplit(url)
    if viewer.startswith("https:") and parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        return None
    return f"{viewer.rstrip('/')}/from-url/{quote(url, safe='')}/?profileName={quote(name, safe='')}"
