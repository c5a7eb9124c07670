"""Authorization: what grants allow, what a refusal reveals, and which method verifies a token."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from samply_operator.errors import Forbidden, Unauthenticated
from samply_operator.rules.access import permissions
from samply_operator.rules.access.permissions import Grant, Who
from samply_operator.settings import ApiKeys, Auth, KubernetesWay, Oidc, OidcGrant, Verb

ISSUER = "https://id.example"


def grant(verbs: str, *namespaces: str) -> Grant:
    return Grant(frozenset(verbs.split()), frozenset(namespaces))  # type: ignore[arg-type]


def who(*grants: Grant) -> Who:
    return Who("alice", "ApiKey", grants)


@pytest.mark.parametrize(
    ("caller", "verb", "namespace", "decision"),
    [
        pytest.param(who(grant("get", "a")), "get", "a", "Allow", id="may read"),
        pytest.param(who(grant("get", "a")), "create", "a", "Forbid", id="may read, not start"),
        pytest.param(who(grant("get create", "a")), "create", "a", "Allow", id="may start"),
        pytest.param(who(grant("get create", "a")), "delete", "a", "Forbid", id="may start, not delete"),
        pytest.param(who(grant("get", "a")), "get", "b", "Hide", id="another namespace"),
        pytest.param(who(grant("get create delete", "a")), "create", "b", "Hide", id="all, elsewhere"),
        pytest.param(who(grant("create delete", "a")), "create", "a", "Hide", id="may start what may not be seen"),
        pytest.param(who(grant("get", "*")), "get", "a", "Allow", id="may read everywhere"),
        pytest.param(who(grant("get", "*"), grant("create", "a")), "create", "a", "Allow", id="two grants together"),
        pytest.param(who(grant("get", "*"), grant("create", "a")), "create", "b", "Forbid", id="each where it is"),
        pytest.param(who(), "get", "a", "Hide", id="no grant"),
        pytest.param(permissions.ANYBODY, "delete", "a", "Allow", id="switched off"),
        pytest.param(permissions.NOBODY, "get", "a", "Hide", id="nobody"),
        pytest.param(who(grant("get", "a")), "get", "*", "Hide", id="a star is no namespace"),
    ],
)
def test_rights_of_a_caller(caller: Who, verb: Verb, namespace: str, decision: str) -> None:
    assert permissions.decide(caller, verb, namespace) == decision
    assert caller.may(verb, namespace) == (decision == "Allow")


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        pytest.param((), frozenset(), id="none"),
        pytest.param((grant("get", "a", "b"), grant("create", "c")), frozenset({"a", "b"}), id="some"),
        pytest.param((grant("get", "a"), grant("get", "*")), None, id="all"),
        pytest.param((grant("create", "*"),), frozenset(), id="all, but not to read"),
    ],
)
def test_which_namespaces_are_readable(grants: tuple[Grant, ...], expected: frozenset[str] | None) -> None:
    assert who(*grants).readable == expected


def test_a_refusal_says_what_is_missing_and_where() -> None:
    permissions.check(who(grant("get create", "a")), "create", "a")
    with pytest.raises(Forbidden) as caught:
        permissions.check(who(grant("get", "a")), "create", "a")
    assert caught.value.details == {"verb": "create", "namespace": "a"}
    assert "`create` on samplyprofiles" in caught.value.remedy


def test_callers_of_two_ways_are_never_called_the_same() -> None:
    assert Who("ci", "ApiKey").describe() == "ApiKey/ci"
    assert Who("ci", "Kubernetes").describe() == "Kubernetes/ci"


# ------------------------------------------------------------------------------------------------------------- tokens


def make_token(claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


@pytest.mark.parametrize(
    ("values", "token"),
    [
        pytest.param(["Bearer abc"], "abc", id="plain"),
        pytest.param(["bearer abc"], "abc", id="the scheme's letters don't matter"),
        pytest.param(["  Bearer   abc  "], "abc", id="spaces around"),
    ],
)
def test_the_token_of_a_request(values: list[str], token: str) -> None:
    assert permissions.parse_header(values) == token


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="none"),
        pytest.param(["Bearer a", "Bearer b"], id="two"),
        pytest.param(["Bearer "], id="empty"),
        pytest.param(["Basic YTpi"], id="another scheme"),
        pytest.param(["abc"], id="no scheme"),
        pytest.param(["Bearer a b"], id="a space inside"),
        pytest.param(["Bearer a\x00b"], id="a NUL inside"),
        pytest.param(["Bearer ä"], id="no ASCII"),
        pytest.param(["Bearer " + "a" * 8000], id="too long"),
    ],
)
def test_what_is_no_token(values: list[str]) -> None:
    with pytest.raises(Unauthenticated):
        permissions.parse_header(values)


ALL = Auth(
    kubernetes=KubernetesWay(),
    oidc=Oidc(enabled=True, issuer=ISSUER, audience="samply"),
    api_keys=ApiKeys(enabled=True),
)
NO_KUBERNETES = Auth(kubernetes=KubernetesWay(enabled=False), oidc=ALL.oidc)


@pytest.mark.parametrize(
    ("token", "way"),
    [
        pytest.param("samply_ci_00", "ApiKey", id="a key"),
        pytest.param(make_token({"iss": ISSUER}), "Oidc", id="of the issuer"),
        pytest.param(make_token({"iss": ISSUER + "/"}), "Kubernetes", id="nearly of the issuer"),
        pytest.param(make_token({"iss": "https://kubernetes.default.svc"}), "Kubernetes", id="of the cluster"),
        pytest.param(make_token({"iss": [ISSUER]}), "Kubernetes", id="a list of issuers"),
        pytest.param(make_token([ISSUER]), "Kubernetes", id="no claims"),
        pytest.param("opaque", "Kubernetes", id="no JWT"),
        pytest.param("a.%%%.c", "Kubernetes", id="no base64"),
    ],
)
def test_the_method_is_chosen_by_the_token(token: str, way: str) -> None:
    assert permissions.choose_way(token, ALL) == way


@pytest.mark.parametrize(
    ("token", "said"),
    [
        pytest.param("apikey:0123", "Feldera", id="Feldera's own key"),
        pytest.param("samply_ci_00", "switched off", id="a key, where they are off"),
        pytest.param("opaque", "issuer is not trusted", id="nothing else"),
        pytest.param(make_token({"iss": "https://other"}), "issuer is not trusted", id="of another issuer"),
    ],
)
def test_a_token_of_a_disabled_method(token: str, said: str) -> None:
    with pytest.raises(Unauthenticated, match=said):
        permissions.choose_way(token, NO_KUBERNETES)


def test_the_cure_names_each_way_that_is_on() -> None:
    cure = permissions.describe_remedy(ALL)
    assert "--audience samply-operator" in cure
    assert f"{ISSUER} for the audience samply" in cure
    assert "key new" in cure
    assert "kubectl" not in permissions.describe_remedy(NO_KUBERNETES)


def test_a_token_for_another_audience_gets_that_reason() -> None:
    said = permissions.explain_rejected(make_token({"aud": ["https://kubernetes.default.svc"]}), ["samply-operator"])
    assert said == "The token has the audience https://kubernetes.default.svc, not samply-operator."
    assert "not valid" in permissions.explain_rejected(make_token({"aud": "samply-operator"}), ["samply-operator"])
    assert "not valid" in permissions.explain_rejected("opaque", ["samply-operator"])


# -------------------------------------------------------------------------------------------------------------- grants

OIDC = Oidc(
    enabled=True,
    issuer=ISSUER,
    audience="samply",
    grants=(
        OidcGrant(subject="alice", verbs=("get", "create"), namespaces=("a",)),
        OidcGrant(group="sre", verbs=("get", "delete"), namespaces=("*",)),
    ),
)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        pytest.param({"sub": "alice"}, [("get", "a"), ("create", "a")], id="by subject"),
        pytest.param({"sub": "bob"}, [], id="no grant"),
        pytest.param({"sub": "bob", "groups": ["dev", "sre"]}, [("get", "z"), ("delete", "z")], id="by group"),
        pytest.param({"sub": "bob", "groups": "sre"}, [("get", "z"), ("delete", "z")], id="one group, as text"),
        pytest.param({"sub": "sre"}, [], id="a subject named as the group"),
        pytest.param({"sub": "bob", "groups": ["alice"]}, [], id="a group named as the subject"),
        pytest.param({"sub": "bob", "groups": {"sre": 1}}, [], id="groups of another shape"),
        pytest.param({"sub": "bob", "groups": [["sre"]]}, [], id="a group inside of a list inside"),
        pytest.param({"sub": "Alice"}, [], id="letters matter"),
        pytest.param({"sub": "bob", "groups": [""]}, [], id="an empty group"),
    ],
)
def test_what_claims_grant(claims: dict[str, Any], expected: list[tuple[Verb, str]]) -> None:
    found = permissions.build_token_holder(claims, OIDC)
    pairs = [(verb, namespace) for namespace in ("a", "z") for verb in ("get", "create", "delete")]
    assert (found.subject, found.way) == (claims["sub"], "Oidc")
    granted = [pair for pair in pairs if any(grant.allows(*pair) for grant in found.grants)]  # type: ignore[arg-type]
    wanted = expected if not expected or expected[0][1] == "a" else [(v, n) for n in ("a", "z") for v, _ in expected]
    assert granted == wanted


@pytest.mark.parametrize("claims", [{}, {"sub": ""}, {"sub": 7}, {"sub": ["alice"]}])
def test_claims_without_a_subject(claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        permissions.build_token_holder(claims, OIDC)


def test_a_subject_cant_break_a_line() -> None:
    claims = {"sub": 'alice\n{"decision":"Allow"}' + "x" * 1000}
    found = permissions.build_token_holder(claims, OIDC)
    assert "\n" not in found.subject
    assert len(found.subject) <= permissions.MAX_SUBJECT_LENGTH
    assert found.grants == ()


def test_what_kubernetes_allowed() -> None:
    found = permissions.build_reviewed("system:serviceaccount:a:b", {"get": ("a", "b"), "create": ("a",), "delete": ()})
    assert found.readable == {"a", "b"}
    assert found.may("create", "a")
    assert not found.may("create", "b")
    assert not found.may("delete", "a")
