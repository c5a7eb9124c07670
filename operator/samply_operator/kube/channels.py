"""The exec sub-protocols `v5.channel.k8s.io` and `v4.channel.k8s.io`: bytes in, bytes out (pure, no socket).

    split_frame(frame) -> (channel, payload)        the first byte names the channel
    build_stdin(data) / build_half_close() -> bytes
    parse_status(raw) -> Exited | Broken | None     None: not (yet) a complete status
    Demultiplexer().feed(frame) -> payload of stdout; .stderr, .outcome

Empty frames are normal; only a status or the end of the connection ends a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
"""v5 is v4 plus the half-close."""
PROTOCOLS = (V5, V4)
"""In order of preference."""

STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
STDERR_TAIL = 16 * 1024
STATUS_LIMIT = 64 * 1024
EMPTY = memoryview(b"")


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended and this is its exit code."""

    code: int


@dataclass(frozen=True, slots=True)
class Broken:
    """The session ended without information about the process."""

    message: str
    reason: str = ""


Outcome = Exited | Broken


def split_frame(frame: bytes) -> tuple[int | None, memoryview]:
    """Channel and payload; an empty frame has no channel."""
    if not frame:
        return None, EMPTY
    return frame[0], memoryview(frame)[1:]


def build_stdin(data: bytes | memoryview) -> bytes:
    return b"\x00" + data


def build_half_close(channel: int = STDIN) -> bytes:
    """v5 only: no more data follows on `channel`."""
    return bytes((CLOSE, channel))


def parse_status(raw: bytes) -> Outcome | None:
    """The result in the status channel. None if `raw` is not a complete JSON value."""
    try:
        status = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None
    if not isinstance(status, dict):
        return Broken("unreadable status")
    if status.get("status") == "Success":
        return Exited(0)
    code = _find_exit_code(status)
    if code is not None:
        return Exited(code)
    return Broken(str(status.get("message") or "no message"), str(status.get("reason") or ""))


def _find_exit_code(status: dict[str, Any]) -> int | None:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode":
            text = str(cause.get("message", ""))
            # A code that is not a number says nothing about the process: better no exit code than a wrong one.
            return int(text) if text.isascii() and text.isdigit() else None
    return None


class Demultiplexer:
    """Splits the frames of one session: stdout is returned at once, the end of stderr and the status are kept."""

    __slots__ = ("_status", "_stderr", "outcome")

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self._stderr = bytearray()
        self._status = b""

    @property
    def stderr(self) -> bytes:
        """Its last 16 KiB."""
        return bytes(self._stderr[-STDERR_TAIL:])

    def feed(self, frame: bytes) -> memoryview:
        """Process one frame; returns its part of stdout, often empty."""
        channel, payload = split_frame(frame)
        match channel:
            case 1:
                return payload
            case 2:
                self._take_stderr(payload)
            case 3:
                self._take_status(payload)
            case _:
                pass  # channels of later protocols, and v5's close signal, are not needed
        return EMPTY

    def _take_stderr(self, payload: memoryview) -> None:
        self._stderr += payload
        if len(self._stderr) > 4 * STDERR_TAIL:
            del self._stderr[:-STDERR_TAIL]

    def _take_status(self, payload: memoryview) -> None:
        if self.outcome is not None or not payload:
            return  # the first status counts: a repeated one is an echo
        self._status += bytes(payload)
        self.outcome = parse_status(self._status)
        if self.outcome is None and len(self._status) > STATUS_LIMIT:
            self.outcome = Broken("a status longer than 64 KiB")
