"""How the console gets its token: never through a command line that other users can read."""

from __future__ import annotations

import stat
import threading
import webbrowser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from samply_operator.plugin import console
from samply_operator.plugin.service import ServiceClient

DOOR = ServiceClient(40123, "ey.J+h/x", is_tls=False)


def test_the_printed_address_has_the_token_only_if_it_is_the_only_way() -> None:
    assert console.build_address(DOOR, is_secret=False) == "http://127.0.0.1:40123/console/"
    assert console.build_address(DOOR, is_secret=True) == "http://127.0.0.1:40123/console/#token=ey.J%2Bh%2Fx"
    assert console.build_address(ServiceClient(1, "", is_tls=True), is_secret=True) == "https://127.0.0.1:1/console/"


def test_the_browser_is_started_with_a_file_of_the_user_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file leads on; it is gone when the command ends."""
    seen: list[tuple[str, int, str]] = []

    def open_browser(address: str) -> bool:
        path = Path(unquote(urlsplit(address).path))
        seen.append((address, stat.S_IMODE(path.stat().st_mode), path.read_text()))
        return True

    monkeypatch.setattr(webbrowser, "open", open_browser)
    monkeypatch.setattr(threading.Event, "wait", lambda self: None)
    console.show(DOOR, has_browser=True)
    [(address, mode, text)] = seen
    assert address.startswith("file:")
    assert "token" not in address
    assert mode == 0o600
    assert 'location.replace("http://127.0.0.1:40123/console/#token=ey.J%2Bh%2Fx")' in text
    assert not Path(unquote(urlsplit(address).path)).exists()
