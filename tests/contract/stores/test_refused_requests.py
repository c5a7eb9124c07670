"""A provider that refuses requests: too many of them, expired credentials, a clock that is off. Moto is behind a proxy
that gives the provider's answers."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contract.stores.bucket_place import BucketPlace, lock
from contract.stores.store_contract import make_entry, make_id, put
from samply_operator.cli import main as cli
from samply_operator.errors import StoreUnavailable
from samply_operator.store.bucket import names, store
from samply_operator.store.bucket.connection import CHECKSUMS
from samply_operator.store.bucket.objects import Objects
from samply_operator.store.volume import Volume
from support.buckets import Server

CONDITIONS = frozenset({"if-match", "if-none-match"})
DROPPED = {"host", "connection", "transfer-encoding"}


@dataclass
class Proxy:
    """Answers with `refusals`, then forwards. `refuse_all` until it is None again."""

    server: Server
    refusals: list[tuple[int, str]] = field(default_factory=list)
    refuse_all: tuple[int, str] | None = None
    ignores_conditions: bool = False
    needs_checksums: bool = False
    """As AWS, where objects are locked."""
    is_cut: bool = False
    """The bodies of its answers end half-way."""
    asked: list[str] = field(default_factory=list)
    """Methods, and folders of the objects."""

    def list_ignored(self) -> frozenset[str]:
        return CONDITIONS if self.ignores_conditions else frozenset()

    def take_refusal(self, method: str, headers: Message) -> tuple[int, str] | None:
        if self.needs_checksums and method == "PUT" and "x-amz-checksum-sha256" not in headers:
            return 400, "InvalidRequest"
        return self.refuse_all or (self.refusals.pop(0) if self.refusals else None)


def find_folder(path: str) -> str:
    """Behind the bucket and the prefix; empty if there is none."""
    return "".join(path.split("/")[3:4])


@pytest.fixture
def proxy(moto: Server) -> Iterator[Proxy]:
    found = Proxy(moto)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.asked.append(f"{self.command} {find_folder(self.path)}")
            refusal = found.take_refusal(self.command, self.headers)
            if refusal is not None:
                status, code = refusal
                text = f"<Error><Code>{code}</Code><Message>Refused by the test.</Message></Error>"
                self._answer(status, {"Content-Type": "application/xml"}, text.encode())
                return
            behind = http.client.HTTPConnection(urlsplit(moto.endpoint).netloc, timeout=30)
            sent = {name: value for name, value in self.headers.items() if name.lower() not in found.list_ignored()}
            if "x-amz-checksum-sha256" in self.headers:
                sent["x-amz-sdk-checksum-algorithm"] = "SHA256"  # moto looks for this one, AWS for the checksum itself
            behind.request(self.command, self.path, body, sent)
            answer = behind.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in DROPPED}
            self._answer(answer.status, headers, answer.read())
            behind.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815 - the base class's names

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            length = {} if any(name.lower() == "content-length" for name in headers) else {"Content-Length": len(body)}
            for name, value in {**headers, **length}.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if found.is_cut else body)
            self.close_connection = found.is_cut

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        found.server = dataclasses.replace(moto, endpoint=f"http://127.0.0.1:{listener.server_port}")
        yield found
        listener.shutdown()


@pytest.fixture
def place(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketPlace]:
    monkeypatch.setattr(store, "PAUSE_SECS", 0.2)
    place = BucketPlace(proxy.server, tmp_path)
    yield place
    proxy.refuse_all = None
    place.close()


def wait_until(is_met: Callable[[], bool], secs: float = 30) -> None:
    until = time.monotonic() + secs
    while not is_met():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("refusal", [(503, "SlowDown"), (429, "TooManyRequests")])
def test_requests_that_are_too_many_are_repeated(proxy: Proxy, place: BucketPlace, refusal: tuple[int, str]) -> None:
    proxy.refusals = [refusal] * 3
    one = put(place.store, 1, b"one")
    assert proxy.refusals == []
    wait_until(lambda: place.bucket_store.measure_backlog().attempts == 0)
    assert place.read_file(one) == b"one"
    assert [found.path for found in place.objects.list(names.FILES)] == [names.build_file(one.id, one.file.sha256)]  # type: ignore[union-attr]
    assert not place.fenced


@pytest.mark.parametrize("refusal", [(400, "ExpiredToken"), (403, "InvalidAccessKeyId"), (403, "RequestTimeTooSkewed")])
def test_while_requests_are_refused_the_spool_keeps_all(
    proxy: Proxy, place: BucketPlace, refusal: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    before = put(place.store, 1, b"before")
    proxy.refuse_all = refusal
    during = put(place.store, 2, b"during")
    place.store.write_entry(make_entry(3, step="Recording"))
    assert f"{refusal[1]}: Refused by the test" in caplog.text
    assert place.store.list_ids() == {before.id, during.id}
    with place.store.open_profile(during.id, size_bytes=6) as file:
        assert file.read() == b"during"
    with pytest.raises(StoreUnavailable, match=refusal[1]) as raised:
        place.store.remove(before.id)
    assert "credentials" in raised.value.remedy
    proxy.refuse_all = None
    wait_until(lambda: place.bucket_store.measure_backlog().attempts == 0)
    assert place.read_file(during) == b"during"
    assert not place.fenced, "a refusal is not the end of the term"
    assert place.reopen().read_entries().items == (make_entry(3, step="Recording"),)


@pytest.mark.parametrize(("code", "bucket"), [("AccessDenied", "profiles"), ("", "missing")])
def test_a_copy_from_a_bucket_that_cannot_be_listed_leaves_nothing_behind(
    proxy: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str, bucket: str
) -> None:
    proxy.refuse_all = (403, code) if code else None
    copy = ["store", "copy", "--from", f"s3://{bucket}/prod-1", "--to", str(tmp_path / "volume")]
    options = ["--endpoint", proxy.server.endpoint, "--credentials", str(proxy.server.folder / "credentials")]
    assert cli.main([*copy, *options]) == 1
    assert (code or "NoSuchBucket") in capsys.readouterr().err
    assert not (tmp_path / "volume").exists()


@pytest.mark.parametrize(("read_back", "check"), [(True, "GET files"), (False, "HEAD files")])
def test_the_requests_of_an_upload(proxy: Proxy, place: BucketPlace, read_back: bool, check: str) -> None:
    """The last one finds out whether the file was deleted before it had a manifest."""
    standby = place.build(read_back=read_back)
    one = put(Volume(standby.root), 1)
    place.close()
    proxy.asked.clear()
    assert standby._uploads.upload(one.id) is not None
    assert proxy.asked == [
        "GET removed", "GET manifests", "HEAD files", "PUT files", check, "PUT manifests", "HEAD files"
    ]  # fmt: skip


async def read(objects: Objects, path: str, start: int, stop: int, piece_bytes: int) -> list[bytes]:
    stream = await objects.open_stream(path, start, stop)
    assert stream is not None
    return [bytes(piece) async for piece in stream.read(piece_bytes)]


@pytest.mark.parametrize("piece_bytes", [100_000, 400_000])
async def test_bytes_are_read_whole_or_not_at_all(proxy: Proxy, piece_bytes: int) -> None:
    objects, data = proxy.server.open(), bytes(range(256)) * 2000
    await asyncio.to_thread(objects.write, "files/1", data)
    pieces = await read(objects, "files/1", 7, 400_007, piece_bytes)
    assert b"".join(pieces) == data[7:400_007]
    proxy.is_cut = True
    with pytest.raises(StoreUnavailable, match="cannot read files/1"):
        await read(objects, "files/1", 7, 400_007, piece_bytes)


LOCK = """<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>
<Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>"""


def change_bucket(server: Server, path: str, body: str = "", **headers: str) -> bytes:
    """Create or configure a bucket, which this project never does itself; without a body and headers: read it."""
    request = urllib.request.Request(
        f"{server.endpoint}/{path}", body.encode() or None, method="PUT" if body or headers else "GET",
        headers={"Authorization": "AWS4 a/b/us-east-1/s3/", "Content-Type": "application/xml"} | headers,
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=60) as response:
        return bytes(response.read())


def test_a_bucket_with_versions_and_locked_objects(
    proxy: Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can be deleted there: removed profiles stay as versions, and nothing shows them."""
    caplog.set_level("INFO")
    name = f"locked-{tmp_path.name[-20:]}".lower().replace("_", "-")
    change_bucket(proxy.server, name, **{"x-amz-bucket-object-lock-enabled": "true"})
    change_bucket(proxy.server, f"{name}?object-lock", LOCK)
    proxy.needs_checksums = True
    options = {"checksum_algorithm": CHECKSUMS}
    server = dataclasses.replace(proxy.server, url=f"s3://{name}", options=options)
    place = BucketPlace(server, tmp_path)
    one, two = put(place.store, 1, bytes(range(256)) * 100_000), put(place.store, 2)
    for number in (1, 2):
        place.store.write_entry(make_entry(number))
        place.store.write_entry(make_entry(number, step="Recording"))
    place.store.remove_entry(make_id(2))
    assert place.store.remove(two.id)
    assert place.store.list_ids() == {one.id}
    opened = place.reopen()
    assert opened.read_manifests().items == (one,)
    assert opened.read_entries().items == (make_entry(1, step="Recording"),)
    assert "the bucket keeps versions" in caplog.text
    opened.list_ids()
    place.bucket_store._finish_removals(time.time() + store.MARK_SECS + 60)
    assert place.objects.find(names.build_removed(two.id)) is None
    assert place.reopen().list_ids() == {one.id}
    assert two.file is not None
    assert two.file.sha256.encode() in change_bucket(proxy.server, f"{name}?versions")
    assert not place.fenced
    place.close()


