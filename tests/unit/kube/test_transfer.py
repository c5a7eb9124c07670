"""Copies over failing sessions: a correct file in the end, or an error; never a corrupt file."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from samply_operator import errors
from samply_operator.kube import channels, sink, transfer
from samply_operator.kube.client import KubeClient
from support.exec_server import Fault
from support.fake_kube import FakeKube


@dataclass(frozen=True, slots=True)
class Place:
    namespace: str = "space"
    pod: str = "pod"
    container: str = "main"
    node: str = "node"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "BACKOFF_SECS", (0.001,))
    monkeypatch.setattr("samply_operator.kube.exec.LINGER_SECS", 0.05)


@dataclass(frozen=True, slots=True)
class Remote:
    path: Path
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    data = os.urandom(700_001)
    path = tmp_path / "remote file"
    path.write_bytes(data)
    return Remote(path, data)


async def copy(client: KubeClient, remote: Remote, local: Path, **changes: object) -> None:
    arguments: dict[str, object] = {
        "size": len(remote.data),
        "sha256": remote.sha256,
        "local_path": local,
        "deadline_secs": 60.0,
        "range_bytes": 256 * 1024,
    }
    await transfer.copy_out(client, Place(), str(remote.path), **(arguments | changes))  # type: ignore[arg-type]


def draw_fault(rng: random.Random, size: int) -> Fault:
    at = rng.randrange(size // 2)
    return rng.choice(
        [
            Fault(cut_after=at),
            Fault(truncate_after=at),
            Fault(no_status=True),
            Fault(truncate_after=at, no_status=True),
            Fault(duplicate_at=at),
            Fault(flip_at=at),
            Fault(empty_frames=True, cut_after=at),
            Fault(empty_frames=True, repeat_status=True),
            Fault(infra_error="error dialing backend: EOF", truncate_after=at),
            Fault(refuse=500),
            Fault(close_late_secs=5, truncate_after=at),
            Fault(),
        ]
    )


@pytest.mark.parametrize("seed", range(100))
async def test_a_hundred_faulty_copies_are_a_hundred_right_files(
    kube: FakeKube, client: KubeClient, remote: Remote, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    kube.exec.break_next(draw_fault(rng, len(remote.data)) for _ in range(rng.randrange(1, 8)))
    local = tmp_path / "local"
    await copy(client, remote, local, attempts=10)
    assert local.read_bytes() == remote.data


async def test_a_cut_costs_only_what_was_in_flight(
    kube: FakeKube, client: KubeClient, remote: Remote, tmp_path: Path
) -> None:
    kube.exec.break_next([Fault(cut_after=400_000)])
    await copy(client, remote, tmp_path / "local", range_bytes=10_000_000)
    assert kube.exec.sessions == 2
    assert (tmp_path / "local").read_bytes() == remote.data


async def test_a_copy_takes_v4_and_what_has_a_stdin_v5(
    kube: FakeKube, client: KubeClient, remote: Remote, tmp_path: Path
) -> None:
    await copy(client, remote, tmp_path / "local", range_bytes=10_000_000)
    result = await client.run("space", "pod", "main", ["cat"], deadline_secs=20, stdin=b"ended by the half-close")
    assert result.stdout == b"ended by the half-close"
    assert kube.exec.chosen == [channels.V4, channels.V5]


async def test_a_server_without_v4_is_copied_from_by_v5(
    kube: FakeKube, client: KubeClient, remote: Remote, tmp_path: Path
) -> None:
    kube.exec.protocols = (channels.V5,)
    await copy(client, remote, tmp_path / "local", range_bytes=10_000_000)
    assert (tmp_path / "local").read_bytes() == remote.data
    assert kube.exec.chosen == [channels.V5]


async def test_wrong_bytes_are_never_a_file(kube: FakeKube, client: KubeClient, remote: Remote, tmp_path: Path) -> None:
    kube.exec.break_next([Fault(flip_at=5)] * 3)
    with pytest.raises(transfer.TransferCorrupt, match="3 copies"):
        await copy(client, remote, tmp_path / "local", range_bytes=10_000_000)
    assert kube.exec.sessions == 3


async def test_a_wrong_announced_hash_is_reported(client: KubeClient, remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(transfer.TransferCorrupt):
        await copy(client, remote, tmp_path / "local", sha256="0" * 64)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 262_144])
async def test_sizes_around_the_block(client: KubeClient, tmp_path: Path, size: int) -> None:
    remote = Remote(tmp_path / "remote", os.urandom(size))
    remote.path.write_bytes(remote.data)
    await copy(client, remote, tmp_path / "local", range_bytes=65_536)
    assert (tmp_path / "local").read_bytes() == remote.data


@pytest.mark.parametrize(
    "left",
    [lambda data: data[:123_457], lambda data: data, lambda data: data + b"more", lambda data: b"wrong" + data[5:9000]],
    ids=["a beginning", "all of it", "too much", "something else"],
)
async def test_what_an_earlier_copy_left_is_used_or_replaced(
    client: KubeClient, remote: Remote, tmp_path: Path, left: object
) -> None:
    local = tmp_path / "local"
    local.write_bytes(left(remote.data))  # type: ignore[operator]
    await copy(client, remote, local)
    assert local.read_bytes() == remote.data


async def test_a_copy_ends_at_its_deadline(kube: FakeKube, client: KubeClient, remote: Remote, tmp_path: Path) -> None:
    kube.exec.break_next([Fault(cut_after=0)] * 100_000)
    with pytest.raises(errors.KubeUnavailable, match="0 of 700001 bytes"):
        await copy(client, remote, tmp_path / "local", deadline_secs=0.3)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(infra_error='container not found ("main")'), errors.KubeNotFound),
        (Fault(refuse=403), errors.KubeForbidden),
        (Fault(refuse=404), errors.KubeNotFound),
    ],
    ids=["container gone", "forbidden", "pod gone"],
)
async def test_permanent_copy_errors_are_raised_at_once(
    kube: FakeKube, client: KubeClient, remote: Remote, tmp_path: Path, fault: Fault, kind: type[errors.KubeError]
) -> None:
    kube.exec.break_next([fault])
    with pytest.raises(kind):
        await copy(client, remote, tmp_path / "local")
    assert kube.exec.sessions == 1


async def test_a_short_write_is_completed(
    client: KubeClient, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.pwrite
    monkeypatch.setattr(sink.os, "pwrite", lambda file, data, offset: whole(file, data[:10_000], offset))
    await copy(client, remote, tmp_path / "local")
    assert (tmp_path / "local").read_bytes() == remote.data


async def test_a_full_disk_is_the_callers_error(
    client: KubeClient, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sink.os, "pwrite", refuse)
    with pytest.raises(OSError, match="No space left"):
        await copy(client, remote, tmp_path / "local")


@pytest.mark.parametrize(
    "fault",
    [Fault(cut_after=0), Fault(no_status=True), Fault(refuse=500), Fault(infra_error="error dialing backend: EOF")],
    ids=["cut", "no status", "refused", "infrastructure"],
)
async def test_copy_in_is_repeated_until_the_pod_agrees(
    kube: FakeKube, client: KubeClient, remote: Remote, tmp_path: Path, fault: Fault
) -> None:
    kube.exec.break_next([fault, fault])
    target = tmp_path / "there"
    sha256 = await transfer.copy_in(client, Place(), remote.path, str(target), deadline_secs=30, mode="500")
    assert sha256 == remote.sha256
    assert target.read_bytes() == remote.data
    assert target.stat().st_mode & 0o777 == 0o500
    assert not [name for name in os.listdir(tmp_path) if ".part" in name]  # noqa: PTH208 - no blocking Path in async


async def test_copy_in_takes_away_what_a_killed_one_left(client: KubeClient, remote: Remote, tmp_path: Path) -> None:
    """Of the same target; nothing else."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    for name in ("samply.part.1", "samply.part.4711", "samply.partial", "other.part.1"):
        (folder / name).write_bytes(b"x")
    await transfer.copy_in(client, Place(), remote.path, str(folder / "samply"), deadline_secs=30)
    assert sorted(os.listdir(folder)) == ["other.part.1", "samply", "samply.partial"]  # noqa: PTH208


async def test_copy_in_of_a_file_that_breaks_is_the_callers_error(
    client: KubeClient, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_measure", lambda path: (5, "0" * 64))
    with pytest.raises(FileNotFoundError):
        await transfer.copy_in(client, Place(), tmp_path / "gone", str(tmp_path / "there"), deadline_secs=30)


async def test_copy_in_gives_up_when_the_hash_stays_wrong(
    kube: FakeKube, client: KubeClient, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_measure", lambda path: (len(remote.data), "0" * 64))
    with pytest.raises(transfer.TransferCorrupt):
        await transfer.copy_in(client, Place(), remote.path, str(tmp_path / "there"), deadline_secs=30)
    assert not (tmp_path / "there").exists()
    assert kube.exec.sessions == 3
