"""The checks of an installation; one that cannot be made is reported as such, next to the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from samply_operator.doctor import examination
from samply_operator.doctor.examination import Examination
from samply_operator.errors import KubeForbidden, KubeNotFound
from samply_operator.feldera.client import FelderaClient
from samply_operator.kube import own_rights
from samply_operator.kube.client import ItemList
from samply_operator.model import names
from samply_operator.model.check import Check
from samply_operator.model.manifest import PipelineNames
from samply_operator.rules.discovery import selectors
from samply_operator.settings import Feldera, Identity, Paths, Settings, Targets
from samply_operator.store import pipeline_names
from samply_operator.store.volume import Volume
from support.fake_feldera import READER, STRANGER, FakeFeldera, make_pipeline_id, serve_two_tenants

ID = make_pipeline_id(1)
LABELS = {
    "app": f"pipeline-{ID}",
    "app.kubernetes.io/component": "pipeline",
    "feldera.com/part-of": "pipeline",
    "feldera.com/pipeline-id": f"pipeline-{ID}",
}


class Cluster:
    """What KubeClient is asked here."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {"pods": [], "statefulsets": []}
        self.namespaces: dict[str, dict[str, str]] = {"tools": {}}
        self.denied: set[tuple[str, str]] = set()
        """(verb, resource)"""
        self.error: Exception | None = None

    def add_set(self, name: str, labels: Mapping[str, str], **annotations: str) -> None:
        about = {"namespace": "tools", "name": name, "uid": name, "labels": dict(labels), "annotations": annotations}
        template = {"metadata": {"labels": dict(labels)}}
        self.objects["statefulsets"].append({"metadata": about, "spec": {"template": template}})

    def add_pod(self, name: str, labels: Mapping[str, str], waiting: str = "") -> None:
        helper = {"name": "samply-operator-1", "state": {"waiting": {"reason": waiting}}}
        about = {"namespace": "tools", "name": name, "uid": name, "labels": dict(labels)}
        status = {"ephemeralContainerStatuses": [helper] if waiting else []}
        self.objects["pods"].append({"metadata": about, "spec": {"containers": []}, "status": status})

    async def list_items(self, path: str, *, label_selector: str = "") -> ItemList:
        if self.error is not None:
            raise self.error
        wanted = selectors.parse_selector(label_selector)
        found = [r for r in self.objects[path.rpartition("/")[2]] if selectors.matches(wanted, r["metadata"]["labels"])]
        return ItemList(tuple(found), "1")

    async def get(self, path: str) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        if name not in self.namespaces:
            raise KubeNotFound(f"GET {path}: 404")
        return {"metadata": {"name": name, "labels": self.namespaces[name]}}

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        assert path == own_rights.REVIEWS
        asked = body["spec"]["resourceAttributes"]
        return {"status": {"allowed": (asked["verb"], asked["resource"]) not in self.denied}}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    paranoid = tmp_path / "paranoid"
    paranoid.write_text("1\n")
    monkeypatch.setattr(examination, "PARANOID", paranoid)
    Volume(tmp_path / "data").prepare()
    (tmp_path / "keys").mkdir()
    return Settings(paths=Paths(data=str(tmp_path / "data"), feldera_keys=str(tmp_path / "keys")))


def put_keys(settings: Settings, **keys: str) -> None:
    """As a Secret is mounted: files that are links, through a folder that is no key."""
    folder = Path(settings.paths.feldera_keys)
    (folder / "..data").mkdir(exist_ok=True)
    for name, key in keys.items():
        (folder / "..data" / name).write_text(key + "\n")
        (folder / name).symlink_to(f"..data/{name}")


async def examine(cluster: Cluster, settings: Settings, feldera: FelderaClient | None = None) -> dict[str, Check]:
    """By area; each is there once."""
    identity = Identity("tools", "so-1", "so")
    found = await Examination(cluster, settings, identity, feldera).run()  # type: ignore[arg-type]
    assert len({check.area for check in found}) == len(found)
    return {check.area: check for check in found}


def change(settings: Settings, **changes: Any) -> Settings:
    return Settings(**{name: changes.get(name, getattr(settings, name)) for name in settings.__struct_fields__})


@pytest.fixture
async def feldera() -> AsyncIterator[FakeFeldera]:
    async with serve_two_tenants() as feldera:
        yield feldera


async def test_a_healthy_installation(cluster: Cluster, settings: Settings, feldera: FakeFeldera) -> None:
    """Pipelines as Feldera makes them are found by the defaults, and named."""
    cluster.add_set(f"pipeline-{ID}", LABELS)
    cluster.add_pod(f"pipeline-{ID}-0", LABELS)
    put_keys(settings, acme=READER)
    asked = change(settings, feldera=Feldera(url=feldera.url, secret_name="keys"))
    async with FelderaClient(feldera.url) as client:
        found = await examine(cluster, asked, client)
    assert {check.status for check in found.values()} == {"Passed"}, found
    assert set(found) == {
        "Rights", "Selector", "Names", "Kernel", "PodSecurity", "HelperImage", "Volume", "Feldera",
    }  # fmt: skip
    assert "1 pipeline found" in found["Selector"].message


