"""The settings: defaults, refused values and their messages, and which code reads the environment."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from samply_operator import settings
from samply_operator.errors import SettingsError
from samply_operator.settings import Identity, Recording, Settings, Targets


def nest(path: str, value: object) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("raw", [b"{}", b'{"recording":{}}', msgspec.json.encode(Settings())])
def test_the_defaults_hold_for_what_is_left_out(raw: bytes) -> None:
    """And writing them out changes nothing."""
    assert settings.parse(raw) == Settings()


def test_keys_are_written_as_in_the_charts_values() -> None:
    """In camel case."""
    raw = {"targets": {"podSelector": "a=b", "clusterWide": True}, "recording": {"rateHz": 99}, "logLevel": "DEBUG"}
    assert settings.parse(json.dumps(raw).encode()) == Settings(
        targets=Targets(pod_selector="a=b", cluster_wide=True), recording=Recording(rate_hz=99), log_level="DEBUG"
    )


@pytest.mark.parametrize(
    "path",
    ["nonsense", "targets.podSelectors", "recording.duration_secs", "recording.rateHZ", "api.tls"],
)  # fmt: skip
def test_an_unknown_key_is_refused_by_name(path: str) -> None:
    """A typo never passes for a default."""
    with pytest.raises(SettingsError, match=f"`{path.rpartition('.')[2]}`"):
        settings.parse(json.dumps(nest(path, 1)).encode())


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("recording.durationSecs", "30", "Expected `int`"),
        ("recording.durationSecs", 0, ">= 1"),
        ("recording.durationSecs", 3601, "<= 3600"),
        ("recording.durationSecs", 1.5, "Expected `int`"),
        ("recording.rateHz", 0, ">= 1"),
        ("recording.rateHz", 10_001, "<= 10000"),
        ("recording.mode", "inplace", "Invalid enum value"),
        ("recording.enabled", "yes", "Expected `bool`"),
        ("recording.maxConcurrent", 0, ">= 1"),
        ("recording.attachDeadlineSecs", 0, "> 0"),
        ("recording.finishDeadlineSecs", -1, "> 0"),
        ("recording.copyDeadlineSecs", "x", "Expected `float`"),
        ("recording.minFreeBytes", None, "Expected `int`"),
        ("targets.namespaces", "prod", "Expected `array`"),
        ("targets.podSelector", 1, "Expected `str | array`"),
        ("targets.clusterWide", 1, "Expected `bool`"),
        ("retention.objectTtlSecs", 0, "> 0"),
        ("api.port", 70_000, "<= 65535"),
        ("api.startWaitSecs", 0, "> 0"),
        ("paths.data", [], "Expected `str`"),
        ("logLevel", "debug", "Invalid enum value"),
        ("targets", [], "Expected `object`"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_what_was_expected(path: str, value: object, said: str) -> None:
    """The reader knows the line of their values file."""
    with pytest.raises(SettingsError) as caught:
        settings.parse(json.dumps(nest(path, value)).encode())
    assert f"$.{path}" in caught.value.message
    assert said in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b"\xff", b'{"logLevel": "\xff"}', b'{"logLevel": "INFO"} x']
)
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    """Never a traceback."""
    with pytest.raises(SettingsError):
        settings.parse(raw)


def test_without_a_file_the_defaults_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's machine needs none."""
    monkeypatch.delenv("SAMPLY_OPERATOR_SETTINGS", raising=False)
    assert settings.load() == Settings()


def test_the_file_is_named_by_the_argument_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both work."""
    (tmp_path / "env.json").write_text('{"logLevel": "ERROR"}')
    (tmp_path / "argument.json").write_text('{"logLevel": "DEBUG"}')
    monkeypatch.setenv("SAMPLY_OPERATOR_SETTINGS", str(tmp_path / "env.json"))
    assert settings.load().log_level == "ERROR"
    assert settings.load(str(tmp_path / "argument.json")).log_level == "DEBUG"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With the system's own reason."""
    with pytest.raises(SettingsError, match=r"absent\.json: No such file"):
        settings.load(str(tmp_path / "absent.json"))


