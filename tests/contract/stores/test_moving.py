"""`store copy` in both directions: complete, without duplicates, verified; and resumed after an interruption."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from contract.stores.bucket_place import BucketPlace
from contract.stores.store_contract import make_id, make_manifest, put
from samply_operator.cli import main as cli
from samply_operator.errors import StoreError, StoreUnavailable
from samply_operator.model.attachment import NAMES
from samply_operator.model.manifest import Manifest
from samply_operator.store import layout, moving
from samply_operator.store.bucket import names, reader, uploads
from samply_operator.store.bucket.catalog import Catalog
from samply_operator.store.bucket.objects import Found, Objects
from samply_operator.store.volume import Volume
from support.buckets import Server

EXTRAS = {
    "raw.json.gz": ("raw", b"raw bytes"),
    NAMES["Stats"]: ("stats", b"attached"),
    "later-version.bin": ("later", b"of a later version"),
}
"""Additional files by their name: the one in tmp/ before, and what is in it."""


@pytest.fixture
def place(moto: Server, tmp_path: Path) -> Iterator[BucketPlace]:
    place = BucketPlace(moto, tmp_path)
    yield place
    place.close()


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "volume")
    volume.prepare()
    for number in range(4):
        put(volume, number, os.urandom(1000 + number))
    put(volume, 4, None)
    manifest = make_manifest(5, b"with more")
    for name, data in (("profile", b"with more"), *EXTRAS.values()):
        volume.tmp_path(manifest.id, name).write_bytes(data)
    extras = {name: volume.tmp_path(manifest.id, of) for name, (of, _) in EXTRAS.items()}
    volume.publish(manifest, volume.tmp_path(manifest.id, "profile"), extras=extras)
    volume.side_files.pin(make_id(3))
    return volume


def ignore(_: moving.Progress) -> None:
    pass


def test_there_and_back_nothing_is_lost(place: BucketPlace, volume: Volume, tmp_path: Path) -> None:
    before = {manifest.id: manifest for manifest in volume.read_manifests().items}
    progress = moving.copy(moving.Upload(volume, place.objects), ignore)
    assert (progress.copied, progress.present, progress.failed) == (6, 0, {})
    assert volume.list_ids() == before.keys()
    store = place.reopen()
    assert store.list_ids() == before.keys()
    assert store.side_files.list_pins() == {make_id(3)}

    target = Volume(tmp_path / "back")
    target.prepare()
    progress = moving.copy(moving.Download(place.objects, target), ignore)
    assert (progress.copied, progress.failed) == (6, {})
    assert {manifest.id: manifest for manifest in target.read_manifests().items} == before
    for manifest in before.values():
        if manifest.file:
            with target.open_profile(manifest.id) as new, volume.open_profile(manifest.id) as old:
                assert new.read() == old.read()
    for name, (_, data) in EXTRAS.items():
        with target.open_extra(make_id(5), name) as file:
            assert file.read() == data
    assert target.side_files.list_pins() == {make_id(3)}
    assert moving.copy(moving.Download(place.objects, target), ignore).present == 6


def test_an_interrupted_copy_goes_on(place: BucketPlace, volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    send, sent = uploads.Uploads._send_file, []

    def fail_at_third(self: uploads.Uploads, path: Path, *more: object) -> str:
        sent.append(path)
        if len(sent) == 3:
            raise StoreUnavailable("the network is gone.")
        return send(self, path, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(uploads.Uploads, "_send_file", fail_at_third)
    progress = moving.copy(moving.Upload(volume, place.objects), ignore)
    assert (progress.copied, len(progress.failed)) == (5, 1)
    progress = moving.copy(moving.Upload(volume, place.objects), ignore)
    assert (progress.copied, progress.present, progress.failed) == (1, 5, {})


def test_a_running_operator_knows_the_pins_as_soon_as_the_profiles(
    place: BucketPlace, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, store = uploads.Uploads.send, place.store
    seen = []

    def send_and_look(self: uploads.Uploads, manifest: Manifest) -> Manifest:
        sent = send(self, manifest)
        if manifest.id == make_id(3):
            assert make_id(3) in store.list_ids()
            seen.append(store.side_files.list_pins())
        return sent

    monkeypatch.setattr(uploads.Uploads, "send", send_and_look)
    assert moving.copy(moving.Upload(volume, place.objects), ignore).failed == {}
    assert seen == [{make_id(3)}]
    store.side_files.unpin(make_id(3))
    store.list_ids()
    assert store.side_files.list_pins() == frozenset()
    volume.side_files.pin(make_id(2))
    assert moving.copy(moving.Upload(volume, place.objects), ignore).present == 6
    store.list_ids()
    assert store.side_files.list_pins() == {make_id(2), make_id(3)}
    assert place.reopen().side_files.list_pins() == {make_id(2), make_id(3)}


def test_a_pin_that_a_running_operator_drops_before_the_profile_is_there_is_copied_again(
    place: BucketPlace, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention drops pins of profiles that are not stored."""
    send, store = uploads.Uploads.send, place.store

    def drop_and_send(self: uploads.Uploads, manifest: Manifest) -> Manifest:
        store.list_ids()
        store.side_files.unpin(manifest.id)
        return send(self, manifest)

    monkeypatch.setattr(uploads.Uploads, "send", drop_and_send)
    moving.copy(moving.Upload(volume, place.objects), ignore)
    store.list_ids()
    assert store.side_files.list_pins() == {make_id(3)}


