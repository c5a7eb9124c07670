"""Signed links: which are valid, and that none can be altered."""

from __future__ import annotations

import pytest

from samply_operator.rules.access import links
from samply_operator.rules.access.links import Link

KEY, OTHER = b"k" * 32, b"o" * 32
NOW = 1_800_000_000.0
LINK = links.build(KEY, "feldera", "id-1", int(NOW) + 60)


def test_a_link_holds_until_its_time_is_over() -> None:
    """Not a second longer."""
    assert links.is_valid(LINK, [KEY], "feldera", "id-1", NOW)
    assert links.is_valid(LINK, [KEY], "feldera", "id-1", NOW + 59.9)
    assert not links.is_valid(LINK, [KEY], "feldera", "id-1", NOW + 60)


@pytest.mark.parametrize(
    ("link", "namespace", "profile_id"),
    [
        pytest.param(LINK, "feldera", "id-2", id="another profile"),
        pytest.param(LINK, "other", "id-1", id="another namespace"),
        pytest.param(Link(LINK.expires + 1, LINK.signature), "feldera", "id-1", id="more time"),
        pytest.param(Link(LINK.expires, LINK.signature[:-1]), "feldera", "id-1", id="cut"),
        pytest.param(Link(LINK.expires, LINK.signature + "A"), "feldera", "id-1", id="longer"),
        pytest.param(Link(LINK.expires, ""), "feldera", "id-1", id="empty"),
        pytest.param(Link(LINK.expires, LINK.signature.swapcase()), "feldera", "id-1", id="other letters"),
    ],
)
def test_nothing_of_it_can_be_changed(link: Link, namespace: str, profile_id: str) -> None:
    assert not links.is_valid(link, [KEY], namespace, profile_id, NOW)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [([KEY], True), ([OTHER, KEY], True), ([KEY, OTHER], True), ([OTHER], False), ([], False)],
    ids=["current", "previous", "first", "replaced", "none"],
)
def test_replacing_the_key_ends_all_links_unless_the_old_one_is_kept(keys: list[bytes], *, expected: bool) -> None:
    assert links.is_valid(LINK, keys, "feldera", "id-1", NOW) == expected


def test_the_parts_cannot_be_shifted_into_each_other() -> None:
    """What is signed says where each ends."""
    assert links.sign(KEY, "ab", "c", 1) != links.sign(KEY, "a", "bc", 1)
    assert links.sign(KEY, "a", "b1", 2) != links.sign(KEY, "a", "b", 12)


@pytest.mark.parametrize("expires", ["", "0", "-1", "1.5", "1e9", " 1", "9999999999999", "\u0663", "x"])
def test_what_is_no_time_is_no_link(expires: str) -> None:
    assert links.parse(expires, LINK.signature) is None


def test_what_is_no_ascii_is_no_signature() -> None:
    """Comparing it would raise."""
    assert links.parse("1800000000", "\u00fc" * 43) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("samply-operator.feldera.svc", "http://samply-operator.feldera.svc"),
        ("[::1]:80", "http://[::1]:80"),
        *(
            (host, None)
            for host in ("", "[", "a b", "x:99999", "x:abc", "x:", "h/path", "user@host", 'a"', "%zz", "x?y")
        ),
    ],
)
def test_a_host_header_is_any_text_until_it_is_a_host(host: str, expected: str | None) -> None:
    """What isn't one never gets into a URL."""
    assert links.build_origin("http", host) == expected


@pytest.mark.parametrize(
    ("url", "is_there"),
    [
        ("https://profiles.example.com/x?a=1&b=2", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost:8080/x", True),
        ("http://[::1]:8080/x", True),
        ("http://samply-operator.feldera.svc/x", False),
        ("http://127.0.0.1.example.com/x", False),
    ],
)
def test_the_viewer_gets_only_what_a_browser_would_load(url: str, *, is_there: bool) -> None:
    """A page of https loads https, or http of its own machine."""
    found = links.build_viewer_url(url, "orders 0", "https://profiler.firefox.com/")
    assert (found is not None) == is_there
    if found:
        address, _, query = found.removeprefix("https://profiler.firefox.com/from-url/").partition("/?")
        assert "/" not in address
        assert query == "profileName=orders%200"
