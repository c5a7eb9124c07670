"""The Secret that signs links: made only on request, with a key that nobody could have read before."""

from __future__ import annotations

import base64

from chart import helm

NAMED = {"config": {"api": {"links": {"secretName": "samply-links"}}}}


def test_no_secret_is_made_without_a_name() -> None:
    """Nor is there one in manifests/: a published key signs nothing."""
    assert helm.select(helm.render(), "Secret") == []


def test_a_new_key_is_made_when_no_secret_exists() -> None:
    """384 random bits, kept on helm uninstall; rendering twice gives two of them."""
    keys = set()
    for _ in range(2):
        secret = helm.only(helm.render(NAMED), "Secret")
        assert secret["metadata"]["name"] == "samply-links"
        assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert set(secret["data"]) == {"current"}
        keys.add(base64.b64decode(secret["data"]["current"]))
    assert len(keys) == 2
    # What is stored is text, as `kubectl create secret --from-literal` makes it; either is long enough.
    assert all(len(key) >= 32 for key in keys)


def test_the_secret_can_be_made_elsewhere() -> None:
    assert helm.select(helm.render({**NAMED, "linkSecret": {"create": False}}), "Secret") == []
