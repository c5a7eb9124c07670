"""Results for tokens, cached for a few seconds: never longer, never an error, never the token itself.

A caller waits for a pending result of the same request. Results that grant access are stored separately, so that a
flood of invented tokens or names cannot evict them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from samply_operator.errors import Unauthenticated
from samply_operator.rules.access.permissions import Who

KEEP_SECS = 5.0
"""The API server itself caches a good token for 10 s; both together are the documented 15 s."""
HIDDEN_SECS = 1.0
"""The same for callers who may see nothing of what they asked for, so that a new pipeline is soon visible."""
MAX_GOOD = 4096
MAX_BAD = 1024

Question = Hashable


@dataclass(frozen=True, slots=True)
class Found:
    """A caller, and how long it may be cached at most."""

    who: Who
    keep_secs: float = KEEP_SECS
    sees_something: bool = True
    """False: stored with the rejected ones."""


@dataclass(frozen=True, slots=True)
class _Kept:
    until: float
    answer: Who | Unauthenticated


class Verdicts:
    """`hash_token` makes the key of a token."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._salt = secrets.token_bytes(32)
        self._good: OrderedDict[Question, _Kept] = OrderedDict()
        self._bad: OrderedDict[Question, _Kept] = OrderedDict()
        self._asked: dict[Question, asyncio.Task[Found]] = {}

    def hash_token(self, token: str) -> bytes:
        return hmac.digest(self._salt, token.encode(), hashlib.sha256)

    def recall(self, question: Question) -> Who | None:
        """None: not cached. Raises Unauthenticated if that was the result."""
        now = self._clock()
        found = (self._good.get(question), self._bad.get(question))
        kept = next((each for each in found if each is not None and now < each.until), None)
        if kept is None:
            return None
        if isinstance(kept.answer, Unauthenticated):
            raise Unauthenticated(kept.answer.message, remedy=kept.answer.remedy)
        return kept.answer

    async def find(self, question: Question, ask: Callable[[], Awaitable[Found]]) -> Who:
        """The result of `ask`, cached for a moment. Only Who and Unauthenticated are cached, no other error."""
        kept = self.recall(question)
        if kept is not None:
            return kept
        task = self._asked.get(question)
        if task is None:
            task = self._asked[question] = asyncio.create_task(self._ask(question, ask))
            task.add_done_callback(lambda _: self._asked.pop(question, None))
        # Shielded: the first caller may disconnect while others wait.
        return (await asyncio.shield(task)).who

    async def _ask(self, question: Question, ask: Callable[[], Awaitable[Found]]) -> Found:
        began = self._clock()
        try:
            found = await ask()
        except Unauthenticated as error:
            self._good.pop(question, None)
            self._keep(self._bad, MAX_BAD, question, _Kept(began + KEEP_SECS, error.with_traceback(None)))
            raise
        kept = _Kept(began + min(KEEP_SECS, found.keep_secs), found.who)
        self._bad.pop(question, None)
        self._good.pop(question, None)
        if found.sees_something:
            self._keep(self._good, MAX_GOOD, question, kept)
        else:
            self._keep(self._bad, MAX_BAD, question, kept)
        return found

    def _keep(self, where: OrderedDict[Question, _Kept], most: int, question: Question, kept: _Kept) -> None:
        where[question] = kept
        where.move_to_end(question)
        while len(where) > most:
            where.popitem(last=False)
