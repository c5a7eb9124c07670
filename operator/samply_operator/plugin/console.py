"""The web console in a browser of this machine, signed in with the available token.

A token in a command line is visible to other users of this machine while the browser starts. So the browser opens a
file that only its owner may read, and that redirects to the console.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
import webbrowser
from pathlib import Path
from urllib.parse import quote

from samply_operator.plugin.service import ServiceClient

PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<title>samply-operator</title>
<script>location.replace({address})</script>
"""


def build_address(client: ServiceClient, *, is_secret: bool) -> str:
    """URL of the console; `is_secret`: with the token after the #, which no server sees."""
    scheme = "https" if client.is_tls else "http"
    behind = f"#token={quote(client.token, safe='')}" if is_secret and client.token else ""
    return f"{scheme}://127.0.0.1:{client.port}/console/{behind}"


def show(client: ServiceClient, *, has_browser: bool) -> None:
    """Open it, and wait forever. If no browser can be started, users open the printed address."""
    with tempfile.TemporaryDirectory(prefix="kubectl-samply-") as folder:
        page = Path(folder) / "console.html"
        page.touch(mode=0o600)
        page.write_text(PAGE.format(address=json.dumps(build_address(client, is_secret=True))))
        if has_browser:
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(page.as_uri())
        threading.Event().wait()
