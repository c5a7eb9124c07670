"""Values: the same tree as the settings, a closed schema, typos and wrong types refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml

from chart import helm
from samply_operator import settings

# The chart's mounts fix the paths; and a process without rights listens on no port below 1024.
NOT_IN_VALUES = {"paths"}
STRICTER = {("api", "port"): {"minimum": 1024}, ("api", "metricsPort"): {"minimum": 1024}}

VALUES = yaml.safe_load((helm.CHART / "values.yaml").read_text())
SCHEMA = json.loads((helm.CHART / "values.schema.json").read_text())


def settings_tree() -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(msgspec.json.encode(settings.Settings()))
    tree["ephemeral"]["image"] = ""  # the chart puts it together
    return {key: value for key, value in tree.items() if key not in NOT_IN_VALUES}


def test_config_has_the_keys_of_the_settings_in_their_order_with_their_defaults() -> None:
    assert json.dumps(VALUES["config"]) == json.dumps(settings_tree()).replace(".0,", ",").replace(".0}", "}")


def resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A node of msgspec's schema without its references and defaults."""
    if "$ref" in node:
        node = definitions[node["$ref"].rpartition("/")[2]]
    return {key: value for key, value in node.items() if key not in {"default", "description", "title"}}


def walk_settings(node: dict[str, Any], definitions: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[Any]:
    node = resolve(node, definitions)
    for key, child in node.get("properties", {}).items():
        yield from walk_settings(child, definitions, (*path, key))
    if "properties" not in node:
        yield path, node


def limits_of(node: dict[str, Any]) -> dict[str, Any]:
    kept = {k: node[k] for k in ("type", "minimum", "maximum", "exclusiveMinimum") if k in node}
    return kept | ({"enum": sorted(node["enum"])} if "enum" in node else {})


def walk_leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(tree, dict) or not tree:
        yield path
        return
    for key, child in tree.items():
        yield from walk_leaves(child, (*path, key))


def test_the_schema_limits_config_as_the_settings_do() -> None:
    [schema], definitions = msgspec.json.schema_components([settings.Settings])
    checked = set()
    for path, node in walk_settings(schema, definitions):
        if path[0] in NOT_IN_VALUES:
            continue
        found = SCHEMA["properties"]["config"]
        for key in path:
            found = found["properties"][key]
        # A list of choices is a list of strings, in msgspec's words too.
        expected = limits_of(node) | STRICTER.get(path, {})
        assert limits_of(found) == expected | ({"type": "string"} if "enum" in expected else {}), path
        checked.add(path)
    assert checked == set(walk_leaves(settings_tree()))


def test_the_settings_file_is_what_the_program_reads(default_objects: list[helm.Object]) -> None:
    raw = helm.only(default_objects, "ConfigMap")["data"]["settings.json"]
    assert settings.parse(raw.encode()) == settings.Settings()


def test_the_operator_has_room_for_the_process_that_reads_profiles() -> None:
    assert VALUES["operator"]["resources"]["limits"]["memory"] == "1Gi"
    assert VALUES["config"]["recording"]["finishMemoryBytes"] + 2**27 < 2**30


def test_every_value_reaches_the_settings_file() -> None:
    changed = {
        "targets": {"namespaces": ["a", "b"], "podSelector": "x in (y, z)", "namePattern": "^(?P<pipeline>a<b>&c)$"},
        "recording": {"durationSecs": 3600, "attachDeadlineSecs": 0.5, "minFreeBytes": 2**40},
        "logLevel": "DEBUG",
    }
    raw = helm.only(helm.render({"config": changed}), "ConfigMap")["data"]["settings.json"]
    read = settings.parse(raw.encode())
    assert read.targets.namespaces == ("a", "b")
    assert read.targets.name_pattern == "^(?P<pipeline>a<b>&c)$"
    assert (read.recording.attach_deadline_secs, read.recording.min_free_bytes) == (0.5, 2**40)
    assert read.log_level == "DEBUG"


def walk_schema(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        yield path, node
        for key, child in node.items():
            yield from walk_schema(child, f"{path}/{key}")
    elif isinstance(node, list):
        for child in node:
            yield from walk_schema(child, path)


OPEN = re.compile(r"/properties/(global|affinity/properties/\w+|extraVolumes/items)$")
"""Helm's own, and what only Kubernetes knows."""
PARENTS = {"enabled"}
"""What a parent chart's condition adds."""


def test_the_schema_is_closed_everywhere() -> None:
    nodes = [(path, n) for path, n in walk_schema(SCHEMA) if n.get("type") == "object" and not OPEN.search(path)]
    assert len(nodes) > 15
    for path, node in nodes:
        assert node.get("additionalProperties") in (False, {"type": "string"}, {"type": ["string", "null"]}), path


def walk_values(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Values without a schema, and the other way round."""
    if "additionalProperties" not in schema or schema["additionalProperties"] is not False:
        return
    known = set(schema["properties"]) - (set() if path else PARENTS)
    is_free = "required" not in schema
    yield from (f"{path}.{key}" for key in (set(values) - known if is_free else set(values) ^ known))
    for key in set(values) & known:
        if isinstance(values[key], dict):
            yield from walk_values(values[key], schema["properties"][key], f"{path}.{key}")


def test_every_value_has_a_schema_and_every_schema_a_value() -> None:
    assert list(walk_values(VALUES, SCHEMA)) == []


def test_every_value_has_a_comment() -> None:
    """A comment above the key, above its neighbours of one meaning, or above the group it opens."""
    lines = (helm.CHART / "values.yaml").read_text().splitlines()
    # What Kubernetes' own reference says, below a key that has one.
    silent = {"requests", "limits", "cpu", "memory", "runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "drop"}
    silent |= {"fsGroupChangePolicy", "seccompProfile", "type", "allowPrivilegeEscalation", "readOnlyRootFilesystem"}
    silent |= {"capabilities"}
    for before, line in zip(["", *lines], lines, strict=False):
        key = re.match(r" *(\w+):", line)
        if key and key[1] not in silent:
            assert before.lstrip().startswith("#"), line


def test_the_command_that_builds_the_images_is_one() -> None:
    """Both of them, by a script that knows these names: a Dockerfile alone fails without the other's image."""
    comment = (helm.CHART / "values.yaml").read_text().partition("  repository:")[0].splitlines()[-1]
    command = re.search(r"`(hack/images [\w ]+)`", comment)
    assert command, comment
    script, *images = command[1].split()
    help_text = subprocess.run([helm.REPOSITORY / script, "--help"], capture_output=True, text=True, check=True).stdout
    assert set(images) == {"samply", "operator"}
    assert set(images) <= set(re.findall(r"\w+", help_text.partition("any of:")[2]))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"imagee": {}}, "imagee", id="unknown key at the top"),
        pytest.param({"config": {"recording": {"duration": 30}}}, "duration", id="unknown key below config"),
        pytest.param({"config": {"paths": {"data": "/x"}}}, "paths", id="paths are the chart's"),
        pytest.param({"operator": {"resources": {"limit": {}}}}, "limit", id="unknown key in resources"),
        pytest.param({"affinity": {"nodeaffinity": {}}}, "nodeaffinity", id="unknown key in affinity"),
        pytest.param({"tolerations": [{"effects": "NoSchedule"}]}, "effects", id="unknown key in a toleration"),
        pytest.param({"config": {"recording": {"durationSecs": "30"}}}, "durationSecs", id="text for a number"),
        pytest.param({"config": {"recording": {"durationSecs": 0}}}, "durationSecs", id="too short"),
        pytest.param({"config": {"recording": {"durationSecs": 3601}}}, "durationSecs", id="too long"),
        pytest.param({"config": {"recording": {"durationSecs": 1.5}}}, "durationSecs", id="a fraction"),
        pytest.param({"config": {"recording": {"rateHz": 10001}}}, "rateHz", id="too fast"),
        pytest.param({"config": {"recording": {"mode": "auto"}}}, "mode", id="unknown mode"),
        pytest.param({"config": {"recording": {"enabled": "false"}}}, "enabled", id="text for a boolean"),
        pytest.param({"config": {"recording": {"attachDeadlineSecs": 0}}}, "attachDeadlineSecs", id="no time"),
        pytest.param({"config": {"targets": {"namespaces": "a"}}}, "namespaces", id="text for a list"),
        pytest.param({"config": {"targets": {"namespaces": ["A"]}}}, "namespaces", id="not a namespace"),
        pytest.param({"config": {"targets": {"namespaces": ["a", "a"]}}}, "namespaces", id="a namespace twice"),
        pytest.param({"config": {"api": {"port": 80}}}, "port", id="a port for root"),
        pytest.param({"config": {"api": {"port": None}}}, "port", id="null removes a default"),
        pytest.param(
            {"config": {"auth": {"kubernetes": {"enabled": False}}}}, "no method is enabled", id="no way to come in"
        ),
        pytest.param({"config": {"auth": {"kubernetes": {"audiences": []}}}}, "audience", id="tokens for anything"),
        pytest.param({"config": {"auth": {"oidc": {"enabled": True}}}}, "give issuer", id="oidc without an issuer"),
        pytest.param({"config": {"auth": {"oidc": {"algorithms": ["HS256"]}}}}, "algorithms", id="a shared secret"),
        pytest.param(
            {"config": {"auth": {"oidc": {"grants": [{"verbs": ["get"], "namespaces": ["*"]}]}}}},
            "grants",
            id="a grant for nobody",
        ),
        pytest.param({"config": {"auth": {"oidc": {"issuer": "ftp://x"}}}}, "issuer", id="an issuer that is no URL"),
        pytest.param(
            {"config": {"auth": {"apiKeys": {"enabled": True, "secretName": ""}}}}, "secretName", id="keys of no Secret"
        ),
        pytest.param(
            {"config": {"prometheus": {"url": "http://user:word@prometheus"}}}, "url", id="a password in an address"
        ),
        pytest.param({"config": {"auth": {"unsafe": True}}}, "unsafe", id="off, by a wrong name"),
        pytest.param({"config": {"logLevel": "TRACE"}}, "logLevel", id="unknown level"),
        pytest.param({"image": {"digest": "abc"}}, "digest", id="not a digest"),
        pytest.param({"image": {"tag": 1}}, "tag", id="a number for a tag"),
        pytest.param({"helperImage": {"digest": "abc"}}, "digest", id="not a digest of the helper's"),
        pytest.param({"helperImage": {"rewrittenAs": ["a b"]}}, "rewrittenAs", id="not an image"),
        pytest.param({"global": {"imageRegistry": "https://r"}}, "imageRegistry", id="a URL for a registry"),
        pytest.param({"service": {"type": "ExternalName"}}, "type", id="a Service that leads elsewhere"),
        pytest.param({"service": {"ipFamilies": ["IPv5"]}}, "ipFamilies", id="unknown family"),
        pytest.param({"persistence": {"accessModes": []}}, "accessModes", id="no access mode"),
        pytest.param({"podSecurityContext": {"runAsUsr": 1}}, "runAsUsr", id="typo in a security context"),
        pytest.param({"securityContext": {"capabilities": {"adds": []}}}, "adds", id="typo below it"),
        pytest.param({"extraEnv": {"A": "b"}}, "extraEnv", id="a map for a list"),
        pytest.param({"extraEnv": [{"name": "A", "values": "b"}]}, "values", id="typo in a variable"),
        pytest.param({"extraVolumes": [{"name": "a"}]}, "extraVolumes", id="a volume of nothing"),
        pytest.param({"extraVolumeMounts": [{"name": "a", "mountPath": "a"}]}, "mountPath", id="a relative path"),
        pytest.param({"topologySpreadConstraints": [{"maxSkew": 1}]}, "topologyKey", id="half a constraint"),
        pytest.param(
            {"metrics": {"podMonitor": {"relabelings": [{"regexp": "x"}]}}}, "regexp", id="typo in a relabeling"
        ),
        pytest.param({"ingress": {"host": "a"}}, "host", id="hosts are a list"),
        pytest.param({"extraCaBundle": {"configMapName": "a", "secretName": "b"}}, "not both", id="two bundles"),
        pytest.param({"persistence": {"size": "ten"}}, "size", id="not a size"),
        pytest.param({"service": {"port": 0}}, "port", id="no port"),
        pytest.param({"crds": {"keep": "no"}}, "keep", id="text for keep"),
        pytest.param({"extraLabels": {"a": 1}}, "extraLabels", id="a number for a label"),
        pytest.param({"fullnameOverride": "A_b"}, "fullnameOverride", id="not a name"),
        pytest.param(
            {"config": {"targets": {"clusterWide": True, "namespaces": ["a"]}}}, "not both", id="both kinds of targets"
        ),
        pytest.param(
            {"rbac": {"create": False}, "config": {"targets": {"clusterWide": True, "namespaces": ["a"]}}},
            "not both",
            id="both kinds of targets, own rights",
        ),
    ],
)
def test_helm_refuses(values: helm.Object, said: str) -> None:
    assert said in helm.render_error(values)


def test_the_charts_page_is_up_to_date() -> None:
    script = helm.REPOSITORY / "hack" / "chart-readme"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_global_values_are_allowed() -> None:
    assert helm.render({"global": {"anything": 1}}) == helm.render()


def test_helm_lint_has_nothing_to_say() -> None:
    done = helm.run("lint", "--strict", str(helm.CHART))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_the_table_against_other_charts_names_keys_that_exist() -> None:
    rows = (helm.REPOSITORY / "docs" / "development" / "chart.md").read_text().partition("## ")[0].splitlines()
    keys = [key for row in rows if row.startswith("| ") for key in re.findall(r"`([\w.]+)`", row.split("|")[2])]
    assert len(keys) > 50
    for key in keys:
        found = VALUES
        for part in key.split("."):
            assert part in found, key
            found = found[part]
    groups = {key.partition(".")[0] for key in keys}
    assert set(VALUES) - groups == {"config"}
