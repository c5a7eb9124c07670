"""The CRD: the same fields, words and limits as the model. What CEL does is tested on a real API server."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
import yaml

from chart import helm, samples
from samply_operator import settings
from samply_operator.model import attachment, comparison, manifest, names, profile, trigger


def find_crd(objects: list[helm.Object], plural: str) -> helm.Object:
    (found,) = (o for o in helm.select(objects, "CustomResourceDefinition") if o["spec"]["names"]["plural"] == plural)
    return found


@pytest.fixture(scope="session")
def crd(default_objects: list[helm.Object]) -> helm.Object:
    return find_crd(default_objects, names.PLURAL)


@pytest.fixture(scope="session")
def schema(crd: helm.Object) -> dict[str, Any]:
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def close(node: Any) -> Any:
    """The schema as strict as the API server's pruning: a field that it doesn't know would be lost."""
    if isinstance(node, list):
        return [close(n) for n in node]
    if not isinstance(node, dict):
        return node
    closed = {key: close(value) for key, value in node.items()}
    return closed | ({"additionalProperties": False} if isinstance(node.get("properties"), dict) else {})


def test_the_names_are_those_of_the_model(crd: helm.Object) -> None:
    spec = crd["spec"]
    assert crd["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"
    assert (spec["group"], spec["versions"][0]["name"]) == (names.GROUP, names.VERSION)
    assert (spec["names"]["kind"], spec["names"]["plural"]) == (names.KIND, names.PLURAL)
    assert (spec["scope"], spec["names"]["shortNames"]) == ("Namespaced", ["sprof"])


def test_delete_all_spares_profiles(crd: helm.Object) -> None:
    assert "categories" not in crd["spec"]["names"]


def test_the_spec_is_required_and_guarded_as_a_whole(schema: dict[str, Any]) -> None:
    assert schema["required"] == ["spec"]
    [rule] = schema["x-kubernetes-validations"]
    assert rule["rule"] == "self.spec == oldSelf.spec"


def test_the_spec_has_the_fields_of_the_model(schema: dict[str, Any]) -> None:
    wanted = comparison.ComparisonSpec("Last", 5)
    full = profile.Spec("p", 1, 2, 3, "c", "x", "Auto", preflight_only=True, comparison=wanted, attachments=("Stats",))
    rendered = profile.render_spec(full)
    assert list(schema["properties"]["spec"]["properties"]) == list(rendered)
    assert len(rendered) == len(msgspec.structs.fields(profile.Spec))
    sent = msgspec.json.decode(msgspec.json.encode(rendered))
    jsonschema.validate(sent, close(schema["properties"]["spec"]))


def test_the_spec_has_the_limits_of_the_settings(schema: dict[str, Any]) -> None:
    fields = schema["properties"]["spec"]["properties"]
    assert fields["durationSeconds"]["maximum"] == settings.MAX_DURATION_SECS
    assert set(fields["mode"]["enum"]) == set(get_args(settings.Mode))
    assert set(fields["comparison"]["properties"]["baseline"]["enum"]) == set(get_args(comparison.Baseline))
    assert fields["ordinal"]["default"] == profile.Spec("p").ordinal
    kinds = get_args(attachment.Kind)
    assert (fields["attachments"]["items"]["enum"], fields["attachments"]["maxItems"]) == (list(kinds), len(kinds))
    assert fields["attachments"]["x-kubernetes-list-type"] == "set", "each once"


@pytest.mark.parametrize("spec", samples.GOOD, ids=str)
def test_the_schema_takes(spec: helm.Object, schema: dict[str, Any]) -> None:
    jsonschema.validate(spec, close(schema["properties"]["spec"]))


@pytest.mark.parametrize("spec", samples.BAD, ids=repr)
def test_the_schema_refuses(spec: helm.Object, schema: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec, close(schema["properties"]["spec"]))


@pytest.mark.parametrize("name", samples.STATUSES)
def test_the_api_server_keeps_every_field_of_a_status(name: str, schema: dict[str, Any]) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    body = close(schema["properties"]["status"])
    jsonschema.validate(samples.merge(samples.STATUSES[name]), body, format_checker=checker)


def test_the_status_has_every_field_of_the_model(schema: dict[str, Any]) -> None:
    fields = schema["properties"]["status"]["properties"]
    target = {f.encode_name for f in msgspec.structs.fields(manifest.RecordedTarget)}
    assert set(fields["target"]["properties"]) == target
    assert set(fields["failure"]["properties"]) == {f.name for f in dataclasses.fields(profile.Failure)}


def test_status_conditions_are_keyed_by_type(schema: dict[str, Any]) -> None:
    conditions = schema["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_status_is_a_subresource(crd: helm.Object) -> None:
    assert crd["spec"]["versions"][0]["subresources"] == {"status": {}}


def test_one_line_summarizes_the_profile(crd: helm.Object, schema: dict[str, Any]) -> None:
    columns = crd["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [c["name"] for c in columns if not c.get("priority")] == [
        "Pipeline", "Ordinal", "Phase", "Duration", "Samples", "Coverage", "Verdict", "Size", "Reason", "Change", "Age",
    ]  # fmt: skip
    for column in columns:
        node = schema
        for key in column["jsonPath"].strip(".").split("."):
            if key == "metadata":
                break
            node = node["properties"][key]
        else:
            assert node["type"] == column["type"], column["name"]


def test_unnamed_functions_are_counted_in_samples(schema: dict[str, Any]) -> None:
    """As the code counts it, and as the pages say."""
    quality = schema["properties"]["status"]["properties"]["profile"]["properties"]
    assert quality["unresolvedPercent"]["description"].startswith("Share of the samples")


def test_the_crd_outlives_the_release(crd: helm.Object) -> None:
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    for given in helm.select(helm.render({"crds": {"keep": False}}), "CustomResourceDefinition"):
        assert "annotations" not in given["metadata"]


def test_the_crd_can_be_left_to_others() -> None:
    assert helm.select(helm.render({"crds": {"install": False}}), "CustomResourceDefinition") == []


def test_an_old_kubernetes_is_refused() -> None:
    arguments = ("template", "x", str(helm.CHART), "--kube-version")
    assert helm.run(*arguments, "1.29.0").returncode != 0
    assert helm.run(*arguments, "1.30.0-gke.1").returncode == 0


# ---------------------------------------------------------------------------------------------------------- triggers


@pytest.fixture(scope="session")
def trigger_crd(default_objects: list[helm.Object]) -> helm.Object:
    return find_crd(default_objects, names.TRIGGER_PLURAL)


def test_the_triggers_crd_has_the_fields_of_the_model(trigger_crd: helm.Object) -> None:
    def check(node: Any, kind: Any) -> None:
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        assert set(node["properties"]) == set(fields), kind
        for name, type_ in fields.items():
            for part in (type_, *get_args(type_)):
                if isinstance(part, type) and issubclass(part, msgspec.Struct):
                    inner = node["properties"][name]
                    check(inner.get("items", inner), part)

    parts = trigger_crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    check(parts["spec"], trigger.TriggerSpec)
    check(parts["status"], trigger.TriggerStatus)
    assert set(get_args(trigger.ConcurrencyPolicy)) == set(parts["spec"]["properties"]["concurrencyPolicy"]["enum"])


def test_a_triggers_template_has_the_limits_of_a_profile(trigger_crd: helm.Object, schema: dict[str, Any]) -> None:
    parts = trigger_crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    profile_fields = schema["properties"]["spec"]["properties"]
    for name, field in parts["spec"]["properties"]["template"]["properties"].items():
        assert field == {key: value for key, value in profile_fields[name].items() if key != "description"}


def test_triggers_are_named_as_in_the_model(trigger_crd: helm.Object) -> None:
    spec = trigger_crd["spec"]
    assert (spec["names"]["kind"], spec["names"]["plural"]) == (names.TRIGGER_KIND, names.TRIGGER_PLURAL)
    assert spec["names"]["shortNames"] == ["strigger", "striggers"]
    assert spec["versions"][0]["subresources"] == {"status": {}}
    assert trigger_crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


# ------------------------------------------------------------------------------------------------------ Artifact Hub


def read_annotation(name: str) -> Any:
    chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())
    return yaml.safe_load(chart["annotations"][f"artifacthub.io/{name}"])


def test_artifact_hub_is_told_of_each_kind(default_objects: list[helm.Object]) -> None:
    rendered = helm.select(default_objects, "CustomResourceDefinition")
    assert {(each["name"], each["kind"]) for each in read_annotation("crds")} == {
        (each["metadata"]["name"], each["spec"]["names"]["kind"]) for each in rendered
    }


def test_artifact_hub_shows_an_example_of_each_kind(default_objects: list[helm.Object]) -> None:
    examples = {each["kind"]: each for each in read_annotation("crdsExamples")}
    for definition in helm.select(default_objects, "CustomResourceDefinition"):
        spec = definition["spec"]
        example = examples.pop(spec["names"]["kind"])
        assert example["apiVersion"] == f"{spec['group']}/{spec['versions'][0]['name']}"
        body = spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        jsonschema.validate(example["spec"], close(body))
    assert not examples


def test_artifact_hub_is_told_of_the_images_of_this_version(default_objects: list[helm.Object]) -> None:
    config = json.loads(helm.only(default_objects, "ConfigMap")["data"]["settings.json"])
    images = {each["image"] for each in helm.containers(default_objects).values()}
    assert {each["image"] for each in read_annotation("images")} == images | {config["ephemeral"]["image"]}
