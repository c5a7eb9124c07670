"""JWTs: a valid one is accepted, and every known attack is refused."""

from __future__ import annotations

import json
import time
from typing import Any, get_args

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from samply_operator import settings
from samply_operator.control.auth import tokens
from samply_operator.control.auth.jwks import Jwk
from samply_operator.errors import Unauthenticated
from samply_operator.rules.access import permissions
from samply_operator.settings import Oidc
from support import identity
from support.identity import build_claims, forge, public_jwk, rsa_key, sign

ISSUER = "https://id.example"
OIDC = Oidc(enabled=True, issuer=ISSUER, audience=identity.AUDIENCE, algorithms=("RS256", "ES256"))


class Keys(dict[str, Jwk]):
    """What the issuer has published."""

    async def find(self, kid: str) -> Jwk | None:
        return self.get(kid)


KEYS = Keys(
    one=public_jwk(rsa_key(), "one", alg="RS256", use="sig"),
    curve=public_jwk(identity.ec_key(), "curve"),
    bare=public_jwk(rsa_key(), "bare"),
    wrapping=public_jwk(rsa_key(), "wrapping", use="enc"),
    signing=public_jwk(rsa_key(), "signing", key_ops=["sign"]),
    pss=public_jwk(rsa_key(), "pss", alg="PS256"),
    small=public_jwk(rsa_key(1024), "small"),
    large_curve=public_jwk(ec.generate_private_key(ec.SECP384R1()), "large_curve"),  # type: ignore[arg-type]
    shared={"kty": "oct", "kid": "shared", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U"},
    broken={"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
    empty={"kid": "empty"},
)


def claims(**changes: Any) -> dict[str, Any]:
    return build_claims(ISSUER, **changes)


async def verify(token: str, oidc: Oidc = OIDC) -> dict[str, Any]:
    return await tokens.verify(token, oidc, KEYS)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(sign(claims()), id="RS256"),
        pytest.param(sign(claims(), kid="curve", algorithm="ES256"), id="ES256"),
        pytest.param(sign(claims(), kid="bare"), id="a key without an algorithm"),
        pytest.param(sign(claims(aud=["other", "samply"])), id="one of several audiences"),
        pytest.param(sign(claims(nbf=1)), id="valid since"),
        pytest.param(sign(claims(), typ="at+jwt"), id="an access token"),
    ],
)
async def test_a_good_token_is_taken(token: str) -> None:
    assert (await verify(token))["sub"] == "alice"


async def test_clocks_may_differ_a_little() -> None:
    now = int(time.time())
    assert await verify(sign(claims(exp=now - 5)))
    assert await verify(sign(claims(nbf=now + 5, iat=now + 5)))
    with pytest.raises(Unauthenticated, match="expired"):
        await verify(sign(claims(exp=now - 15)))


NOW = int(time.time())
OTHER = rsa_key(number=1)
GOOD = sign(claims())
HEAD, BODY, SIGNATURE = GOOD.split(".")

