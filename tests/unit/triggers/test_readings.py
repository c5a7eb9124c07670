"""Metrics of Feldera's API as triggers: what Feldera says becomes a profile, once, and trouble with it stays there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import web

from samply_operator.exposition import sum_series
from samply_operator.feldera import directory
from samply_operator.feldera.answers import Stats
from samply_operator.feldera.client import FelderaClient, Login
from samply_operator.model.trigger import FelderaValue
from samply_operator.rules.triggers.facts import Place
from samply_operator.rules.triggers.metric import Answer
from samply_operator.settings import Feldera, Prometheus
from samply_operator.triggers import feldera as feldera_values
from samply_operator.triggers import readings, worker
from support.fake_feldera import FakeFeldera, Pipeline, make_pipeline_id
from support.operator_process import add_pipeline, put_trigger

from .conftest import SETTINGS, Stage
from .test_worker import Dead, add_idle_pipeline, list_reasons

ID = make_pipeline_id(1)
NO_LIMITS = {"cooldownSeconds": 0, "maxFirings": 100, "maxSampledPercent": 100}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "CHANGES_SECS", 0.02)
    monkeypatch.setattr(feldera_values, "SHARED_SECS", 0.1)


@pytest.fixture
async def feldera() -> AsyncIterator[FakeFeldera]:
    async with FakeFeldera(has_authentication=False) as feldera:
        feldera.add(1, "orders", metrics=METRICS)
        yield feldera


@pytest.fixture
async def orders(feldera: FakeFeldera, stage: Stage) -> AsyncIterator[Pipeline]:
    """Its pod runs, and the operator asks this Feldera."""
    add_pipeline(stage.cluster, ID)
    async with FelderaClient(feldera.url, answer_secs=1) as client:
        stage.feldera = client
        stage.settings = msgspec.structs.replace(SETTINGS, feldera=Feldera(feldera.url))
        yield feldera.pipelines[0]


def build(value: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    source = {"feldera": value or {"stat": "buffered_input_records"}}
    return {"metric": source | {"above": 1000, "everySeconds": 1} | fields}


async def test_a_backlog_is_recorded_once_until_it_is_over(stage: Stage, orders: Pipeline) -> None:
    put_trigger(stage.cluster, when=build(recovery=500), limits=NO_LIMITS)
    async with stage.run() as operator:
        await operator.reach(lambda: stage.status().get("value"))
        assert stage.profiles() == []
        for count, cycle in enumerate((5000, 7000), start=1):
            for backlog in (cycle, cycle + 1, 800):
                stage.now += 1
                orders.global_metrics["buffered_input_records"] = backlog
                await reach_value(stage, backlog)
            await operator.reach(lambda count=count: list_phases(stage) == ["Succeeded"] * count)
            stage.now += 1
            orders.global_metrics["buffered_input_records"] = 500
            await operator.reach(lambda: not stage.status().get("exceeding"))
        first = min(stage.profiles(), key=lambda p: p["metadata"]["annotations"]["samply.feldera.com/cause"])
        cause = first["metadata"]["annotations"]["samply.feldera.com/cause"]
        assert cause.startswith("buffered_input_records > 1000: 5000, since 2027-01-15T08:00:01")
        assert stage.status()["fired"] == 2
        assert list_reasons(stage).count("Fired") == 2


def list_phases(stage: Stage) -> list[str]:
    return [raw.get("status", {}).get("phase", "") for raw in stage.profiles()]


async def reach_value(stage: Stage, value: float | None) -> None:
    """It was read and decided on."""
    triggers = stage.operator.triggers

    def is_known() -> bool:
        known = triggers._known.get(("prod", "t-1"))
        states = known.observed.states.values() if known and known.observed else ()
        return [state.value for state in states] == [value]

    await stage.operator.reach(lambda: is_known() and triggers.queue.is_idle)


@pytest.mark.parametrize("step", range(1, 15))
async def test_killed_at_any_call_the_next_process_makes_exactly_one(step: int, stage: Stage, orders: Pipeline) -> None:
    orders.global_metrics["buffered_input_records"] = 5000
    put_trigger(stage.cluster, when=build(), limits=NO_LIMITS, template={"durationSeconds": 600, "mode": "InPlace"})
    calls = 0

    def fault(verb: str, what: str) -> BaseException | None:
        nonlocal calls
        calls += any(word in what for word in ("samply", "events"))
        return Dead() if calls >= step else None

    stage.cluster.fault = fault
    try:
        async with asyncio.timeout(1.0), stage.run() as operator:
            await operator.reach(lambda: stage.status().get("fired") and calls >= step)
    except (Dead, TimeoutError, BaseExceptionGroup):
        pass
    stage.cluster.fault = lambda verb, what: None
    stage.now += 3
    async with stage.run() as operator:
        await operator.reach(lambda: [each.get("fired") for each in stage.status().get("exceeding") or ()] == [True])
        stage.now += 1
        await operator.reach(lambda: operator.triggers.queue.is_idle)
        assert len(stage.profiles()) == 1


async def test_an_unreachable_feldera_is_told_and_stops_no_other_trigger(
    stage: Stage, orders: Pipeline, feldera: FakeFeldera
) -> None:
    await feldera.stop()
    put_trigger(stage.cluster, when=build())
    put_trigger(stage.cluster, "schedule", pipelines={"all": True})
    async with stage.run() as operator:
        await stage.reach_profiles(1)
        await reach_reason(stage, "SourceUnreachable")
        (condition,) = stage.status()["conditions"]
        assert condition["status"] == "False"
        assert feldera.url in condition["message"]
        await operator.reach(lambda: "SourceUnreachable" in list_reasons(stage))
        await feldera.start()
        await operator.reach(lambda: stage.status()["conditions"][0]["status"] == "True", secs=60)


@pytest.mark.parametrize("value", [{"stat": "no_such_field"}, {"metric": "no_such_metric"}], ids=str)
async def test_a_name_that_feldera_does_not_know_is_told(stage: Stage, orders: Pipeline, value: dict[str, Any]) -> None:
    put_trigger(stage.cluster, when=build(value))
    async with stage.run() as operator:
        await operator.reach(lambda: stage.status().get("lastNotFired", {}).get("reason") == "NoData")


@pytest.mark.parametrize("source", [{"prometheus": {"query": "up"}}, {"feldera": {"stat": "rss_bytes"}}], ids=str)
async def test_a_source_that_is_not_configured_is_told(stage: Stage, source: dict[str, Any]) -> None:
    add_pipeline(stage.cluster)
    put_trigger(stage.cluster, when={"metric": source | {"above": 1}})
    async with stage.run():
        await reach_reason(stage, "SourceNotConfigured")


async def reach_reason(stage: Stage, reason: str) -> None:
    """Of the condition Ready."""
    await stage.operator.reach(lambda: [c["reason"] for c in stage.status().get("conditions", ())] == [reason])


METRICS = """\
# HELP dbsp_step_latency_seconds Latency of DBSP steps.
# TYPE dbsp_step_latency_seconds histogram
dbsp_step_latency_seconds_bucket{pipeline="1",le="+Inf"} 10
dbsp_step_latency_seconds_sum{pipeline="1"} 2.5
dbsp_step_latency_seconds_count{pipeline="1"} 10
records_input_buffered{endpoint="a, b",pipeline="1"} 3 1700000000000
records_input_buffered{endpoint="c",pipeline="1"} 4e1
odd{ 1
odd NaN
"""


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        ({"records_input_buffered"}, {}, {"records_input_buffered": 43}),
        ({"records_input_buffered"}, {"endpoint": "a, b"}, {"records_input_buffered": 3}),
        ({"records_input_buffered"}, {"endpoint": "a"}, {}),
        ({"records_input"}, {}, {}),
        ({"dbsp_step_latency_seconds_sum", "dbsp_step_latency_seconds_count"}, {},
         {"dbsp_step_latency_seconds_sum": 2.5, "dbsp_step_latency_seconds_count": 10}),
    ],
)  # fmt: skip
def test_sums_of_series(names: set[str], labels: dict[str, str], expected: dict[str, float]) -> None:
    assert sum_series(METRICS.encode(), names, labels) == expected
    assert list(sum_series(METRICS.encode(), {"odd"}, {})) == ["odd"]


async def test_the_mean_latency_of_the_last_steps(stage: Stage, orders: Pipeline) -> None:
    latency = {"metric": "dbsp_step_latency_seconds_sum", "per": "dbsp_step_latency_seconds_count"}
    put_trigger(stage.cluster, when=build(latency, above=1), limits=NO_LIMITS)
    async with stage.run():
        await reach_value(stage, None)
        orders.metrics = METRICS.replace('_sum{pipeline="1"} 2.5', '_sum{pipeline="1"} 8.5').replace(
            '_count{pipeline="1"} 10', '_count{pipeline="1"} 12'
        )  # two steps of three seconds
        stage.now += 1
        await stage.reach_profiles(1)
        assert "_count > 1: 3, since" in stage.status()["lastFired"]["cause"]


async def test_a_slow_source_does_not_begin_anew_at_each_reading(stage: Stage, orders: Pipeline) -> None:
    """It is read less often than was asked for."""
    put_trigger(stage.cluster, when=build(forSeconds=60), limits=NO_LIMITS, dryRun=True)
    async with stage.run():
        for number in range(5):
            orders.global_metrics["buffered_input_records"] = 5000 + number
            await reach_value(stage, 5000 + number)
            stage.now += 20
            stage.uptime += 20
        await stage.operator.reach(lambda: stage.status().get("wouldHaveFired") == 1)


async def test_a_pipeline_that_hangs_delays_no_other_one(
    stage: Stage, orders: Pipeline, feldera: FakeFeldera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feldera_values, "FAST_SECS", 0.2)
    add_pipeline(stage.cluster, make_pipeline_id(2))
    feldera.add(2, "hanging", delay_secs=3600)
    orders.global_metrics["buffered_input_records"] = 5000
    put_trigger(stage.cluster, when=build(), pipelines={"all": True}, limits=NO_LIMITS, dryRun=True)
    async with FelderaClient(feldera.url, answer_secs=600) as stage.feldera, stage.run() as operator:
        await operator.reach(lambda: stage.status().get("wouldHaveFired") == 1)


HANGING = 16


@pytest.fixture
async def hanging(
    stage: Stage, orders: Pipeline, feldera: FakeFeldera, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Pipeline]]:
    """Pipelines that never answer, beside `orders`; each has its own trigger."""
    monkeypatch.setattr(feldera_values, "FAST_SECS", 0.3)
    found = []
    for number in range(2, 2 + HANGING):
        add_idle_pipeline(stage, make_pipeline_id(number))
        found.append(feldera.add(number, f"hanging-{number}", delay_secs=3600))
        names = {"names": [make_pipeline_id(number)]}
        put_trigger(stage.cluster, f"h-{number}", when=build(), pipelines=names, dryRun=True)
    async with FelderaClient(feldera.url, answer_secs=600) as stage.feldera:
        yield found


async def test_many_that_hang_hold_up_only_each_other(
    stage: Stage, hanging: list[Pipeline], feldera: FakeFeldera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few requests to them are under way at a time, and one to each."""
    put_trigger(stage.cluster, when=build(everySeconds=0), pipelines={"names": [ID]}, dryRun=True)
    client, under_way, most = stage.feldera, Counter[str](), Counter[str]()
    assert client is not None
    get_stats = client.get_stats

    async def get_counted(name: str, login: Login) -> Stats:
        under_way.update([name, ""])
        most.update({each: max(0, under_way[each] - most[each]) for each in (name, "")})
        try:
            return await get_stats(name, login)
        finally:
            under_way.subtract([name, ""])

    monkeypatch.setattr(client, "get_stats", get_counted)
    async with stage.run() as operator:

        def count(name: str) -> int:
            return sum(f"/{name}/stats" in path for path, _, _ in feldera.asked)

        await operator.reach(lambda: all(count(each.name) for each in hanging))
        before = count("orders")
        await operator.reach(lambda: count("orders") >= before + 5)
    assert most.pop("") <= feldera_values.MAX_FAST + 2 * feldera_values.MAX_SLOW
    assert set(most.values()) == {1}


class Source:
    """Values of many pipelines, each of which answers after its own time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answer_secs: float) -> None:
        self._answer_secs = {f"p-{number}": secs for number, secs in enumerate(answer_secs)}
        self.places = [Place(name, 0, ids=(f"id of {name}",)) for name in self._answer_secs]

        async def locate(*_: object) -> tuple[dict[str, tuple[str, Login]], None]:
            return {f"id of {name}": (name, Login("key")) for name in self._answer_secs}, None

        monkeypatch.setattr(directory, "locate", locate)
        engine = SimpleNamespace(context=SimpleNamespace(feldera=self, settings=SETTINGS))
        self.values = feldera_values.FelderaValues(engine)  # type: ignore[arg-type]

    async def get_stats(self, name: str, login: Login) -> Stats:
        await asyncio.sleep(self._answer_secs[name])
        return Stats(global_metrics={"backlog": 7})

    async def read(self) -> set[str]:
        """Pipelines with a value."""
        found: set[str] = set()
        async for answer in self.values.read(FelderaValue(stat="backlog"), self.places):
            found |= {value.pipeline for value in answer.values} if isinstance(answer, Answer) else set()
        return found


async def test_many_pipelines_are_all_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes longer than a trigger waits for a slow one."""
    monkeypatch.setattr(feldera_values, "FAST_SECS", 0.5)
    monkeypatch.setattr(feldera_values, "READ_SECS", 0.5)
    source = Source(monkeypatch, *[0.1] * 80)
    assert len(await source.read()) == 80
    await source.values.close()


async def test_a_slow_pipeline_is_read_beside_many_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feldera_values, "FAST_SECS", 0.1)
    monkeypatch.setattr(feldera_values, "SLOW_SECS", 2.0)
    monkeypatch.setattr(feldera_values, "READ_SECS", 1.5)
    source = Source(monkeypatch, 0.4, *[3600.0] * 12)
    source.values._slow |= {"id of p-0": 0} | {f"id of p-{number}": 1 for number in range(1, 13)}
    assert [await source.read() for _ in range(2)] == [{"p-0"}] * 2
    await source.values.close()


