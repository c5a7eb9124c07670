"""`store copy` in both directions: complete, without duplicates, verified; and resumed after an interruption."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.stores.bucket_place import BucketPlace
from contract.stores.store_contract import make_id, make_manifest, put
from samply_operator.cli import main as cli
from samply_operator.errors import StoreUnavailable
from samply_operator.store import moving
from samply_operator.store.bucket import names, uploads
from samply_operator.store.volume import Volume
from support.buckets import Server


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
    for name, data in (("profile", b"with more"), ("raw", b"raw bytes")):
        volume.tmp_path(manifest.id, name).write_bytes(data)
    extras = {"raw.json.gz": volume.tmp_path(manifest.id, "raw")}
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
    with target.open_extra(make_id(5), "raw.json.gz") as file:
        assert file.read() == b"raw bytes"
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
    assert cli.main(["store", "copy", "--from", str(tmp_path / "none"), "--to", place, *more]) == 1
    assert "not the volume of an operator" in capsys.readouterr().err
    assert cli.main(["store", "copy", "--from", "/a", "--to", "/b"]) == 1
    assert cli.main(["store", "copy", "--from", "s3://x", "--to", "/b"]) == 1
