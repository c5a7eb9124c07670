"""The file that `kubectl samply open` hands to the viewer's page."""

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


def test_the_viewer_s_page_and_nobody_else_may_have_it(tmp_path: Path) -> None:
    """Who doesn't know the address gets nothing; a page of another origin may not read it."""
    file = tmp_path / "p.json.gz"
    file.write_bytes(b"profile")
    with viewer.hand_out(file, "orders 0") as handed:
        assert ask(handed.url, "/profile.json.gz")[0] == 404
        assert ask(handed.url, "/")[0] == 404
        assert not handed.taken.is_set()
        status, headers, body = ask(handed.url)
        assert (status, body) == (200, b"profile")
        assert headers["Access-Control-Allow-Origin"] == "https://profiler.firefox.com"
        assert handed.taken.wait(5)
        assert urlsplit(handed.url).hostname == "127.0.0.1"
        assert handed.link.startswith("https://profiler.firefox.com/from-url/")
        assert handed.url in unquote(handed.link)