async def test_of_metrics_only_the_series_count(
    stage: Stage, orders: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feldera_values, "MAX_SERIES_BYTES", 200)
    orders.metrics = "# HELP backlog many words\n" * 100 + "backlog 5000\n"
    put_trigger(stage.cluster, when=build({"metric": "backlog"}), dryRun=True, limits=NO_LIMITS)
    async with stage.run() as operator:
        await operator.reach(lambda: stage.status().get("wouldHaveFired") == 1)
        orders.metrics = "backlog 5000\n" * 100
        await operator.reach(lambda: "MiB of metrics" in str(stage.status().get("lastNotFired")))


async def test_one_that_hung_is_read_again_when_it_answers(
    stage: Stage, hanging: list[Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feldera_values, "SLOW_SECS", 0.3)
    monkeypatch.setattr(feldera_values, "LONGEST_PAUSE_SECS", 0.5)
    async with stage.run() as operator:
        for name in (f"h-{number}" for number in range(2, 2 + HANGING)):
            await operator.reach(lambda name=name: "SourceUnreachable" in list_reasons(stage, name), secs=60)
            assert "hanging-" in stage.status(name)["lastNotFired"]["message"]
        values = operator.triggers.readings._feldera
        assert {each.id for each in hanging} <= values._slow.keys()
        for number, each in enumerate(hanging):
            each.delay_secs, each.global_metrics["buffered_input_records"] = 0, number
        await operator.reach(lambda: stage.status("h-17").get("value", "").startswith("15 "), secs=60)
        await operator.reach(lambda: not values._slow, secs=60)


@pytest.mark.parametrize(("failures", "secs"), [(0, 0.1), (1, 0.2), (4, 1.6), (20, 60), (10**6, 60)])
def test_the_longer_one_hangs_the_less_often_it_is_asked(failures: int, secs: float) -> None:
    assert feldera_values.find_pause(failures) == secs


async def test_pipelines_of_the_same_name_share_nothing(stage: Stage, orders: Pipeline, feldera: FakeFeldera) -> None:
    """They are in two namespaces, and have different ids."""
    orders.global_metrics["rss_bytes"] = 1
    feldera.add(2, "orders-too", global_metrics={"rss_bytes": 2})

    async def read(number: int) -> list[float]:
        place = Place("orders", 0, ids=(make_pipeline_id(number),))
        answers = operator.triggers.readings._feldera.read(FelderaValue("rss_bytes"), [place])
        return [value.value async for answer in answers if isinstance(answer, Answer) for value in answer.values]

    async with stage.run() as operator:
        assert await asyncio.gather(read(1), read(2)) == [[1], [2]]


async def test_slow_queries_to_prometheus_hold_up_only_each_other(stage: Stage) -> None:
    asked: Counter[str] = Counter()
    gate = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        query = request.query["query"]
        asked[query] += 1
        if query != "quick":
            await (asyncio.sleep(1.5) if asked[query] == 1 else gate.wait())
        return web.json_response({"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}})

    app = web.Application()
    app.router.add_get("/api/v1/query", answer)
    for number in range(10):
        put_prometheus_trigger(stage, f"s-{number}", f"slow-{number}")
    put_prometheus_trigger(stage, "t-1", "quick")
    async with serving(app) as url:
        stage.settings = msgspec.structs.replace(SETTINGS, prometheus=Prometheus(url))
        async with stage.run() as operator:
            await operator.reach(lambda: sum(asked[f"slow-{number}"] == 2 for number in range(10)) >= readings.WORKERS)
            for _ in range(5):
                before = asked["quick"]
                await operator.reach(lambda before=before: asked["quick"] > before, secs=5)
            assert sum(asked[f"slow-{number}"] == 2 for number in range(10)) == readings.WORKERS
            gate.set()


def put_prometheus_trigger(stage: Stage, name: str, query: str) -> None:
    metric = {"prometheus": {"query": query}, "above": 5, "everySeconds": 0}
    put_trigger(stage.cluster, name, when={"metric": metric}, dryRun=True)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("shared_secs", [0.1, 2.5])
async def test_an_increase_in_a_second_is_that_between_answers(
    shared_secs: float, stage: Stage, orders: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the clock says, and however old an answer is that triggers share."""
    monkeypatch.setattr(feldera_values, "SHARED_SECS", shared_secs)
    orders.cores = 2.0
    put_trigger(stage.cluster, when=build({"stat": "cpu_msecs", "per": "second"}, above=1e6), dryRun=True)
    values: set[float] = set()
    async with stage.run() as operator:

        def look() -> bool:
            stage.now += 0.5
            known = operator.triggers._known.get(("prod", "t-1"))
            states = known.observed.states.values() if known and known.observed else ()
            values.update(state.value for state in states if state.value is not None)
            return len(values) >= 2

        await operator.reach(look, secs=60)
    assert all(800 < value < 5000 for value in values), values


async def test_of_metrics_only_the_series_are_kept_and_for_a_moment(
    stage: Stage, orders: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feldera_values, "NAMES_SECS", 1.0)
    monkeypatch.setattr(feldera_values, "SHARED_SECS", 1.0)
    put_trigger(stage.cluster, when=build({"metric": "records_input_buffered"}, everySeconds=3600))
    async with stage.run() as operator:
        kept = operator.triggers.readings._feldera._kept
        await operator.reach(lambda: any(isinstance(answer, bytes) for answer in _list_answers(kept)))
        texts = _list_answers(kept)
        assert texts[0].startswith(b"dbsp_step_latency_seconds_bucket")
        await operator.reach(lambda: not kept)


def _list_answers(kept: Mapping[tuple[str, str], Any]) -> list[Any]:
    return [each.answer for (_, what), each in list(kept.items()) if what == "metrics"]


async def test_many_triggers_share_what_feldera_says(
    stage: Stage, orders: Pipeline, feldera: FakeFeldera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feldera_values, "SHARED_SECS", 60.0)
    for number in range(50):
        put_trigger(stage.cluster, f"t-{number}", when=build(everySeconds=3600), dryRun=True)
    orders.global_metrics["buffered_input_records"] = 5000
    async with stage.run() as operator:
        await operator.reach(lambda: all(stage.status(f"t-{n}").get("wouldHaveFired") for n in range(50)), secs=60)
        assert sum(path.endswith("/stats") for path, _, _ in feldera.asked) == 1
