"""A process killed after any step of the store: partial data is never read, and repeating the call succeeds."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from samply_operator.model.attachment import NAMES
from samply_operator.store.volume import Volume

from .conftest import make_entry, make_manifest

DATA = os.urandom(100_000)
MANIFEST = make_manifest(1, DATA)

PUBLISH_STEPS = [
    "staged",
    "profile-staged",
    "files-staged",
    "manifest-written",
    "staging-synced",
    "placed",
    "placed-synced",
    "tmp-dropped",
]


def publish(volume: Volume) -> None:
    volume.publish(MANIFEST, volume.tmp_path(MANIFEST.id, "profile"))


def remove(volume: Volume) -> None:
    volume.remove(MANIFEST.id)


def run_killed(root: Path, act: Callable[[Volume], None], step: str) -> None:
    """Run `act` in a child that is killed with -9 after `step`."""

    def fault(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if pid == 0:
        try:
            act(Volume(root, fault=fault))
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"step {step} was never reached"
    assert os.WTERMSIG(status) == signal.SIGKILL


def assert_whole_or_nothing(volume: Volume) -> bool:
    reading = volume.read_manifests()
    assert reading.faults == ()
    for manifest in reading.items:
        assert manifest == MANIFEST
        with volume.open_profile(manifest.id, size_bytes=len(DATA)) as file:
            assert file.read() == DATA
    return bool(reading.items)


@pytest.mark.parametrize("step", PUBLISH_STEPS)
def test_publishing_survives_a_kill_after(volume: Volume, step: str) -> None:
    volume.tmp_path(MANIFEST.id, "profile").write_bytes(DATA)
    run_killed(volume.root, publish, step)
    is_there = assert_whole_or_nothing(volume)
    assert is_there == (PUBLISH_STEPS.index(step) >= PUBLISH_STEPS.index("placed"))
    volume.clean_tmp({MANIFEST.id})
    publish(volume)
    assert assert_whole_or_nothing(volume)
    assert list((volume.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("first", PUBLISH_STEPS[:5])
@pytest.mark.parametrize("second", PUBLISH_STEPS)
def test_publishing_survives_two_kills(volume: Volume, first: str, second: str) -> None:
    volume.tmp_path(MANIFEST.id, "profile").write_bytes(DATA)
    run_killed(volume.root, publish, first)
    run_killed(volume.root, publish, second)
    assert_whole_or_nothing(volume)
    publish(volume)
    assert assert_whole_or_nothing(volume)


def test_a_profile_damaged_in_an_interrupted_publishing_is_not_used(volume: Volume) -> None:
    volume.tmp_path(MANIFEST.id, "profile").write_bytes(DATA)
    run_killed(volume.root, publish, "profile-staged")
    (staged,) = (volume.root / "tmp").rglob("profile.json.gz")
    staged.write_bytes(DATA[:-1] + b"?")
    with pytest.raises(Exception, match="is missing"):
        publish(volume)
    assert not assert_whole_or_nothing(volume)


@pytest.mark.parametrize("step", ["files-staged", "manifest-written", "staging-synced"])
def test_an_additional_file_of_an_interrupted_publishing_is_taken_back(volume: Volume, step: str) -> None:
    """Only as it was, and with this name."""
    name, data, sha256 = NAMES["Stats"], b"stats", hashlib.sha256(b"stats").hexdigest()
    path = volume.tmp_path(MANIFEST.id, name)
    path.write_bytes(data)
    volume.tmp_path(MANIFEST.id, "profile").write_bytes(DATA)

    def publish_both(volume: Volume) -> None:
        volume.publish(MANIFEST, volume.tmp_path(MANIFEST.id, "profile"), extras={name: path})

    run_killed(volume.root, publish_both, step)
    assert not path.exists()
    assert not volume.take_back(MANIFEST.id, name, "0" * 64)
    assert not volume.take_back(MANIFEST.id, NAMES["Metrics"], sha256)
    assert volume.take_back(MANIFEST.id, name, sha256)
    assert path.read_bytes() == data
    publish_both(volume)
    assert assert_whole_or_nothing(volume)
    with volume.open_extra(MANIFEST.id, name) as file:
        assert file.read() == data
    assert list((volume.root / "tmp").iterdir()) == []


def test_removing_survives_a_kill(volume: Volume) -> None:
    volume.tmp_path(MANIFEST.id, "profile").write_bytes(DATA)
    publish(volume)
    run_killed(volume.root, remove, "removed")
    assert not assert_whole_or_nothing(volume)
    volume.clean_tmp({MANIFEST.id})
    assert [p for p in volume.root.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("step", ["entry-written", "entry-placed"])
def test_the_journal_is_old_or_new_after_a_kill(volume: Volume, step: str) -> None:
    volume.write_entry(make_entry(1, pid=1))
    run_killed(volume.root, lambda v: v.write_entry(make_entry(1, pid=2)), step)
    reading = volume.read_entries()
    assert reading.faults == ()
    assert [entry.pid for entry in reading.items] == [2 if step == "entry-placed" else 1]