def test_the_identity_comes_from_the_downward_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a pod, from what there is."""
    for name in ("POD_NAMESPACE", "POD_NAME", "RELEASE_NAME", "HOSTNAME"):
        monkeypatch.delenv(name, raising=False)
    assert settings.load_identity() == Identity("default", "local", "samply-operator")
    monkeypatch.setenv("HOSTNAME", "host")
    assert settings.load_identity().pod == "host"
    monkeypatch.setenv("POD_NAMESPACE", "tools")
    monkeypatch.setenv("POD_NAME", "pod-x")
    monkeypatch.setenv("RELEASE_NAME", "r")
    assert settings.load_identity() == Identity("tools", "pod-x", "r")


def _build_token(claims: bytes) -> str:
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (_build_token(b'{"kubernetes.io": {"serviceaccount": {"name": "so", "uid": "u-1"}}}'), "u-1"),
        (_build_token(b'{"sub": "x"}'), ""),
        (_build_token(b"{"), ""),
        ("e30.!.c2ln", ""),
        ("opaque", ""),
        ("\N{BULLET}", ""),
        (None, ""),
    ],
)
def test_the_account_is_read_from_the_pods_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, expected: str
) -> None:
    path = tmp_path / "token"
    if token is not None:
        path.write_text(token)
    monkeypatch.setattr(settings, "TOKEN", path)
    identity = settings.load_identity()
    assert identity.account_uid == expected
    assert identity.installation.endswith(f"/{expected}" if expected else identity.release)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (Targets(), ("tools",)),
        (Targets(namespaces=("a", "b")), ("a", "b")),
        (Targets(cluster_wide=True), ()),
        (Targets(namespaces=("a",), cluster_wide=True), ()),
    ],
    ids=["own", "listed", "all", "all wins"],
)
def test_the_namespaces_to_watch(targets: Targets, expected: tuple[str, ...]) -> None:
    """Only the own one unless said otherwise; empty means all."""
    assert settings.namespaces_of(Settings(targets=targets), Identity("tools", "p", "r")) == expected


def test_nothing_else_reads_the_environment() -> None:
    """One place says what an installation decides."""
    package = Path(settings.__file__).parent
    # The kubectl plugin runs on somebody's machine, not in the installation.
    paths = [path for path in package.rglob("*.py") if "plugin" not in path.parts]
    assert [path.name for path in paths if "os.environ" in path.read_text()] == ["settings.py"]


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        pytest.param({"kubernetes": {"enabled": False}}, "no method is enabled", id="no way to come in"),
        pytest.param({"kubernetes": {"audiences": []}}, "audience", id="tokens for anything"),
        pytest.param({"kubernetes": {"audiences": [""]}}, "audience", id="an empty audience"),
        pytest.param({"oidc": {"enabled": True}}, "needs issuer", id="no issuer"),
        pytest.param({"oidc": {"algorithms": ["HS256"]}}, "HS256", id="a shared secret"),
        pytest.param({"oidc": {"algorithms": ["none"]}}, "none", id="no signature"),
        pytest.param(
            {"oidc": {"enabled": True, "issuer": "file:///etc", "audience": "a"}},
            "not a URL",
            id="an issuer on the disk",
        ),
        pytest.param(
            {"oidc": {"grants": [{"verbs": ["get"], "namespaces": ["*"]}]}},
            "either a subject or a group",
            id="for nobody",
        ),
        pytest.param(
            {"oidc": {"grants": [{"subject": "a", "group": "b", "verbs": ["get"], "namespaces": ["*"]}]}},
            "either a subject or a group",
            id="for two",
        ),
        pytest.param({"oidc": {"grants": [{"subject": "a", "verbs": [], "namespaces": ["*"]}]}}, "verbs", id="nothing"),
        pytest.param({"oidc": {"grants": [{"subject": "a", "verbs": ["get"]}]}}, "namespaces", id="nowhere"),
        pytest.param(
            {"oidc": {"grants": [{"subject": "a", "verbs": ["list"], "namespaces": ["*"]}]}}, "list", id="another verb"
        ),
        pytest.param({"apiKeys": {"enabled": True, "secretName": ""}}, "secretName", id="keys of no Secret"),
        pytest.param({"unsafeLetAnyoneIn": True}, "unsafeLetAnyoneIn", id="switched off by a wrong name"),
    ],
)
def test_authentication_settings_that_admit_everyone_or_no_one_are_refused(auth: object, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings.parse(json.dumps({"auth": auth}).encode())


def test_authentication_is_switched_off_by_its_loud_name_alone() -> None:
    off = {"kubernetes": {"enabled": False}, "unsafeLetAnyoneInWithoutAuthentication": True}
    assert settings.parse(json.dumps({"auth": off}).encode()).auth.unsafe_let_anyone_in_without_authentication
    assert not settings.Settings().auth.unsafe_let_anyone_in_without_authentication
    assert settings.Settings().auth.kubernetes.enabled
