"""An identity provider: keys, tokens signed with them, and a server of its public keys."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "samply"


@functools.cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@functools.cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str, **more: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, **more}


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def encode_part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def forge(header: Any, claims: Any, *, secret: bytes | None = None, signature: bytes = b"") -> str:
    """A token of any parts; `secret` signs it with HMAC-SHA256."""
    signed = f"{encode_part(header)}.{encode_part(claims)}"
    if secret is not None:
        signature = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{encode_part(signature)}"


def build_claims(issuer: str, **changes: Any) -> dict[str, Any]:
    """Of a good token; None takes one away."""
    now = int(time.time())
    claims = {"iss": issuer, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 86_400, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def sign(
    claims: Mapping[str, Any], *, kid: str | None = "one", algorithm: str = "RS256", key: Any = None, **headers: Any
) -> str:
    named = {**({"kid": kid} if kid is not None else {}), **headers}
    chosen = key or (ec_key() if algorithm.startswith("ES") else rsa_key())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)  # a test may want a weak one
        return jwt.encode(dict(claims), chosen, algorithm=algorithm, headers=named)


@dataclass(slots=True)
class Provider:
    """`async with Provider() as provider`: serves `keys` under `issuer`; `answer` in place of both, if it is set."""

    keys: list[dict[str, Any]] = field(default_factory=lambda: [public_jwk(rsa_key(), "one", alg="RS256")])
    answer: web.Response | None = None
    document: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    issuer: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._describe)
        app.router.add_get("/keys", self._serve)
        app.router.add_get("/elsewhere", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.issuer = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _describe(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        return web.json_response({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"} | self.document)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        if self.answer is not None:
            answer, body = self.answer, self.answer.body
            return web.Response(status=answer.status, body=body, headers=answer.headers)
        return web.json_response({"keys": self.keys})
