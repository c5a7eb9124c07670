"""A provider that refuses requests: too many of them, expired credentials, a clock that is off. Moto is behind a proxy
that gives the provider's answers."""

from __future__ import annotations

import dataclasses
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contract.stores.bucket_place import BucketPlace
from contract.stores.store_contract import make_entry, put
from samply_operator.errors import StoreUnavailable
from samply_operator.store.bucket import names, store
from support.buckets import Server

DROPPED = {"host", "connection", "transfer-encoding"}


@dataclass
class Proxy:
    """Answers with `refusals`, then forwards. `refuse_all` until it is None again."""

    server: Server
    refusals: list[tuple[int, str]] = field(default_factory=list)
    refuse_all: tuple[int, str] | None = None
    seen: int = 0

    def take_refusal(self) -> tuple[int, str] | None:
        self.seen += 1
        return self.refuse_all or (self.refusals.pop(0) if self.refusals else None)


@pytest.fixture
def proxy(moto: Server) -> Iterator[Proxy]:
    found = Proxy(moto)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            refusal = found.take_refusal()
            if refusal is not None:
                status, code = refusal
                text = f"<Error><Code>{code}</Code><Message>Refused by the test.</Message></Error>"
                self._answer(status, {"Content-Type": "application/xml"}, text.encode())
                return
            behind = http.client.HTTPConnection(urlsplit(moto.endpoint).netloc, timeout=30)
            behind.request(self.command, self.path, body, dict(self.headers.items()))
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
                self.wfile.write(body)

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


@pytest.mark.parametrize("off_secs", [-10 * 365 * 86400.0, 10 * 365 * 86400.0])
def test_a_clock_that_is_off_loses_nothing(place: BucketPlace, off_secs: float) -> None:
    """Of this process: its term goes on, and another process continues from it."""
    one, two = put(place.store, 1), put(place.store, 2)
    opened = place.bucket_store
    opened._now = lambda: time.time() + off_secs
    assert opened.remove(two.id)
    opened._catalog.list()
    opened._finish_removals(opened._now())
    opened._fence.renew(0)
    three = put(opened, 3)
    assert opened.list_ids() == {one.id, three.id}
    assert place.reopen().list_ids() == {one.id, three.id}
    assert not place.fenced
