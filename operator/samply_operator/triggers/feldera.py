"""Values of pipelines from Feldera's API. Answers are shared by all triggers that ask for them within a moment.

A pipeline is asked one thing at a time. One that has not answered within FAST_SECS is asked among the slow ones until
it is fast again, and less and less often while it does not answer at all: those that hang delay only each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakValueDictionary

from samply_operator.errors import FelderaError, FelderaUnavailable
from samply_operator.exposition import strip_comments, sum_series
from samply_operator.feldera import directory
from samply_operator.feldera.client import FelderaClient, Login
from samply_operator.model.trigger import FelderaValue
from samply_operator.recorder.engine import Engine
from samply_operator.rules.triggers import metric
from samply_operator.rules.triggers.facts import Place, Skip
from samply_operator.rules.triggers.metric import Answer, Value

FAST_SECS = 1.0
MAX_FAST = 8
"""Requests at the same time."""
SLOW_SECS = 3.5
MAX_SLOW = 4
READ_SECS = 5.0
"""A trigger waits no longer for the answers of slow pipelines: the shortest `everySeconds`."""
SHARED_SECS = 2.0
NAMES_SECS = 15.0
MAX_SERIES_BYTES = 2 * 1024 * 1024
"""Of one pipeline's metrics without comments, which are kept for SHARED_SECS."""
LONGEST_PAUSE_SECS = 60.0

Asking = asyncio.Task[Value | FelderaError | None]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Kept:
    """`answered_at` by a monotonic clock."""

    answer: object
    answered_at: float


@dataclass(frozen=True, slots=True)
class _Known:
    """A pipeline as Feldera knows it."""

    id: str
    name: str
    login: Login


