"""Images: registries, tags and digests of both, and what the policy admits when a webhook rewrites them."""

from __future__ import annotations

import re

import pytest

from chart import helm
from samply_operator import settings
from samply_operator.recorder.pod import ephemeral

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def read_images(objects: list[helm.Object]) -> tuple[str, str]:
    """Of the pod's containers, and of the ephemeral container."""
    read = settings.parse(helm.only(objects, "ConfigMap")["data"]["settings.json"].encode())
    (image,) = {container["image"] for container in helm.containers(objects).values()}
    return image, read.ephemeral.image


def read_rule(objects: list[helm.Object]) -> helm.Object:
    """Of the policy, the one about images."""
    rules = [r for p in helm.select(objects, "ValidatingAdmissionPolicy") for r in p["spec"]["validations"]]
    (found,) = [rule for rule in rules if "c.image" in rule["expression"]]
    return found


@pytest.mark.parametrize(
    ("values", "image", "helper"),
    [
        pytest.param({}, "samply-operator:0.1.0", "samply-operator-samply:0.1.0", id="defaults"),
        pytest.param(
            {"global": {"imageRegistry": "r.example:5000/mirror/"}, "image": {"registry": "other"}},
            "r.example:5000/mirror/samply-operator:0.1.0",
            "r.example:5000/mirror/samply-operator-samply:0.1.0",
            id="the global registry wins",
        ),
        pytest.param(
            {"image": {"registry": "r.example", "repository": "team/so", "tag": "2"}},
            "r.example/team/so:2",
            "r.example/team/so-samply:2",
            id="a registry for both",
        ),
        pytest.param(
            {"image": {"digest": DIGEST}, "helperImage": {"digest": OTHER}},
            f"samply-operator@{DIGEST}",
            f"samply-operator-samply@{OTHER}",
            id="digests for both",
        ),
        pytest.param(
            {"helperImage": {"registry": "h.example", "repository": "x/samply", "tag": "3"}},
            "samply-operator:0.1.0",
            "h.example/x/samply:3",
            id="the helper elsewhere",
        ),
        pytest.param(
            {"global": {"imageRegistry": "r"}, "config": {"ephemeral": {"image": "other/samply:1"}}},
            "r/samply-operator:0.1.0",
            "other/samply:1",
            id="the helper by its whole name",
        ),
    ],
)
def test_images_are_named_through_to_the_policy(values: helm.Object, image: str, helper: str) -> None:
    objects = helm.render(values)
    assert read_images(objects) == (image, helper)
    assert read_rule(objects)["expression"] == f'variables.added.all(c, c.image == "{helper}")'


@pytest.mark.parametrize(
    ("image", "is_admitted"),
    [
        ("mirror.example:5000/a/samply:2", True),
        (f"mirror.example:5000/a/samply@{DIGEST}", True),
        (f"mirror.example:5000/a/samply:2@{DIGEST}", True),
        ("mirror.example:5000/a/samply", False),
        ("mirror.example:5000/a/samply:3", False),
        (f"mirror.example:5000/a/samply:3@{DIGEST}", False),
        (f"mirror.example:5000/a/samply@{DIGEST}0", False),
        ("mirrorxexample:5000/a/samply:2", False),
        ("evil/mirror.example:5000/a/samply:2", False),
    ],
)
def test_a_repository_stands_for_its_tag_and_for_digests(image: str, is_admitted: bool) -> None:
    """RE2, which CEL has, and Python's expressions agree on what is used here."""
    values = {"image": {"tag": "2"}, "helperImage": {"rewrittenAs": ["mirror.example:5000/a/samply"]}}
    expression = read_rule(helm.render(values))["expression"]
    pattern = re.search(r"c\.image\.matches\(r'(.*)'\)", expression)
    assert pattern, expression
    assert (re.search(pattern[1], image) is not None) == is_admitted


@pytest.mark.parametrize(
    ("values", "admitted", "refused"),
    [
        pytest.param(
            {"config": {"ephemeral": {"image": "r.example:5000/samply:3"}}},
            ["m.example/samply:3", f"m.example/samply@{DIGEST}"],
            ["m.example/samply:0.1.0", "m.example/samply"],
            id="the tag of an image that is named whole",
        ),
        pytest.param(
            {"config": {"ephemeral": {"image": "r.example:5000/samply"}}},
            ["m.example/samply:latest"],
            ["m.example/samply:5000", "m.example/samply:0.1.0"],
            id="without a tag",
        ),
        pytest.param(
            {"helperImage": {"digest": DIGEST, "tag": "3"}},
            [f"m.example/samply@{DIGEST}"],
            ["m.example/samply:0.1.0", "m.example/samply@" + DIGEST.replace("a", "b")],
            id="a digest stays",
        ),
    ],
)
def test_a_repository_stands_for_the_image_that_is_used(
    values: helm.Object, admitted: list[str], refused: list[str]
) -> None:
    helper = {**values.get("helperImage", {}), "rewrittenAs": ["m.example/samply"]}
    expression = read_rule(helm.render({**values, "helperImage": helper}))["expression"]
    pattern = re.search(r"c\.image\.matches\(r'(.*)'\)", expression)
    assert pattern, expression
    assert [image for image in admitted + refused if re.search(pattern[1], image)] == admitted


def test_a_whole_reference_stands_for_itself() -> None:
    names = ["mirror.example/samply:2-zarf-1", f"r/samply@{DIGEST}"]
    expression = read_rule(helm.render({"helperImage": {"rewrittenAs": names}}))["expression"]
    own = '"samply-operator-samply:0.1.0"'
    assert (
        expression
        == "variables.added.all(c, "
        + " || ".join(f"c.image == {name}" for name in (own, *(f'"{name}"' for name in names)))
        + ")"
    )


def test_what_is_refused_is_named(default_objects: list[helm.Object]) -> None:
    rule = read_rule(default_objects)
    says = rule["messageExpression"].strip().split('"')
    assert (says[1], says[-2]) == (
        "samply-operator may only add its own image, not ",
        " (its own is samply-operator-samply:0.1.0)",
    )
    refused = "r.example/p/samply@" + DIGEST
    assert ephemeral.REWRITTEN.search(says[1] + refused + says[-2])[1] == refused  # type: ignore[index]
    assert rule["message"] == "samply-operator may only add its own image (samply-operator-samply:0.1.0)"


def test_secrets_to_pull_with_come_from_both() -> None:
    """Of those that all charts share, some charts want the names alone."""
    shared = ["c", {"name": "a"}]
    values = {"global": {"imagePullSecrets": shared}, "imagePullSecrets": [{"name": "b"}, {"name": "a"}]}
    assert helm.pod_spec(helm.render(values))["imagePullSecrets"] == [{"name": "c"}, {"name": "a"}, {"name": "b"}]