async def test_missing_rights_are_named(cluster: Cluster, settings: Settings) -> None:
    cluster.denied = {("patch", "pods"), ("create", "tokenreviews")}
    check = (await examine(cluster, settings))["Rights"]
    assert check.status == "Failed"
    assert "may not patch pods" in check.message
    assert "may not create tokenreviews" in check.message


async def test_an_annotated_set_that_is_not_watched(cluster: Cluster, settings: Settings) -> None:
    """With the selector that would match it."""
    cluster.add_set("db", {"app.kubernetes.io/name": "db", "x": "y"}, **{names.TRIGGER: "30s"})
    check = (await examine(cluster, settings))["Selector"]
    assert check.status == "Failed"
    assert "StatefulSet tools/db" in check.message
    assert '"app.kubernetes.io/name=db"' in check.remedy


async def test_pipelines_of_feldera_that_the_selector_leaves_out(cluster: Cluster, settings: Settings) -> None:
    cluster.add_set(f"pipeline-{ID}", LABELS)
    other = change(settings, targets=Targets(pod_selector="a=b"))
    check = (await examine(cluster, other))["Selector"]
    assert (check.status, "may be pipelines" in check.message) == ("Failed", True)
    assert '["a=b", "feldera.com/part-of=pipeline"]' in check.remedy


async def test_one_name_in_two_tenants(cluster: Cluster, settings: Settings, feldera: FakeFeldera) -> None:
    """Neither is called by it, and that is said."""
    cluster.add_set(f"pipeline-{ID}", LABELS)
    put_keys(settings, acme=READER, other=STRANGER)
    asked = change(settings, feldera=Feldera(url=feldera.url, secret_name="keys"))
    async with FelderaClient(feldera.url) as client:
        found = await examine(cluster, asked, client)
    assert (found["Names"].status, ID in found["Names"].message) == ("Warning", True)
    assert found["Feldera"].status == "Passed"


@pytest.mark.parametrize(
    ("keys", "said"),
    [({}, "has no entry"), ({"acme": "two words"}, "has no entry"), ({"acme": "apikey:revoked"}, "key acme")],
    ids=["no Secret", "no key", "a revoked key"],
)
async def test_felderas_key(
    cluster: Cluster, settings: Settings, feldera: FakeFeldera, keys: dict[str, str], said: str
) -> None:
    put_keys(settings, **keys)
    asked = change(settings, feldera=Feldera(url=feldera.url, secret_name="keys"))
    async with FelderaClient(feldera.url) as client:
        check = (await examine(cluster, asked, client))["Feldera"]
    assert (check.status, said in check.message) == ("Failed", True), check
    assert check.remedy
    assert "revoked" not in check.message


async def test_an_absent_feldera_leaves_the_other_checks_alone(
    cluster: Cluster, settings: Settings, feldera: FakeFeldera
) -> None:
    """Pipelines keep the names that the operator has remembered."""
    cluster.add_set(f"pipeline-{ID}", LABELS)
    pipeline_names.write(Path(settings.paths.data), PipelineNames({ID: "orders"}))
    put_keys(settings, acme=READER)
    await feldera.stop()
    asked = change(settings, feldera=Feldera(url=feldera.url, secret_name="keys"))
    async with FelderaClient(feldera.url) as client:
        found = await examine(cluster, asked, client)
    assert found["Feldera"].status == "Failed"
    assert (found["Selector"].status, found["Names"].status) == ("Passed", "Passed")


async def test_pod_security_and_a_namespace_that_is_not_there(cluster: Cluster, settings: Settings) -> None:
    cluster.namespaces["tools"] = {"pod-security.kubernetes.io/enforce": "baseline"}
    assert (await examine(cluster, settings))["PodSecurity"].status == "Failed"
    elsewhere = change(settings, targets=Targets(namespaces=("gone",)))
    check = (await examine(cluster, elsewhere))["PodSecurity"]
    assert (check.status, check.namespace, "no namespace gone" in check.message) == ("Failed", "gone", True)


async def test_a_pod_that_waits_for_the_helpers_image(cluster: Cluster, settings: Settings) -> None:
    cluster.add_pod(f"pipeline-{ID}-0", LABELS, waiting="ImagePullBackOff")
    check = (await examine(cluster, settings))["HelperImage"]
    assert (check.status, f"tools/pipeline-{ID}-0" in check.message) == ("Failed", True)


async def test_a_kernel_that_refuses(cluster: Cluster, settings: Settings) -> None:
    """A warning: above 2 some kernels let samply record all the same."""
    examination.PARANOID.write_text("3\n")
    assert (await examine(cluster, settings))["Kernel"].status == "Warning"
    examination.PARANOID.unlink()
    assert (await examine(cluster, settings))["Kernel"].status == "Unknown"


async def test_a_volume_that_is_gone(cluster: Cluster, settings: Settings, tmp_path: Path) -> None:
    lost = change(settings, paths=Paths(data=str(tmp_path / "nothing")))
    assert (await examine(cluster, lost))["Volume"].status == "Failed"


async def test_a_check_that_cannot_be_made_is_unknown(cluster: Cluster, settings: Settings) -> None:
    cluster.error = KubeForbidden("LIST pods: 403", remedy="Grant it.")
    found = await examine(cluster, settings)
    assert (found["Selector"].status, found["Selector"].remedy) == ("Unknown", "Grant it.")
    assert found["Rights"].status == "Passed"
