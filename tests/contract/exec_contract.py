"""The exec contract, for the test server and for a real cluster. Subclass it and provide the fixtures."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from samply_operator.errors import ExecFailed, KubeInvalid, KubeNotFound
from samply_operator.kube import transfer
from samply_operator.kube.client import KubeClient


@dataclass(frozen=True, slots=True)
class Place:
    namespace: str
    pod: str
    container: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Door:
    """A client, and a place in which `sh` and the usual small programs run."""

    client: KubeClient
    place: Place
    folder: str
    """A writable folder there."""

    async def run(self, *command: str, stdin: bytes | None = None, max_output: int = 1 << 20):
        p = self.place
        return await self.client.run(
            p.namespace, p.pod, p.container, command, deadline_secs=30, stdin=stdin, max_output=max_output
        )

    async def make_file(self, name: str, size: int) -> tuple[str, str]:
        """A file of random bytes over there: its path and its SHA-256."""
        path = f"{self.folder}/{name}"
        script = 'head -c "$2" /dev/urandom > "$1" && sha256sum < "$1"'
        result = await self.run("sh", "-c", script, "sh", path, str(size))
        assert result.exit_code == 0, result
        return path, result.text.split()[0]


def read_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class ExecContract:
    """Fixture `door` comes from the subclass."""

    async def test_success_gives_code_zero_and_both_streams(self, door: Door) -> None:
        result = await door.run("sh", "-c", "echo out; echo err >&2")
        assert (result.exit_code, result.stdout, result.stderr) == (0, b"out\n", b"err\n")

    @pytest.mark.parametrize("code", [1, 3, 124, 255])
    async def test_the_exit_code_is_the_process_own(self, door: Door, code: int) -> None:
        assert (await door.run("sh", "-c", f"exit {code}")).exit_code == code

    async def test_words_of_a_command_arrive_as_they_are(self, door: Door) -> None:
        words = ["a b", "$HOME", "ü&=%+#?/", "", "-n'\""]
        result = await door.run("sh", "-c", 'for w in "$@"; do printf "[%s]" "$w"; done', "sh", *words)
        assert result.text == "".join(f"[{word}]" for word in words)

    async def test_a_command_that_is_not_there_is_permanent(self, door: Door) -> None:
        with pytest.raises(KubeInvalid) as caught:
            await door.run("/no/such/program")
        assert caught.value.details["reason"] == "CommandNotFound"

    async def test_a_missing_pod_is_not_found(self, door: Door) -> None:
        with pytest.raises(KubeNotFound, match="missing"):
            await door.client.run(door.place.namespace, "missing", door.place.container, ["true"], deadline_secs=10)

    async def test_a_missing_container_is_reported_by_name(self, door: Door) -> None:
        with pytest.raises((KubeInvalid, KubeNotFound), match="missing"):
            await door.client.run(door.place.namespace, door.place.pod, "missing", ["true"], deadline_secs=10)

    async def test_output_is_bounded_and_says_so(self, door: Door) -> None:
        result = await door.run("sh", "-c", "head -c 100000 /dev/zero", max_output=10)
        assert (result.exit_code, result.stdout, result.is_truncated) == (0, bytes(10), True)

    async def test_lines_come_while_the_process_runs(self, door: Door) -> None:
        p = door.place
        script = "echo first; sleep 1; echo second; printf third"
        loop = asyncio.get_running_loop()
        async with door.client.exec(p.namespace, p.pod, p.container, ["sh", "-c", script], deadline_secs=20) as session:
            seen = [(line, loop.time()) async for line in session.lines()]
            assert await session.wait() == 0
        assert [line for line, _ in seen] == ["first", "second", "third"]
        assert seen[1][1] - seen[0][1] > 0.5

    async def test_the_deadline_ends_the_session(self, door: Door) -> None:
        p = door.place
        with pytest.raises(ExecFailed) as caught:
            await door.client.run(p.namespace, p.pod, p.container, ["sleep", "5"], deadline_secs=0.5)
        assert caught.value.details["reason"] == "DeadlineExceeded"

    async def test_a_session_can_be_left_while_output_flows(self, door: Door) -> None:
        p = door.place
        # `timeout`: leaving never ends the process, and the test must not leave one behind.
        command = ["timeout", "5", "cat", "/dev/zero"]
        async with door.client.exec(p.namespace, p.pod, p.container, command, deadline_secs=20) as session:
            assert await session.read()
        assert (await door.run("true")).exit_code == 0

    async def test_stdin_reaches_the_process(self, door: Door) -> None:
        data = os.urandom(300_000)
        result = await door.run("sh", "-c", f"head -c {len(data)} | sha256sum", stdin=data)
        assert result.text.split()[0] == hashlib.sha256(data).hexdigest()

    async def test_copy_out_gives_the_same_bytes(self, door: Door, tmp_path: Path) -> None:
        size = 3_000_001
        path, sha256 = await door.make_file("out", size)
        local = tmp_path / "copy"
        await transfer.copy_out(
            door.client, door.place, path, size=size, sha256=sha256, local_path=local, deadline_secs=60,
            range_bytes=1_000_000,
        )  # fmt: skip
        assert read_sha256(local) == sha256

    async def test_copy_out_resumes_an_earlier_one(self, door: Door, tmp_path: Path) -> None:
        size = 500_000
        path, sha256 = await door.make_file("resumed", size)
        local = tmp_path / "copy"
        first = await door.run("head", "-c", "123457", path)
        local.write_bytes(first.stdout)
        await transfer.copy_out(
            door.client, door.place, path, size=size, sha256=sha256, local_path=local, deadline_secs=60
        )
        assert read_sha256(local) == sha256

    async def test_copy_out_of_a_missing_file_says_so(self, door: Door, tmp_path: Path) -> None:
        with pytest.raises(transfer.TransferFailed, match="No such file"):
            await transfer.copy_out(
                door.client, door.place, f"{door.folder}/none", size=5, sha256="0" * 64, local_path=tmp_path / "x",
                deadline_secs=60,
            )  # fmt: skip

    async def test_copy_out_of_a_shorter_file_is_corrupt(self, door: Door, tmp_path: Path) -> None:
        path, sha256 = await door.make_file("short", 1000)
        with pytest.raises(transfer.TransferCorrupt):
            await transfer.copy_out(
                door.client, door.place, path, size=1001, sha256=sha256, local_path=tmp_path / "x", deadline_secs=60
            )

    async def test_copy_in_arrives_whole_and_can_run(self, door: Door, tmp_path: Path) -> None:
        local = tmp_path / "program"
        local.write_bytes(b"#!/bin/sh\nexit 7\n#" + os.urandom(2_000_000).hex().encode())
        remote = f"{door.folder}/it's a program"
        sha256 = await transfer.copy_in(door.client, door.place, local, remote, deadline_secs=60)
        assert sha256 == read_sha256(local)
        assert (await door.run("sha256sum", remote)).text.split()[0].lstrip("\\") == sha256
        assert (await door.run(remote)).exit_code == 7

    async def test_copy_in_to_a_folder_that_is_not_there_says_so(self, door: Door, tmp_path: Path) -> None:
        local = tmp_path / "data"
        local.write_bytes(b"data")
        with pytest.raises(transfer.TransferFailed):
            await transfer.copy_in(door.client, door.place, local, f"{door.folder}/no/such/file", deadline_secs=60)
