"""manifests/ is the rendered chart, and the commands in the notes exist."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from chart import helm
from samply_operator.model import names

FOLDER = helm.REPOSITORY / "manifests"
SCRIPT = helm.REPOSITORY / "hack" / "manifests"


def load(name: str) -> list[helm.Object]:
    return [o for o in yaml.safe_load_all((FOLDER / name).read_text()) if o]


def test_the_manifests_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_manifests_are_what_the_chart_installs(default_objects: list[helm.Object]) -> None:
    def keys(objects: list[helm.Object]) -> list[tuple[str, str]]:
        return sorted((o["kind"], o["metadata"]["name"]) for o in objects)

    assert keys(load("crd.yaml") + load("samply-operator.yaml")) == keys(default_objects)
    assert [o["kind"] for o in load("crd.yaml")] == ["CustomResourceDefinition"] * 2


@pytest.mark.parametrize("name", ["crd.yaml", "samply-operator.yaml"])
def test_the_manifests_dont_claim_to_be_helms(name: str) -> None:
    assert "helm.sh" not in (FOLDER / name).read_text()
    assert all("app.kubernetes.io/managed-by" not in o["metadata"]["labels"] for o in load(name))


def test_the_notes_show_the_next_commands() -> None:
    notes = helm.render_notes({"config": {"targets": {"namespaces": ["pipelines", "more"]}}, "service": {"port": 81}})
    assert "watches pipelines, more." in notes
    assert f"kubectl -n pipelines annotate statefulset NAME {names.TRIGGER}=30s" in notes
    assert f"kubectl -n {helm.NAMESPACE} port-forward service/samply-operator 8080:81 &" in notes
    assert "/v0/pipelines/PIPELINE/samply_profile?ordinal=0" in notes
    assert "kubectl -n pipelines describe samplyprofile NAME" in notes
    assert "docs/troubleshooting.md" in notes
    assert "belongs to another release" not in notes
    assert "TOKEN=$(kubectl -n pipelines create token profile-reader --audience samply-operator)" in notes
    assert "WARNING" not in notes


def test_the_notes_show_the_token_and_warn_if_there_is_none() -> None:
    ways = {"kubernetes": {"enabled": False}, "apiKeys": {"enabled": True, "secretName": "keys"}}
    notes = helm.render_notes({"config": {"auth": ways}})
    assert f"key new NAME --namespaces {helm.NAMESPACE} --namespace {helm.NAMESPACE} --secret keys" in notes
    assert "create token" not in notes
    assert "TOKEN=...   # the key that it prints" in notes
    oidc = {"enabled": True, "issuer": "https://id.example", "audience": "samply"}
    notes = helm.render_notes({"config": {"auth": {"kubernetes": {"enabled": False}, "oidc": oidc}}})
    assert "TOKEN=...   # a JWT of https://id.example for the audience samply" in notes
    feldera = {"feldera": {"url": "http://feldera"}, "auth": {"feldera": {"enabled": True}}}
    notes = helm.render_notes({"config": feldera})
    assert "TOKEN=...   # an API key of Feldera's" in notes
    assert "create token" not in notes
    assert 'curl -fOJk --oauth2-bearer "$TOKEN" "https://localhost:8080/p/v0/' in helm.render_notes(
        {"tls": {"secretName": "cert"}, "config": {"api": {"basePath": "/p"}}}
    )
    unsafe = helm.render_notes({"config": {"auth": {"unsafeLetAnyoneInWithoutAuthentication": True}}})
    assert "WARNING: authentication is switched off." in unsafe
    assert "TOKEN" not in unsafe
