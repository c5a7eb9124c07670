"""The file that `kubectl samply open` serves to the viewer's page."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import unquote, urlsplit

from samply_operator.plugin import viewer


def ask(url: str, path: str | None = None) -> tuple[int, dict[str, str], bytes]:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
    connection.request("GET", path or where.path)
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read()


def test_only_the_viewer_s_page_may_read_it(tmp_path: Path) -> None:
    """A client without the address gets nothing; pages of other origins may not read it."""
    file = tmp_path / "p.json.gz"
    file.write_bytes(b"profile")
    with viewer.serve_once(file, "orders 0") as served:
        assert ask(served.url, "/profile.json.gz")[0] == 404
        assert ask(served.url, "/")[0] == 404
        assert not served.taken.is_set()
        status, headers, body = ask(served.url)
        assert (status, body) == (200, b"profile")
        assert headers["Access-Control-Allow-Origin"] == "https://profiler.firefox.com"
        assert served.taken.wait(5)
        assert urlsplit(served.url).hostname == "127.0.0.1"
        assert served.link.startswith("https://profiler.firefox.com/from-url/")
        assert served.url in unquote(served.link)
