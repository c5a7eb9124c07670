"""The lifecycle of the `api` container: its parts and the listener are opened, and closed on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from samply_operator.api.app import build_app
from samply_operator.api.auth.authentication import Authenticator
from samply_operator.api.auth.sign_in import Provider
from samply_operator.api.content.file_cache import FileCache
from samply_operator.api.content.open_files import OpenFiles
from samply_operator.api.content.remote_files import RemoteFiles
from samply_operator.api.forwarding import Forwarding
from samply_operator.api.routes import metrics
from samply_operator.api.server import access_log, descriptors
from samply_operator.api.server.connection_limits import ConnectionLimits
from samply_operator.api.server.listener import HttpListener
from samply_operator.api.server.tls import Tls
from samply_operator.api.state import STATE, ServiceState
from samply_operator.control.auth.jwks import KeySet
from samply_operator.control.client import OperatorClient
from samply_operator.feldera.client import FelderaClient
from samply_operator.settings import Identity, Settings
from samply_operator.store import opening
from samply_operator.store.bucket.reader import BucketReader
from samply_operator.store.store import StoreReader

logger = logging.getLogger(__name__)

GC_THRESHOLD = 5000
"""Objects between two collections, far more than by default: a request leaves hundreds, and hardly ever a cycle."""


def tune_garbage_collector() -> None:
    """Run the garbage collector rarely, and never again on objects of the start: saves 4 % of a request's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])


@asynccontextmanager
async def serve(settings: Settings, identity: Identity, tls_folder: Path | None = None) -> AsyncIterator[HttpListener]:
    """Serve while the context lasts, over TLS if a folder with a certificate is given."""
    volume = opening.open_reader(settings)
    state = ServiceState(volume)
    operator = OperatorClient(settings.paths.socket, on_change=state.take)
    if settings.auth.unsafe_let_anyone_in_without_authentication:
        logger.warning(
            "authentication is switched off: anyone who reaches the port can read, start and delete everything"
        )
    async with AsyncExitStack() as stack:
        tls = (await stack.enter_async_context(Tls(tls_folder))).context if tls_folder else None
        for part in (state, operator):
            await stack.enter_async_context(part)
        files = await stack.enter_async_context(OpenFiles(volume, _open_remote(settings, volume)))
        keys = await stack.enter_async_context(KeySet(settings.auth.oidc))
        feldera = FelderaClient(settings.feldera.url) if settings.auth.feldera.enabled else None
        if feldera:
            await stack.enter_async_context(feldera)
        authenticator = Authenticator(settings.auth, operator, keys, feldera, padding_namespace=identity.namespace)
        sign_in = await stack.enter_async_context(Provider(settings.auth.oidc, settings.api.console.sign_in))
        forwarding = None
        if settings.storage.kind == "Bucket":
            certificate = tls_folder / "tls.crt" if tls_folder else None
            forwarding = await stack.enter_async_context(Forwarding(lambda: operator.leader_address, certificate))
        app = build_app(
            settings, identity, files=files, state=state, operator=operator, authenticator=authenticator,
            sign_in=sign_in, forwarding=forwarding,
        )  # fmt: skip
        host, limits = settings.api.host, settings.api
        numbers = HttpListener(
            metrics.build_app(operator, state),
            host,
            limits.metrics_port,
            drain_secs=0,
            idle_secs=metrics.IDLE_SECS,
            connection_limits=metrics.build_connection_limits(),
        )
        connection_limits = ConnectionLimits(
            *descriptors.choose_most(
                limits.max_connections, limits.max_connections_per_address, descriptors.raise_limit()
            )
        )
        listener = HttpListener(
            app,
            host,
            limits.port,
            drain_secs=limits.drain_secs,
            tls=tls,
            connection_limits=connection_limits,
        )
        async with numbers, listener:
            way = "HTTPS" if tls else "HTTP"
            logger.info("serving %s on port %d, metrics and probes on port %d", way, listener.port, numbers.port)
            logger.info(
                "%d connections at most, %d of one address", connection_limits.most, connection_limits.most_of_one
            )
            yield listener


def _open_remote(settings: Settings, store: StoreReader) -> RemoteFiles | None:
    if not isinstance(store, BucketReader):
        return None
    cache = FileCache(Path(settings.paths.cache), settings.storage.cache_bytes)
    cache.prepare()
    return RemoteFiles(store, cache)


async def run(settings: Settings, identity: Identity, tls_folder: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Then: not ready at once, no new connection a moment later, and downloads under
    way go on for `api.drainSecs`. Recordings are the operator's, and go on in any case."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    with access_log.writing_to_stdout():
        async with serve(settings, identity, tls_folder) as listener:
            tune_garbage_collector()
            await ended.wait()
            listener.app[STATE].is_closing = True
            logger.info("not ready any more; closing in %g s", settings.api.shutdown_delay_secs)
            await asyncio.sleep(settings.api.shutdown_delay_secs)
            logger.info("closing; downloads under way have %g s", settings.api.drain_secs)