@pytest.mark.parametrize("is_new", [True, False])
def test_a_server_that_ignores_the_conditions_of_writes_is_refused(
    proxy: Proxy, place: BucketPlace, caplog: pytest.LogCaptureFixture, is_new: bool
) -> None:
    """Two processes could write at the same time."""
    place.close()
    if is_new:
        place.objects.delete([names.LEADER])
    proxy.ignores_conditions = True
    opened = place.build()
    assert not opened.lock()
    assert "ignores the conditions of writes" in caplog.text
    assert "supports conditional writes" in caplog.text
    proxy.ignores_conditions = False
    lock(opened)


@pytest.mark.parametrize("off_secs", [-10 * 365 * 86400.0, 10 * 365 * 86400.0])
def test_a_clock_that_is_off_loses_nothing(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch, off_secs: float
) -> None:
    """Of this process: its term goes on, ages are those of the provider's clock, another process continues."""
    one, two = put(place.store, 1), put(place.store, 2)
    opened, now, waiting = place.bucket_store, time.time, names.build_file(make_id(4), "0" * 64)
    place.objects.write(waiting, b"its manifest follows")
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now() + off_secs)
        assert opened.remove(two.id)
        opened._tidy_at = opened._orphans_at = 0.0
        opened._tidy()
        opened._fence.renew(0)
        three = put(opened, 3)
    assert place.objects.find(names.build_removed(two.id)) is not None
    assert place.objects.find(waiting) is not None
    assert opened.list_ids() == {one.id, three.id}
    assert place.reopen().list_ids() == {one.id, three.id}
    assert not place.fenced
