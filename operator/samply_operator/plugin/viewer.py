"""Opens a saved profile in Firefox Profiler in the browser: from this machine, at an unguessable address.

As with `samply load`, the viewer's page fetches the file from here, so nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

VIEWER = "https://profiler.firefox.com"


@dataclass(frozen=True, slots=True)
class ServedProfile:
    """`url` is the file's, `link` opens it in the viewer; `taken` is set once the file was sent."""

    url: str
    link: str
    taken: threading.Event


@contextlib.contextmanager
def serve_once(path: Path, title: str) -> Iterator[ServedProfile]:
    """Serve one file, on the loopback only, while the context lives."""
    taken, place = threading.Event(), f"/{secrets.token_urlsafe(24)}/profile.json.gz"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != place:
                self.send_error(404)
                return
            self._send_head()
            with path.open("rb") as file, contextlib.suppress(ConnectionError):
                shutil.copyfileobj(file, self.wfile)
                taken.set()

        def do_HEAD(self) -> None:
            if self.path == place:
                self._send_head()
            else:
                self.send_error(404)

        def _send_head(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/gzip")
            self.send_header("Content-Length", str(path.stat().st_size))
            self.send_header("Access-Control-Allow-Origin", VIEWER)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
            """Logs nothing: the address is a secret."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}{place}"
        link = f"{VIEWER}/from-url/{quote(url, safe='')}/?profileName={quote(title, safe='')}"
        try:
            yield ServedProfile(url, link, taken)
        finally:
            server.shutdown()
            thread.join()
