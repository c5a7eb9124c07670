"""The web console in a browser of this machine, signed in with the token at hand.

A token in an address is seen by whoever may list this machine's processes while a browser is started with it. So the
browser is started with a file that only its owner may read, and that leads on.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
import webbrowser
from pathlib import Path
from urllib.parse import quote

from samply_operator.plugin.service import Door

PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<title>samply-operator</title>
<script>location.replace({address})</script>
"""


def build_address(door: Door, *, is_secret: bool) -> str:
    """Of the console; `is_secret`: with the token behind the #, which no server sees."""
    scheme = "https" if door.is_tls else "http"
    behind = f"#token={quote(door.token, safe='')}" if is_secret and door.token else ""
    return f"{scheme}://127.0.0.1:{door.port}/console/{behind}"


def show(door: Door, *, has_browser: bool) -> None:
    """Open it, and wait for ever. Without a browser that can be started the address that was printed is the way."""
    with tempfile.TemporaryDirectory(prefix="kubectl-samply-") as folder:
        page = Path(folder) / "console.html"
        page.touch(mode=0o600)
        page.write_text(PAGE.format(address=json.dumps(build_address(door, is_secret=True))))
        if has_browser:
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(page.as_uri())
        threading.Event().wait()