ATTACKS: dict[str, str] = {
    # the algorithm
    "no algorithm": forge({"alg": "none", "kid": "one"}, claims()),
    "no algorithm, in other letters": forge({"alg": "nOnE", "kid": "one"}, claims()),
    "no algorithm, with a signature": forge({"alg": "none", "kid": "one"}, claims(), signature=b"x" * 256),
    "an empty algorithm": forge({"alg": "", "kid": "one"}, claims()),
    "the algorithm left out": forge({"kid": "one"}, claims()),
    "a list of algorithms": forge({"alg": ["RS256"], "kid": "one"}, claims()),
    "the public key as a shared secret": forge(
        {"alg": "HS256", "kid": "one"}, claims(), secret=identity.public_pem(rsa_key())
    ),
    "a shared secret from the key set": forge(
        {"alg": "HS256", "kid": "shared"}, claims(), secret=b"secretsecretsecretsecretsecretse"
    ),
    "a shared key named for RS256": forge(
        {"alg": "RS256", "kid": "shared"}, claims(), secret=b"secretsecretsecretsecretsecretse"
    ),
    "an algorithm that isn't allowed": sign(claims(), algorithm="RS512"),
    "an algorithm that isn't the key's": sign(claims(), kid="pss", algorithm="RS256"),
    "RS256 by a curve's key": forge({"alg": "RS256", "kid": "curve"}, claims(), signature=b"x" * 64),
    "ES256 by an RSA key": forge({"alg": "ES256", "kid": "one"}, claims(), signature=b"x" * 64),
    "ES256 by another curve": forge({"alg": "ES256", "kid": "large_curve"}, claims(), signature=b"x" * 64),
    "ES256 signed with zeros": forge({"alg": "ES256", "kid": "curve"}, claims(), signature=bytes(64)),
    # the key
    "an unknown key": sign(claims(), kid="two", key=OTHER),
    "another key of a known name": sign(claims(), key=OTHER),
    "no name of a key": sign(claims(), kid=None),
    "an empty name": sign(claims(), kid=""),
    "a number for a name": forge({"alg": "RS256", "kid": 1}, claims()),
    "a path for a name": sign(claims(), kid="../../../../dev/null"),
    "a query for a name": sign(claims(), kid="one' OR '1'='1"),
    "a NUL in the name": sign(claims(), kid="one\0"),
    "a very long name": sign(claims(), kid="k" * 5000),
    "a key for wrapping": sign(claims(), kid="wrapping"),
    "a key that only signs": sign(claims(), kid="signing"),
    "a key that is too small": sign(claims(), kid="small", key=rsa_key(1024)),
    "a key that is none": sign(claims(), kid="broken"),
    "a key without a type": sign(claims(), kid="empty"),
    "its own key inside": sign(claims(), key=OTHER, jwk=public_jwk(OTHER, "one")),
    "its own key inside, of no known name": sign(claims(), kid="two", key=OTHER, jwk=public_jwk(OTHER, "two")),
    "the address of its key inside": sign(claims(), key=OTHER, jku="https://evil.example/keys"),
    "the address of a certificate inside": sign(claims(), key=OTHER, x5u="https://evil.example/cert"),
    "a certificate inside": sign(claims(), key=OTHER, x5c=["MIIB"]),
    # critical extensions
    "an unknown critical extension": sign(claims(), crit=["exp2"], exp2=1),
    "a critical extension that is known elsewhere": sign(claims(), crit=["b64"], b64=True),
    "an empty list of critical extensions": forge({"alg": "RS256", "kid": "one", "crit": []}, claims()),
    "an unencoded payload": forge({"alg": "RS256", "kid": "one", "b64": False}, claims()),
    # the claims
    "expired": sign(claims(exp=NOW - 60)),
    "no end": sign(claims(exp=None)),
    "an end that is no number": sign(claims(exp="never")),
    "not valid yet": sign(claims(nbf=NOW + 86_400)),
    "issued in the future": sign(claims(iat=NOW + 86_400)),
    "another audience": sign(claims(aud="kubernetes")),
    "nobody's audience": sign(claims(aud=[])),
    "no audience": sign(claims(aud=None)),
    "an audience that begins alike": sign(claims(aud="samply-other")),
    "another issuer": sign(claims(iss="https://evil.example")),
    "the issuer with a slash": sign(claims(iss=ISSUER + "/")),
    "no issuer": sign(claims(iss=None)),
    "a list of issuers": forge({"alg": "RS256", "kid": "one"}, claims(iss=[ISSUER])),
    "no subject": sign(claims(sub=None)),
    # the parts
    "no signature": f"{HEAD}.{BODY}.",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.{SIGNATURE}",
    "another's signature": f"{HEAD}.{BODY}.{sign(claims(sub='bob')).split('.')[2]}",
    "other claims under a signature": f"{HEAD}.{identity.encode_part(claims(sub='root'))}.{SIGNATURE}",
    "a cut signature": GOOD[:-8],
    "claims that are a list": forge({"alg": "RS256", "kid": "one"}, ["sub"]),
    "a head that is a list": forge(["alg", "RS256"], claims()),
    "a head that is no JSON": forge(b"{", claims()),
    "a head that is no text": forge(b"\xff\xfe", claims()),
    "claims nested deep": forge({"alg": "RS256", "kid": "one"}, b"[" * 5000),
    "an encrypted token": f"{HEAD}.{BODY}.{SIGNATURE}.{BODY}.{SIGNATURE}",
    "nothing": "",
    "dots": "..",
}


@pytest.mark.parametrize("attack", list(ATTACKS), ids=str)
async def test_an_attack_is_refused_without_a_hint_of_the_keys(attack: str) -> None:
    assert await verify(GOOD), "and nothing else is wrong with it"
    with pytest.raises(Unauthenticated) as caught:
        await verify(ATTACKS[attack])
    assert str(caught.value).startswith("The token was not taken: ")
    assert len(str(caught.value)) < 150


async def test_there_are_many_attacks_and_each_is_another() -> None:
    assert len(set(ATTACKS.values())) == len(ATTACKS) > 55


def make_pair(algorithm: str) -> tuple[Any, dict[str, Any]]:
    """A private key for it, and its public half as the issuer publishes it."""
    if algorithm[:2] in {"RS", "PS"}:
        return rsa_key(), public_jwk(rsa_key(), "k")
    if algorithm == "EdDSA":
        private: Any = ed25519.Ed25519PrivateKey.generate()
        jwk = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key()))
    else:
        curve = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}[algorithm]
        private = ec.generate_private_key(curve())
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key()))
    return private, {**jwk, "kid": "k"}


@pytest.mark.parametrize("algorithm", get_args(settings.Algorithm))
async def test_each_algorithm_that_can_be_set_works_with_its_own_key_alone(algorithm: Any) -> None:
    """All are asymmetric; a token of the one isn't taken where another one is set."""
    private, public = make_pair(algorithm)
    token = sign(claims(), kid="k", algorithm=algorithm, key=private)
    oidc = msgspec.structs.replace(OIDC, algorithms=(algorithm,))
    assert (await tokens.verify(token, oidc, Keys(k=public)))["sub"] == "alice"
    others = tuple(each for each in get_args(settings.Algorithm) if each != algorithm)
    with pytest.raises(Unauthenticated, match="algorithm"):
        await tokens.verify(token, msgspec.structs.replace(OIDC, algorithms=others), Keys(k=public))


def test_a_huge_token_is_refused_before_it_is_looked_at() -> None:
    token = sign(claims(groups=["g" * 100] * 100))
    with pytest.raises(Unauthenticated, match="malformed"):
        permissions.parse_header([f"Bearer {token}"])
