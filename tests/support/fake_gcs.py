"""A fake of Google Cloud Storage's XML API, as obstore uses it: generations as conditions, lists, ranges, uploads in
parts. In memory, of one bucket, without authentication. `python fake_gcs.py PORT`.

fake-gcs-server cannot stand in for it: of this API it has no plain PUT.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000
CONDITION = "x-goog-if-generation-match"


@dataclass(frozen=True)
class Blob:
    data: bytes
    generation: int

    @property
    def headers(self) -> dict[str, str]:
        e_tag = hashlib.md5(self.data, usedforsecurity=False).hexdigest()
        dated = formatdate(usegmt=True)
        return {"ETag": f'"{e_tag}"', "x-goog-generation": str(self.generation), "Last-Modified": dated}


@dataclass
class Bucket:
    blobs: dict[str, Blob] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, name: str, data: bytes, condition: str | None) -> Blob | None:
        """None: the condition failed. Generation 0 is that of an object that does not exist."""
        with self.lock:
            standing = self.blobs.get(name)
            if condition is not None and int(condition) != (standing.generation if standing else 0):
                return None
            self.count += 1
            self.blobs[name] = Blob(data, 1_700_000_000_000_000 + self.count)
            return self.blobs[name]

    def list(self, prefix: str, after: str) -> tuple[list[tuple[str, Blob]], bool]:
        with self.lock:
            found = sorted(item for item in self.blobs.items() if item[0].startswith(prefix) and item[0] > after)
        return found[:PAGE], len(found) > PAGE


BUCKET = Bucket()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        name, query, data = self._read()
        if "uploadId" in query:
            BUCKET.parts[query["uploadId"]][int(query["partNumber"])] = data
            return self._answer(200, ETag=f'"{query["partNumber"]}"')
        return self._put(name, data)

    def do_POST(self) -> None:
        name, query, _ = self._read()
        if "uploads" in query:
            upload = f"u{len(BUCKET.parts)}"
            BUCKET.parts[upload] = {}
            return self._answer(200, f"<Upload><UploadId>{upload}</UploadId></Upload>".encode())
        parts = BUCKET.parts[query["uploadId"]]
        body = b'<Result><ETag>"whole"</ETag></Result>'
        return self._put(name, b"".join(parts[number] for number in sorted(parts)), body)

    def do_GET(self) -> None:
        name, query, _ = self._read()
        if "list-type" in query:
            return self._list(query)
        blob = BUCKET.blobs.get(name)
        if blob is None:
            return self._answer(404)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return self._answer(200, blob.data, **blob.headers)
        start, stop = int(wanted[1]), min(int(wanted[2] or len(blob.data) - 1) + 1, len(blob.data))
        told = f"bytes {start}-{stop - 1}/{len(blob.data)}"
        return self._answer(206, blob.data[start:stop], **blob.headers, **{"Content-Range": told})

    do_HEAD = do_GET  # noqa: N815 - the base class calls it by this name

    def do_DELETE(self) -> None:
        name, query, _ = self._read()
        if "uploadId" in query:
            return self._answer(204)
        return self._answer(204 if BUCKET.blobs.pop(name, None) else 404)

    def _put(self, name: str, data: bytes, body: bytes = b"") -> None:
        blob = BUCKET.put(name, data, self.headers.get(CONDITION))
        if blob is None:
            return self._answer(412)
        return self._answer(200, body, **blob.headers)

    def _list(self, query: dict[str, str]) -> None:
        found, is_truncated = BUCKET.list(query.get("prefix", ""), query.get("continuation-token", ""))
        rows = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(blob.data)}</Size><ETag>{escape(blob.headers['ETag'])}</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name, blob in found
        )
        more = f"<NextContinuationToken>{escape(found[-1][0])}</NextContinuationToken>" if is_truncated else ""
        self._answer(200, f"<ListBucketResult>{rows}{more}</ListBucketResult>".encode())

    def _read(self) -> tuple[str, dict[str, str], bytes]:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        _, _, name = unquote(url.path).lstrip("/").partition("/")
        return name, query, self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
