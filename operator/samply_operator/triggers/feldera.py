"""Values of pipelines from Feldera's API. Answers are shared by all triggers that ask for them within a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from samply_operator.errors import FelderaError
from samply_operator.exposition import strip_comments, sum_series
from samply_operator.feldera import directory
from samply_operator.feldera.client import FelderaClient, Login
from samply_operator.model.trigger import FelderaValue
from samply_operator.recorder.engine import Engine
from samply_operator.rules.triggers import metric
from samply_operator.rules.triggers.facts import Place, Skip
from samply_operator.rules.triggers.metric import Answer, Value

FIRST_SECS = 1.0
SHARED_SECS = 2.0
NAMES_SECS = 15.0
MAX_CONCURRENT = 8

Result = TypeVar("Result")


@dataclass(slots=True)
class _Kept:
    """`answered_at` by a monotonic clock."""

    lock: asyncio.Lock
    answer: object = None
    answered_at: float = float("-inf")


class FelderaValues:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def read(self, wanted: FelderaValue, places: Sequence[Place]) -> AsyncIterator[Answer | Skip]:
        """First what was answered within FIRST_SECS, then the rest: a pipeline that hangs delays no other one. A Skip
        if no pipeline has a value and one did not answer."""
        if self._engine.context.feldera is None:
            yield Skip("SourceNotConfigured", "config.feldera.url is empty in the values of the operator's chart.")
            return
        pipelines = {place.pipeline: place.ids for place in places if place.ids}
        about = {place.pipeline for place in places} - pipelines.keys()  # nothing runs there
        located: Mapping[str, tuple[str, Login]] = {}
        faults: list[FelderaError] = []
        if pipelines:
            try:
                (known, fault), _ = await self._share("", "names", NAMES_SECS, self._locate)
            except FelderaError as error:
                yield Skip("SourceUnreachable", str(error))
                return
            located = {name: place for name, ids in pipelines.items() if (place := _find(known, ids))}
            faults += [fault] if fault else []
        silent = pipelines.keys() - located.keys()
        names = {asyncio.create_task(self._ask(wanted, name, *place)): name for name, place in located.items()}
        pending, has_value = set(names), False
        try:
            for limit_secs in (FIRST_SECS, None):
                done, pending = await asyncio.wait(pending, timeout=limit_secs) if pending else (set(), pending)
                answers = {names[task]: task.result() for task in done}
                failed = {name: answer for name, answer in answers.items() if isinstance(answer, FelderaError)}
                faults += failed.values()
                silent |= failed.keys()
                about |= answers.keys() - failed.keys()
                values = tuple(answer for answer in answers.values() if isinstance(answer, Value))
                has_value = has_value or bool(values)
                if has_value and (about or silent):
                    yield Answer(values, frozenset(about), frozenset(silent))
                    about, silent = set(), set()
        finally:
            for task in pending:
                task.cancel()
        if not has_value:
            yield (
                Skip("SourceUnreachable", str(faults[0])) if faults else Answer((), frozenset(about), frozenset(silent))
            )

    async def _locate(self) -> tuple[Mapping[str, tuple[str, Login]], FelderaError | None]:
        context = self._engine.context
        assert context.feldera is not None  # noqa: S101 - read() looked
        return await directory.locate(context.feldera, context.settings)

    async def _ask(self, wanted: FelderaValue, pipeline: str, name: str, login: Login) -> Value | FelderaError | None:
        client = self._engine.context.feldera
        assert client is not None  # noqa: S101 - read() looked
        try:
            if wanted.stat:
                stats, at = await self._share(pipeline, "stats", SHARED_SECS, lambda: client.get_stats(name, login))
                value, divisor = (
                    metric.read_number(stats.global_metrics.get(key)) for key in (wanted.stat, wanted.per)
                )
            else:
                text, at = await self._share(
                    pipeline, "metrics", SHARED_SECS, lambda: _fetch_metrics(client, name, login)
                )
                sums = await asyncio.to_thread(sum_series, text, {wanted.metric, wanted.per}, wanted.match_labels)
                value, divisor = sums.get(wanted.metric), sums.get(wanted.per)
        except FelderaError as error:
            return error
        return metric.build_value(wanted.per, pipeline, value, divisor, at)

    async def _share(
        self, pipeline: str, what: str, secs: float, ask: Callable[[], Awaitable[Result]]
    ) -> tuple[Result, float]:
        """The answer, and when it came by a monotonic clock; it is forgotten after `secs`. Raises FelderaError, also
        one that was met a moment ago."""
        kept = self._kept.setdefault((pipeline, what), _Kept(asyncio.Lock()))
        async with kept.lock:
            age_secs = time.monotonic() - kept.answered_at
            if age_secs > (SHARED_SECS if isinstance(kept.answer, FelderaError) else secs):
                try:
                    async with self._slots:
                        kept.answer = await ask()
                except FelderaError as error:
                    kept.answer = error
                kept.answered_at = time.monotonic()
                asyncio.get_running_loop().call_later(secs, self._forget, (pipeline, what), kept.answered_at)
        if isinstance(kept.answer, FelderaError):
            raise kept.answer
        answer: Result = kept.answer  # type: ignore[assignment]  # of this key, so of this kind
        return answer, kept.answered_at

    def _forget(self, key: tuple[str, str], answered_at: float) -> None:
        kept = self._kept.get(key)
        if kept is not None and kept.answered_at == answered_at:
            del self._kept[key]


async def _fetch_metrics(client: FelderaClient, name: str, login: Login) -> bytes:
    text = await client.get_metrics(name, login)
    return await asyncio.to_thread(strip_comments, text)


def _find(known: Mapping[str, tuple[str, Login]], ids: Sequence[str]) -> tuple[str, Login] | None:
    return next((known[each] for each in ids if each in known), None)
