"""Verifies JWTs of the configured identity provider; PyJWT does the cryptography.

Nothing in a token decides how it is verified: the algorithms are those of the settings, the key is the issuer's own
with that id, of the kind required by the algorithm. Keys, or addresses of keys, inside a token are ignored.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import jwt

from samply_operator.control.auth.jwks import Jwk
from samply_operator.errors import Unauthenticated
from samply_operator.settings import Oidc

LEEWAY_SECS = 10
"""How far clocks may differ."""
MAX_KID_LENGTH = 256
REQUIRED = ["exp", "iss", "aud", "sub"]
KIND = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
"""Key type by the algorithm's first letters."""


class Keys(Protocol):
    """KeySet; and a dict of a test."""

    async def find(self, kid: str) -> Jwk | None: ...


async def verify(token: str, oidc: Oidc, keys: Keys) -> dict[str, Any]:
    """Its claims. Raises Unauthenticated with the reason, AccessUndecided if there are no keys to verify with."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _reject("it is no JWT") from error
    algorithm, kid = _check_header(header, oidc)
    jwk = await keys.find(kid)
    if jwk is None:
        raise _reject("its key is none of the issuer's")
    key = _load_key(jwk, algorithm)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", jwt.InsecureKeyLengthWarning)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=oidc.audience,
                issuer=oidc.issuer,
                leeway=LEEWAY_SECS,
                options={"require": REQUIRED},
            )
    except (jwt.PyJWTError, jwt.InsecureKeyLengthWarning, ValueError, TypeError, RecursionError) as error:
        raise _reject(_describe(error)) from error
    return claims


def _check_header(header: Mapping[str, Any], oidc: Oidc) -> tuple[str, str]:
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in oidc.algorithms:
        raise _reject("its algorithm is not allowed here")
    if "crit" in header or "b64" in header:
        raise _reject("it has critical extensions, and none is known here")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_LENGTH:
        raise _reject("it does not name its key")
    return algorithm, kid


def _load_key(jwk: Jwk, algorithm: str) -> jwt.PyJWK:
    is_for_this = (
        jwk.get("kty") == KIND[algorithm[:2]]
        and jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and "verify" in (jwk.get("key_ops") or ["verify"])
    )
    if not is_for_this:
        raise _reject("its key is not for this algorithm")
    public = {name: value for name, value in jwk.items() if name in {"kty", "crv", "n", "e", "x", "y", "kid"}}
    try:
        return jwt.PyJWK(public, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise _reject("its key cannot be used") from error


def _describe(error: Exception) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.InvalidAudienceError():
            return "it is for another audience"
        case jwt.InvalidIssuerError():
            return "it is of another issuer"
        case jwt.ImmatureSignatureError() | jwt.InvalidIssuedAtError():
            return "it is not valid yet"
        case jwt.MissingRequiredClaimError():
            return f"the claim {error.claim} is missing"
        case jwt.InvalidSignatureError():
            return "its signature is wrong"
        case _:
            return "it cannot be verified"


def _reject(why: str) -> Unauthenticated:
    return Unauthenticated(f"The token was not taken: {why}.")