def test_files_deleted_in_the_bucket_are_copied_again(place: BucketPlace, volume: Volume) -> None:
    moving.copy(moving.Upload(volume, place.objects), ignore)
    lost, extra = volume.read_manifest(make_id(2)), place.objects.list(names.build_folder(make_id(5)))
    assert lost is not None
    assert lost.file is not None
    raw = next(found.path for found in extra if "raw" in found.path)
    place.objects.delete([names.build_file(lost.id, lost.file.sha256), raw])
    progress = moving.copy(moving.Upload(volume, place.objects), ignore)
    assert (progress.copied, progress.present, progress.failed) == (2, 4, {})
    with volume.open_profile(lost.id) as file:
        assert place.read_file(lost) == file.read()
    assert place.objects.find(raw) is not None


def test_what_the_target_removed_is_not_copied_again(place: BucketPlace, volume: Volume) -> None:
    moving.copy(moving.Upload(volume, place.objects), ignore)
    assert place.store.list_ids() == volume.list_ids()
    assert place.store.remove(make_id(1))
    progress = moving.copy(moving.Upload(volume, place.objects), ignore)
    assert (progress.copied, progress.present, progress.gone, progress.failed) == (0, 5, 1, {})
    assert list(place.objects.list(names.build_folder(make_id(1)))) == []


def test_two_copies_to_one_volume_do_not_disturb_each_other(
    place: BucketPlace, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is interrupted between download and publication of the first one."""
    moving.copy(moving.Upload(volume, place.objects), ignore)
    target = Volume(tmp_path / "back")
    target.prepare()
    first, second = moving.Download(place.objects, target), moving.Download(place.objects, target)
    publish, read_pieces = Volume.publish, Objects.read_pieces

    def break_off(self: Objects, path: str) -> Iterator[memoryview]:
        yield next(read_pieces(self, path))[:10]
        raise StoreUnavailable("the network is gone.")

    def publish_meanwhile(self: Volume, manifest: Manifest, *more: object, **options: object) -> Manifest:
        if manifest.file is not None:
            monkeypatch.setattr(Objects, "read_pieces", break_off)
            with suppress(StoreUnavailable):
                second.copy(manifest)
            monkeypatch.setattr(Objects, "read_pieces", read_pieces)
        return publish(self, manifest, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Volume, "publish", publish_meanwhile)
    progress = moving.copy(first, ignore)
    assert (progress.copied, progress.failed) == (6, {})
    assert list((target.root / "tmp").iterdir()) == []
    for profile_id in volume.list_ids() - {make_id(4)}:
        with target.open_profile(profile_id) as new, volume.open_profile(profile_id) as old:
            assert new.read() == old.read()


def test_damaged_profiles_are_reported_and_the_rest_is_moved(
    place: BucketPlace, volume: Volume, tmp_path: Path
) -> None:
    moving.copy(moving.Upload(volume, place.objects), ignore)
    manifest = volume.read_manifest(make_id(2))
    assert manifest is not None
    assert manifest.file is not None
    place.objects.write(names.build_file(manifest.id, manifest.file.sha256), os.urandom(1002))
    target = Volume(tmp_path / "back")
    target.prepare()
    progress = moving.copy(moving.Download(place.objects, target), ignore)
    assert list(progress.failed) == [make_id(2)]
    assert "does not match its manifest" in progress.failed[make_id(2)]
    assert target.list_ids() == volume.list_ids() - {make_id(2)}
    assert list((target.root / "tmp").iterdir()) == []


def test_the_command_line(moto: Server, volume: Volume, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = f"{moto.url}/moved/c-{os.urandom(4).hex()}"
    more = ["--endpoint", moto.endpoint, "--credentials", str(moto.folder / "credentials")]
    assert cli.main(["store", "copy", "--from", str(volume.root), "--to", place, *more]) == 0
    assert "6 of 6: 6 copied" in capsys.readouterr().err
    assert cli.main(["store", "copy", "--from", place, "--to", str(tmp_path / "back"), *more]) == 0
    assert cli.main(["store", "copy", "--from", str(tmp_path / "none"), "--to", place, *more]) == 2
    assert "not the volume of an operator" in capsys.readouterr().err
    assert cli.main(["store", "copy", "--from", "/a", "--to", "/b"]) == 2
    assert cli.main(["store", "copy", "--from", "s3://x", "--to", "/b"]) == 2


def test_a_copied_profile_is_listed_only_with_its_pin(
    place: BucketPlace, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention would remove it. The copy happens just before the bucket's list, or pins cannot be listed."""
    store, way, listing, acts = place.bucket_store, moving.Upload(volume, place.objects), Catalog.list, [moving.copy]

    def copy_first(self: Catalog) -> frozenset[str]:
        if acts:
            acts.pop()(way, ignore)
        return listing(self)

    monkeypatch.setattr(reader, "LIST_SECS", 60.0)
    monkeypatch.setattr(Catalog, "list", copy_first)
    assert make_id(3) in store.list_ids()
    assert store.side_files.list_pins() == {make_id(3)}

    own, late = put(store, 7), put(volume, 6)
    volume.side_files.pin(late.id)
    moving.copy(way, ignore)
    list_objects = place.objects.list

    def refuse_pins(prefix: str) -> Iterator[Found]:
        if prefix == layout.PINS:
            raise StoreError("the list is refused.")
        return list_objects(prefix)

    with monkeypatch.context() as patched:
        patched.setattr(place.objects, "list", refuse_pins)
        assert store.list_ids() == {*(make_id(number) for number in range(6)), own.id}
    assert late.id in store.list_ids()
    assert store.side_files.list_pins() == {make_id(3), late.id}