class FelderaValues:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[_Kept]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._fast_slots = asyncio.Semaphore(MAX_FAST)
        self._slow_slots = asyncio.Semaphore(MAX_SLOW)
        self._hung_slots = asyncio.Semaphore(MAX_SLOW)
        self._slow: dict[str, int] = {}
        """By id: how often in a row it has not answered."""

    async def close(self) -> None:
        """End the requests that are under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def read(self, wanted: FelderaValue, places: Sequence[Place]) -> AsyncIterator[Answer | Skip | None]:
        """First what is answered quickly, perhaps nothing, then the rest. That takes READ_SECS, or longer if there are
        more pipelines than can be asked in this time. A Skip if no pipeline has a value and one did not answer."""
        if self._engine.context.feldera is None:
            yield Skip("SourceNotConfigured", "config.feldera.url is empty in the values of the operator's chart.")
            return
        pipelines = {place.pipeline: place.ids for place in places if place.ids}
        about = {place.pipeline for place in places} - pipelines.keys()  # nothing runs there
        located: Mapping[str, _Known] = {}
        faults: list[FelderaError] = []
        if pipelines:
            try:
                (known, fault), _ = await self._share("", "names", NAMES_SECS, self._locate)
            except FelderaError as error:
                yield Skip("SourceUnreachable", str(error))
                return
            located = {name: found for name, ids in pipelines.items() if (found := _find(known, ids))}
            faults += [fault] if fault else []
        silent, has_value = pipelines.keys() - located.keys(), False
        tasks = {asyncio.create_task(self._ask(wanted, name, found)): name for name, found in located.items()}
        quick = {task for task, name in tasks.items() if located[name].id not in self._slow}
        began = time.monotonic()
        try:
            for is_last in (False, True):
                if is_last:
                    answers = await self._collect_all(tasks, located, began + READ_SECS)
                else:
                    answers = await _collect(tasks, quick, began + FAST_SECS)
                failed = {name: answer for name, answer in answers.items() if isinstance(answer, FelderaError)}
                faults += failed.values()
                silent |= failed.keys()
                about |= answers.keys() - failed.keys()
                values = tuple(answer for answer in answers.values() if isinstance(answer, Value))
                has_value = has_value or bool(values)
                if has_value and (about or silent):
                    yield Answer(values, frozenset(about), frozenset(silent))
                    about, silent = set(), set()
                elif not is_last:
                    yield None
        finally:
            for task in tasks:
                task.cancel()
        if not has_value:
            yield (
                Skip("SourceUnreachable", str(faults[0])) if faults else Answer((), frozenset(about), frozenset(silent))
            )

    async def _collect_all(
        self, tasks: dict[Asking, str], located: Mapping[str, _Known], until: float
    ) -> dict[str, Value | FelderaError | None]:
        answers = await _collect(tasks, list(tasks), until)
        # Of many pipelines some wait for a slot: each of them is answered, or slow, within FAST_SECS of having it.
        while rest := [task for task, name in tasks.items() if located[name].id not in self._slow]:
            answers |= await _collect(tasks, rest, time.monotonic() + FAST_SECS)
        return answers | {name: _build_unanswered(name, READ_SECS) for name in tasks.values()}

    async def _locate(self) -> tuple[Mapping[str, tuple[str, Login]], FelderaError | None]:
        context = self._engine.context
        assert context.feldera is not None  # noqa: S101 - read() looked
        found, fault = await directory.locate(context.feldera, context.settings)
        if fault is not None and not found:
            raise fault
        self._slow = {each: count for each, count in self._slow.items() if each in found}
        return found, fault

    async def _ask(self, wanted: FelderaValue, pipeline: str, known: _Known) -> Value | FelderaError | None:
        client = self._engine.context.feldera
        assert client is not None  # noqa: S101 - read() looked
        try:
            if wanted.stat:
                stats, at = await self._share(
                    known.id,
                    "stats",
                    SHARED_SECS,
                    lambda: self._fetch(known, lambda: client.get_stats(known.name, known.login)),
                )
                value, divisor = (
                    metric.read_number(stats.global_metrics.get(key)) for key in (wanted.stat, wanted.per)
                )
            else:
                text, at = await self._share(
                    known.id, "metrics", SHARED_SECS, lambda: self._fetch(known, lambda: _get_metrics(client, known))
                )
                sums = await asyncio.to_thread(sum_series, text, {wanted.metric, wanted.per}, wanted.match_labels)
                value, divisor = sums.get(wanted.metric), sums.get(wanted.per)
        except FelderaError as error:
            return error
        return metric.build_value(wanted.per, pipeline, value, divisor, at)

    async def _share(
        self, owner: str, what: str, secs: float, ask: Callable[[], Awaitable[Result]]
    ) -> tuple[Result, float]:
        """The answer, and when it came by a monotonic clock; it is kept for `secs`. Raises FelderaError, also one of
        before: that of a pipeline that hangs is kept for longer each time."""
        kept = self._kept.get((owner, what))
        if kept is None:
            task = self._asking.get((owner, what))
            if task is None:
                task = asyncio.create_task(self._keep(owner, what, secs, ask))
                self._asking[owner, what] = task
            kept = await asyncio.shield(task)  # whoever stops waiting, what hangs is to be known
        if isinstance(kept.answer, FelderaError):
            raise kept.answer
        found: Result = kept.answer  # type: ignore[assignment]  # of this key, so of this kind
        return found, kept.answered_at

    async def _keep(self, owner: str, what: str, secs: float, ask: Callable[[], Awaitable[object]]) -> _Kept:
        try:
            async with self._locks.setdefault(owner, asyncio.Lock()):
                answer = await ask()
        except FelderaError as error:
            answer = error
            secs = find_pause(self._slow.get(owner, 0))
        finally:
            del self._asking[owner, what]
        kept = self._kept[owner, what] = _Kept(answer, time.monotonic())
        asyncio.get_running_loop().call_later(secs, self._kept.pop, (owner, what), None)
        return kept

    async def _fetch(self, known: _Known, ask: Callable[[], Awaitable[Result]]) -> Result:
        """Raises FelderaError, FelderaUnavailable if there is no answer in time."""
        if known.id not in self._slow:
            try:
                async with self._fast_slots, asyncio.timeout(FAST_SECS):
                    return await ask()
            except TimeoutError:
                self._slow[known.id] = 0
        # One that did not answer the last time must not keep a slot from one that does, slowly.
        async with self._hung_slots if self._slow.get(known.id) else self._slow_slots:
            began = time.monotonic()
            try:
                async with asyncio.timeout(SLOW_SECS):
                    answer = await ask()
            except TimeoutError as error:
                self._note(known.id, began, has_answered=False)
                raise _build_unanswered(known.name, SLOW_SECS) from error
            except FelderaError:
                self._note(known.id, began, has_answered=False)
                raise
            self._note(known.id, began, has_answered=True)
            return answer

    def _note(self, pipeline: str, began: float, *, has_answered: bool) -> None:
        """Of one that is among the slow ones. A quick error is an answer too, and not that of one that hangs."""
        if time.monotonic() - began < FAST_SECS:
            self._slow.pop(pipeline, None)
        else:
            self._slow[pipeline] = 0 if has_answered else self._slow.get(pipeline, 0) + 1


def find_pause(failures: int) -> float:
    """How long an error is kept, in seconds, of a pipeline that has not answered so often in a row."""
    return min(LONGEST_PAUSE_SECS, SHARED_SECS * 2.0 ** min(failures, 10))


async def _collect(
    tasks: dict[Asking, str], group: Collection[Asking], until: float
) -> dict[str, Value | FelderaError | None]:
    """By name, those of all `tasks` that have ended when the group has, or at that time; they are removed."""
    if group:
        await asyncio.wait(group, timeout=max(0.0, until - time.monotonic()))
    return {tasks.pop(task): task.result() for task in list(tasks) if task.done()}


async def _get_metrics(client: FelderaClient, known: _Known) -> bytes:
    text = await client.get_metrics(known.name, known.login)
    series = await asyncio.to_thread(strip_comments, text)
    if len(series) > MAX_SERIES_BYTES:
        raise FelderaUnavailable(
            f"Pipeline {known.name} has more than {MAX_SERIES_BYTES >> 20} MiB of metrics.",
            remedy="Use a field of its stats, or a Prometheus that scrapes it.",
        )
    return series


def _find(known: Mapping[str, tuple[str, Login]], ids: Sequence[str]) -> _Known | None:
    return next((_Known(each, *known[each]) for each in ids if each in known), None)


def _build_unanswered(name: str, secs: float) -> FelderaUnavailable:
    return FelderaUnavailable(f"Pipeline {name} has not answered within {secs:g} s.", remedy="Look at its log.")
