"""The api's side of the unix socket: two streams kept open, and calls that act.

`live` is the operator's last word while the stream lives, and None as soon as it broke or fell silent: what can't
be known is never guessed from an old picture. `credentials` are kept when the operator goes, so that stored profiles
are still served; `read_at` in them says how old they are. Touches the socket only.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

import aiohttp
import msgspec

from samply_operator import errors, logs
from samply_operator.control import streams
from samply_operator.control.live import Live, build_live
from samply_operator.control.messages import (
    GIVE_UP_AT,
    REQUEST_ID,
    ActReply,
    ActRequest,
    AlertsReply,
    AlertsRequest,
    Credentials,
    ErrorReply,
    ExamineRequest,
    LeaderState,
    PreflightReply,
    ReviewReply,
    ReviewRequest,
    Snapshot,
    StartAllReply,
    StartAllRequest,
    StartReply,
    StartRequest,
    SupportBundleReply,
    SupportBundleRequest,
    Update,
)
from samply_operator.feldera.client import Login
from samply_operator.model.check import Report

logger = logging.getLogger(__name__)

SILENCE_SECS = 12.0
"""Longest gap in the stream: the operator speaks at least every 5 s."""
ANSWER_SECS = 15.0
"""Longest wait for the answer to a call, on top of the wait that the call itself asks for."""
EXAMINE_SECS = 30.0
"""Longest time that the checks of an installation take: some ask the API server dozens of questions."""
ALERTS_SECS = 15.0
"""The same for alerts, each of which may create profiles."""
REPEAT_SECS = 0.2
"""Pause until a start is sent again whose operator ended while it was under way."""
METRICS_SECS = 5.0
"""Maximum wait for the metrics: Prometheus usually waits 10 s."""

AWAY_REMEDY = "Try again in a few seconds; stored profiles are served meanwhile."

OnChange = Callable[[Live | None], None]
Reply = TypeVar("Reply")

_credentials = msgspec.json.Decoder(Credentials)
_states = msgspec.json.Decoder(Snapshot | Update)
_leaders = msgspec.json.Decoder(LeaderState)
_review_replies = msgspec.json.Decoder(ReviewReply)
_start_replies = msgspec.json.Decoder(StartReply)
_start_all_replies = msgspec.json.Decoder(StartAllReply)
_preflight_replies = msgspec.json.Decoder(PreflightReply)
_support_bundle_replies = msgspec.json.Decoder(SupportBundleReply)
_alerts_replies = msgspec.json.Decoder(AlertsReply)
_reports = msgspec.json.Decoder(Report)
_act_replies = msgspec.json.Decoder(ActReply)
_error_replies = msgspec.json.Decoder(ErrorReply)


def _ignore(live: Live | None) -> None:
    """The socket has no listener."""


class OperatorClient:
    """Use as `async with`; `on_change` is called in the loop with each new state, and with None on loss."""

    def __init__(self, socket_path: str, *, on_change: OnChange = _ignore, silence_secs: float = SILENCE_SECS) -> None:
        self.on_change = on_change
        self._socket_path = socket_path
        self._silence_secs = silence_secs
        self._live: Live | None = None
        self._session: aiohttp.ClientSession | None = None
        self._credentials = Credentials()
        self._leader = LeaderState()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def credentials(self) -> Credentials:
        """What the Secrets said last; empty until the operator was there."""
        return self._credentials

    @property
    def live(self) -> Live | None:
        """The operator's state; None while the operator is away."""
        return self._live

    @property
    def leader_address(self) -> str:
        """Where the pod is that leads; empty: it is this one, or isn't known."""
        return self._leader.address

    async def __aenter__(self) -> OperatorClient:
        self._session = aiohttp.ClientSession(
            base_url="http://operator", connector=aiohttp.UnixConnector(path=self._socket_path, limit=0)
        )
        self._tasks = [
            asyncio.create_task(self._watch(self._session), name="watch the operator"),
            asyncio.create_task(self._watch_credentials(self._session), name="watch the credentials"),
            asyncio.create_task(self._watch_leader(self._session), name="watch who leads"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._session:
            await self._session.close()

    async def review(self, login: Login, request: ReviewRequest) -> ReviewReply:
        """Ask who the bearer is of, and what they may. Raises as `start` does."""
        return await self._call("/v1/review", login, request, _review_replies)

    async def start(self, login: Login, request: StartRequest) -> StartReply:
        """Request a recording on behalf of the bearer. Raises the operator's own error, or OperatorUnavailable."""
        return await self._start("/v1/start", login, request, _start_replies)

    async def start_all(self, login: Login, request: StartAllRequest) -> StartAllReply:
        """Ask for a recording of each ordinal. Raises as `start` does, for what holds for all of them."""
        return await self._start("/v1/start-all", login, request, _start_all_replies)

    async def preflight(self, login: Login, request: StartRequest) -> PreflightReply:
        """Ask whether a recording would work. Raises as `start` does."""
        return await self._call("/v1/preflight", login, request, _preflight_replies, request.wait_secs)

    async def gather_evidence(self, login: Login, request: SupportBundleRequest) -> SupportBundleReply:
        """Ask for what only the operator knows of a pipeline. Raises as `start` does."""
        return await self._call("/v1/support-bundle", login, request, _support_bundle_replies)

    async def send_alerts(self, login: Login, request: AlertsRequest) -> AlertsReply:
        """Let the triggers decide on alerts. Raises as `start` does."""
        return await self._call("/v1/alerts", login, request, _alerts_replies, ALERTS_SECS)

    async def examine(self, login: Login) -> Report:
        """Ask for the checks of the installation. Raises as `start` does."""
        return await self._call("/v1/doctor", login, ExamineRequest(), _reports, EXAMINE_SECS)

    async def stop(self, login: Login, profile_id: str) -> ActReply:
        """Ask for the end of a recording, which is kept. Raises as `start` does."""
        return await self._call("/v1/stop", login, ActRequest(profile_id), _act_replies)

    async def delete(self, login: Login, profile_id: str) -> ActReply:
        """Ask for the removal of a profile, or for the cancellation of its recording. Raises as `start` does."""
        return await self._call("/v1/delete", login, ActRequest(profile_id), _act_replies)

    async def pin(self, login: Login, profile_id: str) -> ActReply:
        """Ask that retention keeps a profile. Raises as `start` does."""
        return await self._call("/v1/pin", login, ActRequest(profile_id), _act_replies)

    async def unpin(self, login: Login, profile_id: str) -> ActReply:
        """Ask that retention may remove it again. Raises as `start` does."""
        return await self._call("/v1/unpin", login, ActRequest(profile_id), _act_replies)

    async def get_metrics(self) -> bytes:
        """What the operator counts, in Prometheus' text format. Raises OperatorUnavailable."""
        if self._session is None:
            raise _unavailable("not connected")
        try:
            timeout = aiohttp.ClientTimeout(total=METRICS_SECS)
            async with self._session.get("/v1/metrics", timeout=timeout, raise_for_status=True) as response:
                return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(type(error).__name__) from error

    async def _start(
        self, path: str, login: Login, request: StartRequest | StartAllRequest, replies: msgspec.json.Decoder[Reply]
    ) -> Reply:
        """Sent again under the same name if the operator ends meanwhile: the next one finds what this one made."""
        named, loop = msgspec.structs.replace(request, request=uuid.uuid4()), asyncio.get_running_loop()
        until, was_lost = loop.time() + request.wait_secs, False
        while True:
            try:
                return await self._call(path, login, named, replies, until - loop.time())
            except (errors.OperatorUnavailable, errors.AccessUndecided) as error:
                was_lost = was_lost or _is_lost(error)
                if not was_lost or loop.time() + REPEAT_SECS > until + ANSWER_SECS:
                    raise
            await asyncio.sleep(REPEAT_SECS)

    async def _call(
        self,
        path: str,
        login: Login,
        request: msgspec.Struct,
        replies: msgspec.json.Decoder[Reply],
        wait_secs: float = 0.0,
    ) -> Reply:
        status, body = await self._post(path, login, msgspec.json.encode(request), wait_secs)
        try:
            if status == 200:
                return replies.decode(body)
            reply = _error_replies.decode(body)
        except msgspec.MsgspecError as error:
            raise _unavailable("its answer can't be read") from error
        raise build_error(reply)

    async def _post(self, path: str, login: Login, body: bytes, wait_secs: float) -> tuple[int, bytes]:
        if self._session is None:
            raise _unavailable("not connected")
        total = wait_secs + ANSWER_SECS
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=5)
        headers = {GIVE_UP_AT: str(time.time() + total), REQUEST_ID: logs.request_id.get()}
        headers |= login.build_headers()
        try:
            async with self._session.post(path, data=body, timeout=timeout, headers=headers) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise _unavailable(type(error).__name__) from error

    async def _watch(self, session: aiohttp.ClientSession) -> None:
        silence_secs = self._silence_secs
        await streams.follow(
            session, "/v1/watch", _states, silence_secs=silence_secs, on_message=self._take, on_loss=self._lose
        )

    async def _watch_leader(self, session: aiohttp.ClientSession) -> None:
        await streams.follow(
            session,
            "/v1/leader",
            _leaders,
            silence_secs=self._silence_secs,
            on_message=self._take_leader,
            on_loss=lambda _: self._take_leader(LeaderState()),
        )

    def _take_leader(self, state: LeaderState) -> None:
        if state != self._leader:
            logger.info("who leads: %s", state.address or "this pod, or nobody who is known")
        self._leader = state

    async def _watch_credentials(self, session: aiohttp.ClientSession) -> None:
        await streams.follow(
            session,
            "/v1/credentials",
            _credentials,
            silence_secs=self._silence_secs,
            on_message=self._take_credentials,
            on_loss=lambda reason: logger.debug("no word about credentials: %s", reason),
        )

    def _take_credentials(self, credentials: Credentials) -> None:
        """An operator that has just begun, and couldn't read them yet, takes nothing away."""
        if credentials.read_at >= self._credentials.read_at:
            self._credentials = credentials

    def _lose(self, reason: str) -> None:
        if self._live is not None:
            logger.warning("the operator is away: %s", reason)
            self._change(None)

    def _take(self, message: Snapshot | Update) -> None:
        if isinstance(message, Snapshot):
            self._change(build_live(message))
        elif self._live is not None:
            self._change(self._live.apply(message))

    def _change(self, live: Live | None) -> None:
        if self._live is None and live is not None:
            logger.info("the operator is there")
        self._live = live
        self.on_change(live)


def _unavailable(why: str) -> errors.OperatorUnavailable:
    return errors.OperatorUnavailable(f"The operator is away ({why}).", remedy=AWAY_REMEDY)


def _is_lost(error: errors.SamplyOperatorError) -> bool:
    """Whether the connection broke after the call was sent, so that its outcome is unknown."""
    cause = error.__cause__
    return isinstance(cause, aiohttp.ClientError | OSError) and not isinstance(
        cause, aiohttp.ClientConnectorError | TimeoutError
    )


def _walk(kind: type[errors.SamplyOperatorError]) -> Iterator[type[errors.SamplyOperatorError]]:
    """A class before its subclasses."""
    yield kind
    for child in kind.__subclasses__():
        yield from _walk(child)


def build_error(reply: ErrorReply) -> errors.SamplyOperatorError:
    """The error that the operator raised: same class, message, remedy and details. An unknown code: the base."""
    found = (kind for kind in _walk(errors.SamplyOperatorError) if kind.code == reply.error_code)
    kind = next(found, errors.SamplyOperatorError)
    return kind(reply.message, remedy=reply.remedy, details=reply.details)
