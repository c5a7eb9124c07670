"""The index: last success, last attempt, history; only new entries are read again."""

from __future__ import annotations

import pytest

from samply_operator.store.index import Index, build_catalog
from samply_operator.store.volume import Volume

from .conftest import make_id, make_manifest, put

WHERE = ("feldera", "orders", 0)


def test_a_failure_never_hides_the_last_good_profile() -> None:
    good, failed = make_manifest(1), make_manifest(2, None)
    catalog = build_catalog([failed, good])
    assert catalog.find_last_good(*WHERE) == good
    assert catalog.find_last_attempt(*WHERE) == failed


def test_newest_is_by_the_end_not_by_the_order_of_reading() -> None:
    catalog = build_catalog([make_manifest(n) for n in (5, 9, 2)])
    assert [m.name for m in catalog.list_history("feldera", "orders")] == ["p-9", "p-5", "p-2"]


def test_ordinals_and_namespaces_are_kept_apart() -> None:
    catalog = build_catalog(
        [make_manifest(1), make_manifest(2, ordinal=3), make_manifest(3, namespace="other"), make_manifest(4, None)]
    )
    assert catalog.list_ordinals("feldera", "orders") == (0, 3)
    assert catalog.find_namespaces("orders") == {"feldera", "other"}
    assert catalog.find_last_good("feldera", "orders", 3) == catalog.get(make_id(2))
    assert catalog.find_last_good("other", "orders", 3) is None
    assert catalog.find_namespaces("nothing") == frozenset()


def test_refreshing_reads_the_unseen_and_drops_the_gone(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index()
    one, two = put(volume, 1), put(volume, 2)
    index.refresh(volume)
    assert index.catalog.find_last_good(*WHERE) == two

    read: list[str] = []
    genuine = Volume.read_manifest
    monkeypatch.setattr(Volume, "read_manifest", lambda self, i: read.append(i) or genuine(self, i))
    volume.remove(two.id)
    three = put(volume, 3)
    read.clear()
    index.refresh(volume)
    assert read == [three.id]
    assert set(index.catalog.by_id) == {one.id, three.id}


def test_a_view_taken_earlier_does_not_change(volume: Volume) -> None:
    index = Index()
    put(volume, 1)
    index.refresh(volume)
    earlier = index.catalog
    put(volume, 2)
    index.refresh(volume)
    assert len(earlier.by_id) == 1
    assert len(index.catalog.by_id) == 2


def test_damage_is_reported_once_and_forgotten_when_repaired(volume: Volume) -> None:
    index = Index()
    manifest = put(volume, 1)
    path = volume.root / "profiles" / manifest.id / "manifest.json"
    whole = path.read_bytes()
    path.write_bytes(b"{")
    assert len(index.refresh(volume)) == 1
    assert index.refresh(volume) == ()
    path.write_bytes(whole)
    assert index.refresh(volume) == ()
    assert index.catalog.get(manifest.id) == manifest


def test_profiles_follow_a_renamed_pipeline(volume: Volume) -> None:
    """Those of its id, again and again, and those that come later; the others stay."""
    index = Index()
    for number, pipeline_id in ((1, "id-1"), (2, "")):
        put(volume, number, None, pipeline_id=pipeline_id)
    for name in ("billing", "Billing_v2"):
        index.rename({"id-1": name})
        index.refresh(volume)
        assert {m.id: m.pipeline for m in index.catalog.by_id.values()} == {make_id(1): name, make_id(2): "orders"}
        assert index.catalog.find_namespaces(name) == {"feldera"}
        assert index.catalog.find_last_attempt("feldera", name, 0) is not None
        assert index.catalog.find_last_attempt(*WHERE) is not None
