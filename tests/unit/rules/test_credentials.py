"""API keys in a Secret: how entries are read, what is refused, and which key a token is."""

from __future__ import annotations

import json

import pytest

from samply_operator.rules.access import credentials

NOW = 1_800_000_000.0
KEY = credentials.build_key("ci", bytes(range(32)))
ENTRY = credentials.build_entry(KEY, ["get"], ["demo"])


def parse_one(raw: bytes, name: str = "ci") -> credentials.ApiKey:
    parsed = credentials.parse_keys({name: raw})
    assert parsed.faults == ()
    return parsed.keys[0]


def test_a_key_names_its_entry_and_the_entry_does_not_hold_it() -> None:
    assert "samply_ci_" + bytes(range(32)).hex() == KEY
    assert KEY.encode() not in ENTRY
    found = credentials.find_key(KEY, [parse_one(ENTRY)], NOW)
    assert found == credentials.ApiKey("ci", credentials.hash_key(KEY), ("get",), ("demo",))


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(KEY[:-1], id="cut"),
        pytest.param(KEY + "0", id="longer"),
        pytest.param(KEY.upper(), id="other letters"),
        pytest.param(credentials.hash_key(KEY), id="its hash"),
        pytest.param(credentials.build_key("ci", bytes(32)), id="its name, other bits"),
        pytest.param("samply_ci_", id="only its name"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_not_the_key_finds_none(token: str) -> None:
    assert credentials.find_key(token, [parse_one(ENTRY)], NOW) is None


def test_a_key_ends_at_its_time() -> None:
    raw = credentials.build_entry(KEY, ["get"], ["*"], "2027-01-15T08:00:00Z")
    key = parse_one(raw)
    assert key.expires_at == NOW
    assert credentials.find_key(KEY, [key], NOW - 1) == key
    assert credentials.find_key(KEY, [key], NOW) is None


def change(**changes: object) -> bytes:
    entry = json.loads(ENTRY) | changes
    return json.dumps({key: value for key, value in entry.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        pytest.param("ci", b"", id="empty"),
        pytest.param("ci", b"{", id="no JSON"),
        pytest.param("ci", b"\xff", id="no text"),
        pytest.param("ci", change(sha256="00"), id="a short hash"),
        pytest.param("ci", change(sha256="A" * 64), id="capitals"),
        pytest.param("ci", change(sha256=None), id="no hash"),
        pytest.param("ci", change(verbs=[]), id="no verb"),
        pytest.param("ci", change(verbs=["list"]), id="another verb"),
        pytest.param("ci", change(namespaces=[]), id="no namespace"),
        pytest.param("ci", change(namespaces=None), id="namespaces forgotten"),
        pytest.param("ci", change(namespaces=["d*"]), id="a pattern"),
        pytest.param("ci", change(expires="tomorrow"), id="no time"),
        pytest.param("ci", change(expires="2027-01-31T00:00:00"), id="a time of no zone"),
        pytest.param("ci", change(expires="fooZ"), id="a Z alone makes no time"),
        pytest.param("ci", change(expire="2020-01-01T00:00:00Z"), id="a typo that would never expire"),
        pytest.param("CI", ENTRY, id="a name with capitals"),
        pytest.param("a_b", ENTRY, id="a name with an underscore"),
    ],
)
def test_a_wrong_entry_grants_nothing_and_hides_no_other(name: str, raw: bytes) -> None:
    parsed = credentials.parse_keys({name: raw, "ok": ENTRY})
    assert [key.name for key in parsed.keys] == ["ok"]
    (fault,) = parsed.faults
    assert fault.startswith(f"entry {name}: ")
    assert credentials.hash_key(KEY) not in fault


def test_too_many_keys_are_reported() -> None:
    parsed = credentials.parse_keys({f"k{n}": ENTRY for n in range(credentials.MAX_KEYS + 1)})
    assert (len(parsed.keys), len(parsed.faults)) == (credentials.MAX_KEYS, 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({}, (), id="none"),
        pytest.param({"current": b"a" * 32}, (b"a" * 32,), id="one"),
        pytest.param({"previous": b"b" * 32, "current": b"a" * 40}, (b"a" * 40, b"b" * 32), id="the current one first"),
        pytest.param({"current": b"a" * 31, "previous": b"b" * 32}, (b"b" * 32,), id="a short key is ignored"),
        pytest.param({"other": b"c" * 32}, (), id="another entry"),
    ],
)
def test_keys_that_sign_links(data: dict[str, bytes], expected: tuple[bytes, ...]) -> None:
    assert credentials.parse_link_keys(data) == expected
