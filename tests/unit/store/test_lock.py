"""One writer for each volume, across processes; the lock is released however a process ends."""

from __future__ import annotations

import errno
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from samply_operator.errors import StoreError
from samply_operator.store.volume import Volume

HOLD = """
import sys, time
from samply_operator.store.volume import Volume
print(Volume(sys.argv[1]).lock(), flush=True)
time.sleep(600)
"""


def test_a_second_process_does_not_get_it_until_the_first_is_killed(volume: Volume) -> None:
    """A kill gives it back."""
    with subprocess.Popen([sys.executable, "-c", HOLD, volume.root], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not volume.lock()
        other.send_signal(signal.SIGKILL)
    assert volume.lock()


def test_it_may_be_asked_for_again_and_given_back(volume: Volume) -> None:
    """By the same process; another Volume of the same folder counts as another writer."""
    assert volume.lock()
    assert volume.lock()
    other = Volume(volume.root)
    assert not other.lock()
    volume.unlock()
    assert other.lock()
    other.unlock()


@pytest.mark.parametrize(("number", "is_ours"), [(errno.ENOLCK, True), (errno.EOPNOTSUPP, True), (errno.EIO, None)])
def test_a_file_system_without_locks_has_none(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, number: int, is_ours: bool | None
) -> None:
    """Then only the release's single replica prevents conflicts; disk errors are reported as such."""

    def refuse(fd: int, how: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(fcntl, "flock", refuse)
    if is_ours is None:
        with pytest.raises(StoreError):
            volume.lock()
    else:
        assert volume.lock() is is_ours


def test_the_lock_is_no_profile(volume: Volume, tmp_path: Path) -> None:
    """Nothing that lists the volume stumbles over it."""
    assert volume.lock()
    assert volume.list_ids() == frozenset()
    assert volume.read_entries().items == ()
    volume.unlock()
