"""TLS of the HTTP service: a certificate and its key from a mounted Secret, reloaded when they change.

The kubelet swaps a Secret's files as one folder, with a symlink named `..data`: both files are read behind that link,
so that a certificate is never combined with another key. If loading fails, the old pair stays in use.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from asyncio import sslproto
from pathlib import Path
from types import TracebackType

from cryptography import x509

from samply_operator.api.server.measures import TLS_UNTIL
from samply_operator.errors import SettingsError

logger = logging.getLogger(__name__)

CERTIFICATE, KEY = "tls.crt", "tls.key"
"""As in every Secret of type kubernetes.io/tls."""
LOOK_SECS = 5.0
"""How soon a renewed certificate is used, after the kubelet has brought it (which takes up to a minute or two)."""

BUFFER_BYTES = 32 * 1024
"""asyncio takes a buffer of 256 KiB for what each TLS connection may receive; requests are small, and a thousand idle
connections would take a third of the container's memory."""

Stamp = tuple[tuple[str, int, int], ...]


class Tls:
    """Use as `async with`; `context` is what the listener is opened with, and stays the same. Raises SettingsError at
    the start if there is no usable certificate."""

    def __init__(self, folder: Path, *, look_secs: float = LOOK_SECS) -> None:
        self._folder = folder
        self._look_secs = look_secs
        self._stamp: Stamp | None = None
        self._task: asyncio.Task[None] | None = None
        self.context = build_context()
        sslproto.SSLProtocol.max_size = BUFFER_BYTES

    async def __aenter__(self) -> Tls:
        try:
            self._refresh()
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"The certificate in {self._folder} cannot be used: {error}.",
                remedy=f"tls.secretName must name a Secret with a matching pair {CERTIFICATE} and {KEY}.",
            ) from error
        self._task = asyncio.create_task(self._watch(), name="watch the certificate")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        complaint = ""
        while True:
            await asyncio.sleep(self._look_secs)
            try:
                self._refresh()
                complaint = ""
            except (OSError, ValueError) as error:
                if str(error) != complaint:
                    logger.error("the new certificate cannot be used, the old one is kept: %s", error)
                complaint = str(error)

    def _refresh(self) -> None:
        """Load what changed. In the loop's own thread, since handshakes use the context; the files lie in memory.
        Raises OSError (an SSLError is one), ValueError."""
        folder = self._find_folder()
        stamp = _read_stamp(folder)
        if stamp == self._stamp:
            return
        pair = folder / CERTIFICATE, folder / KEY
        until = x509.load_pem_x509_certificate(pair[0].read_bytes()).not_valid_after_utc
        build_context().load_cert_chain(*pair)  # a pair that doesn't match must not reach the context in use
        self.context.load_cert_chain(*pair)
        self._stamp = stamp
        TLS_UNTIL.set(until.timestamp())
        logger.info("the certificate holds until %s", until.isoformat())

    def _find_folder(self) -> Path:
        """Behind the link, so that a swap in between is an error and not a mixture."""
        link = self._folder / "..data"
        return link.resolve(strict=True) if link.is_symlink() else self._folder


def build_context() -> ssl.SSLContext:
    """TLS 1.2 or newer, HTTP/1.1 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _read_stamp(folder: Path) -> Stamp:
    facts = ((folder / name).stat() for name in (CERTIFICATE, KEY))
    return tuple((str(folder), each.st_mtime_ns, each.st_size) for each in facts)
