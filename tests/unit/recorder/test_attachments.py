"""What Feldera says of a pipeline is kept with the profile of the same seconds; what it does not say is told, and the
recording stands."""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from samply_operator.feldera.client import FelderaClient
from samply_operator.kube import objects
from samply_operator.kube.events import EventSink
from samply_operator.model.attachment import BY_DEFAULT, NAMES, Kind
from samply_operator.model.manifest import JournalEntry, Manifest
from samply_operator.recorder.context import Context
from samply_operator.recorder.feldera import attachments
from samply_operator.recorder.feldera.attachments import Attachments, AttachmentTooLargeError, PackedFile
from samply_operator.recorder.journal import Journal
from samply_operator.recorder.pod.collect import Attached
from samply_operator.rules import times
from samply_operator.rules.recording import admit
from samply_operator.rules.recording import attachments as rules
from samply_operator.settings import Settings
from samply_operator.store.durable import VOLUME
from samply_operator.store.volume import Volume
from support import circuit_recording
from support.fake_cluster import FakeCluster, Json
from support.fake_feldera import READER, STRANGER, FakeFeldera, Key, Pipeline, make_pipeline_id
from support.operator_process import OperatorProcess, add_pipeline, add_pod, ask, put_trigger
from support.samples import LABELS, make_entry

from .conftest import SETTINGS, use_keys
from .test_engine import assert_nothing_left
from .test_restarts import Dead, Kill

ALL: tuple[Kind, ...] = ("Stats", "Metrics", "CircuitProfile", "HeapProfile")
ID = make_pipeline_id(1)
HEAP = gzip.compress(b"\x0a\x04heap", mtime=0)
METRICS = "process_cpu_seconds_total 7\n"


@pytest.fixture
async def feldera() -> AsyncIterator[FakeFeldera]:
    async with FakeFeldera() as feldera:
        feldera.add(
            1,
            "orders",
            global_metrics={"rss_bytes": 4711},
            metrics=METRICS,
            circuit_profile=circuit_recording.CIRCUIT,
            heap_profile=HEAP,
            profile=circuit_recording.make(),
            ends_by_itself=True,
            cores=1.9,
        )
        yield feldera


@pytest.fixture
async def client(feldera: FakeFeldera) -> AsyncIterator[FelderaClient]:
    async with FelderaClient(feldera.url, answer_secs=2) as client:
        yield client


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return use_keys(SETTINGS, tmp_path / "keys")


# ---------------------------------------------------------------------------------------------- without a recording


class Desk:
    """One recording's attachments, its journal, and the volume."""

    def __init__(self, root: Path, settings: Settings, client: FelderaClient | None, **changes: Any) -> None:
        self.volume = Volume(root, min_free_bytes=1)
        self.volume.prepare()
        nothing: Any = None
        events = EventSink(nothing, "operator-0")
        self.context = Context(nothing, self.volume, events, settings, time.time, feldera=client)
        now = time.time()
        told = {"started_at": times.format_time(now), "ends_at": times.format_time(now + 30), "duration_secs": 30}
        self.entry = make_entry(**{"pipeline_id": ID, "attachments": ALL} | told | changes)

    def open(self, entry: JournalEntry | None = None) -> Attachments:
        """Those of the next process, if there was one before."""
        return Attachments(self.context, Journal(self.volume, entry or self.entry))

    async def fetch(self) -> Attached:
        """As at the end of sampling."""
        opened = self.open()
        opened.hurry()
        return await opened.take()

    def read_entry(self) -> JournalEntry:
        entry = self.volume.read_entry(self.entry.id)
        assert entry is not None
        return entry

    def list_tmp(self) -> list[str]:
        return sorted(path.name.removeprefix(f"{self.entry.id}-") for path in (self.volume.root / "tmp").iterdir())


@pytest.fixture
def desk(tmp_path: Path, settings: Settings, client: FelderaClient) -> Desk:
    return Desk(tmp_path / "data", settings, client)


def limit(desk: Desk, **changes: int) -> None:
    settings = desk.context.settings
    recording = msgspec.structs.replace(settings.recording, **changes)
    changed = msgspec.structs.replace(settings, recording=recording)
    desk.context = Context(
        desk.context.client, desk.volume, desk.context.events, changed, time.time, feldera=desk.context.feldera
    )


def list_problems(attached: Attached) -> dict[str, str]:
    return {each.kind: each.problem for each in attached.facts if each.problem}


def read(attached: Attached, kind: Kind) -> bytes:
    return gzip.decompress(attached.files[NAMES[kind]].read_bytes())


def count_asked(feldera: FakeFeldera) -> int:
    """Questions about what a pipeline says of itself."""
    return sum(path.rpartition("/")[2] in attachments.DOCUMENTS.values() for path, _, _ in feldera.asked)


async def test_all_that_feldera_says_is_kept_as_gzip(desk: Desk) -> None:
    before = times.format_time(time.time())
    attached = await desk.fetch()
    assert list_problems(attached) == {}
    assert [each.kind for each in attached.facts] == list(ALL)
    assert json.loads(read(attached, "Stats"))["global_metrics"]["rss_bytes"] == 4711
    assert read(attached, "Metrics") == METRICS.encode()
    assert json.loads(read(attached, "CircuitProfile")) == circuit_recording.CIRCUIT
    assert attached.files[NAMES["HeapProfile"]].read_bytes() == HEAP, "what is gzip is not packed again"
    for each in attached.facts:
        assert each.file is not None
        assert each.file.size_bytes == attached.files[each.name].stat().st_size
        assert before <= each.taken_at <= times.format_time(time.time())
    metrics = attached.facts[1].file
    assert metrics is not None
    assert metrics.raw_bytes == len(METRICS)
    assert desk.read_entry().attached == attached.facts


async def test_nobody_asks_feldera_where_nothing_is_wanted(desk: Desk, feldera: FakeFeldera) -> None:
    desk.entry = msgspec.structs.replace(desk.entry, attachments=())
    assert await desk.fetch() == Attached()
    assert feldera.asked == []
    assert desk.volume.read_entry(desk.entry.id) is None


async def test_they_wait_for_the_middle_and_are_dropped_if_the_recording_ends_before(
    desk: Desk, feldera: FakeFeldera
) -> None:
    opened = desk.open()
    opened.start()
    await asyncio.sleep(0.2)
    await opened.drop()
    assert (feldera.asked, desk.list_tmp()) == ([], [])


async def test_a_heap_profile_that_is_not_gzip_is_packed(desk: Desk, orders: Pipeline) -> None:
    orders.heap_profile = b"\x0a\x04heap"
    assert read(await desk.fetch(), "HeapProfile") == b"\x0a\x04heap"


Change = Callable[[Desk, FakeFeldera], None]


def configure_nothing(desk: Desk, feldera: FakeFeldera) -> None:
    desk.context = Context(desk.context.client, desk.volume, desk.context.events, desk.context.settings, time.time)


def revoke(desk: Desk, feldera: FakeFeldera) -> None:
    del feldera.keys[READER], feldera.keys[STRANGER]


def fill_the_volume(desk: Desk, feldera: FakeFeldera) -> None:
    """They would fit, and would leave less for the profile than it may need."""
    limit(desk, max_attachments_bytes=desk.volume.room_bytes() // 2)


def change_entry(**changes: Any) -> Change:
    def change(desk: Desk, feldera: FakeFeldera) -> None:
        desk.entry = msgspec.structs.replace(desk.entry, **changes)

    return change


def change_pipeline(**changes: Any) -> Change:
    def change(desk: Desk, feldera: FakeFeldera) -> None:
        for name, value in changes.items():
            setattr(feldera.pipelines[0], name, value)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(configure_nothing, "config.feldera.url is empty", id="not configured"),
        pytest.param(change_entry(pipeline_id=""), "does not say which pipeline", id="not Feldera's"),
        pytest.param(change_entry(pipeline_id=make_pipeline_id(9)), "no pipeline with the id", id="unknown"),
        pytest.param(change_pipeline(status="Stopped"), "not deployed", id="stopped"),
        pytest.param(revoke, "Feldera answers 401", id="the keys are revoked"),
        pytest.param(fill_the_volume, "too little space", id="no room"),
        pytest.param(change_entry(ends_at="2026-01-01T00:00:00.000Z"), rules.TOO_LATE, id="too late"),
    ],
)
async def test_what_cannot_be_had_is_missing_with_the_reason(
    change: Change, says: str, desk: Desk, feldera: FakeFeldera
) -> None:
    change(desk, feldera)
    attached = await desk.fetch()
    problems = list_problems(attached)
    assert list(problems) == list(ALL)
    assert all(says in problem for problem in problems.values()), problems
    assert (attached.files, desk.list_tmp()) == ({}, [])


async def test_feldera_may_be_away(desk: Desk, feldera: FakeFeldera) -> None:
    await feldera.stop()
    assert all("cannot be reached" in problem for problem in list_problems(await desk.fetch()).values())


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        pytest.param({"heap_profile": None}, "HeapProfile", "Feldera answers 400", id="its platform has none"),
        pytest.param({"metrics": ""}, "Metrics", "empty", id="an empty answer"),
        pytest.param({"metrics": secrets.token_hex(30_000)}, "Metrics", "maxAttachmentBytes", id="too large"),
        pytest.param({"heap_profile": b"\x1f\x8b" + bytes(30_000)}, "HeapProfile", "20000 bytes", id="gzip, too large"),
    ],
)
async def test_one_that_cannot_be_had_leaves_the_others_alone(
    change: dict[str, Any], kind: Kind, says: str, desk: Desk, orders: Pipeline
) -> None:
    limit(desk, max_attachment_bytes=20_000)
    for name, value in change.items():
        setattr(orders, name, value)
    attached = await desk.fetch()
    problems = list_problems(attached)
    assert list(problems) == [kind]
    assert says in problems[kind]
    assert desk.list_tmp() == sorted(NAMES[each] for each in ALL if each != kind)


async def test_all_of_a_profile_have_a_limit_too(desk: Desk, orders: Pipeline) -> None:
    """Those that are asked for first have the room."""
    orders.metrics = secrets.token_hex(30_000)
    limit(desk, max_attachments_bytes=20_000)
    assert list(list_problems(await desk.fetch())) == ["Metrics"]
    limit(desk, max_attachments_bytes=1)
    assert list(list_problems(await desk.fetch())) == list(ALL)
    assert desk.list_tmp() == []


async def test_a_feldera_that_hangs_is_not_waited_for(
    desk: Desk, feldera: FakeFeldera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "ANSWER_SECS", 0.3)
    feldera.delay_secs = 60
    async with asyncio.timeout(20):
        attached = await desk.fetch()
    assert set(list_problems(attached).values()) == {attachments.LATE}


async def test_the_limit_also_ends_an_answer_that_is_too_large_by_then(
    desk: Desk, feldera: FakeFeldera, orders: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other one is requested after it."""

    async def stream() -> AsyncIterator[bytes]:
        yield b"\x0a" + secrets.token_bytes(300)
        await asyncio.sleep(60)

    orders.heap_profile = stream()
    monkeypatch.setattr(attachments, "ANSWER_SECS", 3.0)
    limit(desk, max_attachment_bytes=200)
    desk.entry = msgspec.structs.replace(desk.entry, attachments=("HeapProfile", "CircuitProfile"))
    attached = await desk.fetch()
    assert count_asked(feldera) == 1
    assert list_problems(attached) == dict.fromkeys(desk.entry.attachments, attachments.LATE)


async def test_other_tenants_that_hang_are_not_waited_for_one_by_one(
    desk: Desk, feldera: FakeFeldera, tmp_path: Path
) -> None:
    """Each takes the client's limit, two seconds here; all of them would take more than there is for everything."""
    for number in range(12):
        feldera.keys[key := f"apikey:hangs-{number}"] = Key(("other",), delay_secs=60)
        (tmp_path / "keys" / f"a-{number}").write_text(key)  # asked before acme
    assert list_problems(await desk.fetch()) == {}


async def test_no_room_stays_reserved(desk: Desk, feldera: FakeFeldera) -> None:
    """Neither after a success, nor by a recording that ended meanwhile."""
    await desk.fetch()
    feldera.delay_secs = 60
    opened = desk.open()
    opened.hurry()
    while not desk.volume._space._reserved_bytes:
        await asyncio.sleep(0.01)
    await opened.drop()
    assert desk.volume._space._reserved_bytes == 0


async def test_what_is_on_the_volume_is_not_reserved_any_more(
    desk: Desk, orders: Pipeline, feldera: FakeFeldera
) -> None:
    """It would count twice, and the profile might not fit."""
    desk.entry = msgspec.structs.replace(desk.entry, attachments=("Metrics", "HeapProfile"))
    orders.metrics, orders.heap_profile = secrets.token_hex(30_000), hang()
    opened = desk.open()
    opened.hurry()
    async with asyncio.timeout(20):
        while not any(path.endswith("/heap_profile") for path, _, _ in feldera.asked):
            await asyncio.sleep(0.01)
    size_bytes = (desk.volume.root / "tmp" / f"{desk.entry.id}-{NAMES['Metrics']}").stat().st_size
    limit_bytes = desk.context.settings.recording.max_attachments_bytes
    assert desk.volume._space._reserved_bytes == limit_bytes - size_bytes
    await opened.drop()


async def hang() -> AsyncIterator[bytes]:
    yield b"\x0a"
    await asyncio.sleep(60)


async def test_they_make_room(desk: Desk, orders: Pipeline, feldera: FakeFeldera) -> None:
    """Also one that is just being written; why another one was missing before is still told."""
    desk.entry = msgspec.structs.replace(desk.entry, attachments=("Metrics", "Stats", "HeapProfile"))
    orders.metrics, orders.heap_profile = "", hang()
    opened = desk.open()
    assert not await opened.give_up("unused"), "nothing was fetched yet"
    opened.hurry()
    async with asyncio.timeout(20):
        while NAMES["HeapProfile"] not in desk.list_tmp():
            await asyncio.sleep(0.01)
    assert await opened.give_up(rules.NO_ROOM)
    assert (desk.list_tmp(), desk.volume._space._reserved_bytes) == ([], 0)
    attached = await opened.take()
    problems = list_problems(attached)
    assert "empty" in problems.pop("Metrics")
    assert (problems, attached.files) == ({"Stats": rules.NO_ROOM, "HeapProfile": rules.NO_ROOM}, {})


Delay = Callable[..., None]


@pytest.fixture
def delay(orders: Pipeline, client: FelderaClient, monkeypatch: pytest.MonkeyPatch) -> Delay:
    """Makes Feldera answer late: seconds by document."""
    save = client.save

    def change(**delays: float) -> None:
        async def save_late(name: str, what: Any, *more: Any, **options: Any) -> None:
            orders.delay_secs = delays.get(what, 0.0)
            await save(name, what, *more, **options)

        monkeypatch.setattr(client, "save", save_late)

    return change


async def test_what_was_fetched_before_feldera_hung_is_kept(
    desk: Desk, delay: Delay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine may answer late: what it makes has more time than the client's usual limit, two seconds here."""
    delay(circuit_json_profile=2.5, heap_profile=60.0)
    monkeypatch.setattr(attachments, "ANSWER_SECS", 7.0)
    assert list(list_problems(await desk.fetch())) == ["HeapProfile"]


async def test_a_slow_one_is_requested_last(desk: Desk, delay: Delay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order in the spec: else it would use the time of the others."""
    delay(circuit_json_profile=60.0)
    monkeypatch.setattr(attachments, "ANSWER_SECS", 5.0)
    desk.entry = msgspec.structs.replace(desk.entry, attachments=("CircuitProfile", "Metrics", "Stats"))
    assert list(list_problems(await desk.fetch())) == ["CircuitProfile"]


# ------------------------------------------------------------------------------------------------------- restarts


async def test_the_next_process_takes_over_what_was_fetched(desk: Desk, feldera: FakeFeldera) -> None:
    """However long it was away."""
    first = await desk.fetch()
    await feldera.stop()
    asked = count_asked(feldera)
    entry = msgspec.structs.replace(desk.read_entry(), ends_at="2026-01-01T00:00:00.000Z")
    opened = desk.open(entry)
    opened.resume()
    opened.hurry()
    assert await opened.take() == first
    assert count_asked(feldera) == asked


async def test_why_one_was_missing_outlasts_a_restart(desk: Desk, orders: Pipeline) -> None:
    """What could not be had is asked for once more while there is time; later the first reason stands."""
    orders.heap_profile = None
    first = await desk.fetch()
    assert "not supported here" in list_problems(first)["HeapProfile"]
    entry = desk.read_entry()
    opened = desk.open(msgspec.structs.replace(entry, ends_at="2026-01-01T00:00:00.000Z"))
    opened.hurry()
    assert await opened.take() == first
    orders.heap_profile = HEAP
    opened = desk.open(entry)
    opened.hurry()
    assert list_problems(await opened.take()) == {}


@pytest.mark.parametrize("damage", [b"", b"else", None], ids=["empty", "another", "gone"])
async def test_a_file_that_is_not_as_it_was_is_fetched_again(
    damage: bytes | None, desk: Desk, feldera: FakeFeldera
) -> None:
    first = await desk.fetch()
    path = first.files[NAMES["Metrics"]]
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    asked = count_asked(feldera)
    opened = desk.open(desk.read_entry())
    opened.hurry()
    again = await opened.take()
    assert list_problems(again) == {}
    assert read(again, "Metrics") == METRICS.encode()
    assert count_asked(feldera) == asked + 1


async def test_a_lost_file_of_an_earlier_time_is_missing(desk: Desk) -> None:
    """A pod on another node has an empty spool."""
    (await desk.fetch()).files[NAMES["Stats"]].unlink()
    opened = desk.open(msgspec.structs.replace(desk.read_entry(), ends_at="2026-01-01T00:00:00.000Z"))
    opened.hurry()
    assert list_problems(await opened.take()) == {"Stats": rules.TOO_LATE}


# ---------------------------------------------------------------------------------------------------- the packed file


def test_a_write_that_was_given_up_comes_to_nothing(tmp_path: Path) -> None:
    """Its thread may run on after the file was closed."""
    file = PackedFile(tmp_path / "x", 1000, VOLUME)
    file.write(b"a")
    file.finish()
    file.close()
    file.write(b"b")
    file.close()
    assert gzip.decompress((tmp_path / "x").read_bytes()) == b"a"


def test_the_size_counts_when_all_is_compressed(tmp_path: Path) -> None:
    """Text that shrinks may be longer than the limit; the last bytes come at the end."""
    file = PackedFile(tmp_path / "x", 100, VOLUME)
    file.write(bytes(50_000))
    file.finish()
    file.close()
    file = PackedFile(tmp_path / "y", 100, VOLUME)
    file.write(secrets.token_bytes(200))
    with pytest.raises(AttachmentTooLargeError, match="100 bytes"):
        file.finish()
    file.close()


def test_closing_a_file_raises_nothing(tmp_path: Path) -> None:
    """Not even on a full volume: it would replace a cancellation, and with it the end of a time limit."""
    (tmp_path / "x").symlink_to("/dev/full")
    file = PackedFile(tmp_path / "x", 1000, VOLUME)
    file.write(b"a")
    file.close()
    file.close()


# ------------------------------------------------------------------------------------------------------- recordings


@pytest.fixture
async def operator(
    cluster: FakeCluster, tmp_path: Path, settings: Settings, client: FelderaClient
) -> AsyncIterator[OperatorProcess]:
    add_pipeline(cluster, ID)
    async with OperatorProcess(cluster, tmp_path / "data", settings, feldera=client) as operator:
        yield operator


async def reach_end(operator: OperatorProcess, raw: Json) -> Manifest:
    """The manifest of a good profile; nothing is left over."""
    status = await operator.reach_phase(raw["metadata"]["name"], "Succeeded", "Failed", "Cancelled")
    assert status["phase"] == "Succeeded", status
    await operator.reach_rest()
    assert_nothing_left(operator)
    manifest = operator.volume.read_manifest(raw["metadata"]["uid"])
    assert manifest is not None
    return manifest


def list_files(operator: OperatorProcess, manifest: Manifest) -> set[str]:
    return {path.name for path in (operator.volume.root / "profiles" / manifest.id).iterdir()}


def list_kinds(manifest: Manifest) -> list[str]:
    return [each.kind for each in manifest.attachments if each.file]


@pytest.mark.parametrize("mode", ["InPlace", "Pipeline"])
async def test_a_profile_has_what_was_asked_for(mode: str, operator: OperatorProcess, cluster: FakeCluster) -> None:
    raw = ask(cluster, pipeline=ID, mode=mode, durationSeconds=2, attachments=list(ALL))
    manifest = await reach_end(operator, raw)
    assert list_kinds(manifest) == list(ALL)
    assert {NAMES[kind] for kind in ALL} <= list_files(operator, manifest)
    middle = times.parse_time(manifest.started_at) + 1
    assert all(times.parse_time(each.taken_at) > middle - 0.1 for each in manifest.attachments)
    assert not any("attachments" in text for text in manifest.warnings)
    status = operator.find_status("p-1")
    assert [(each["kind"], each["name"]) for each in status["attachments"]] == [*NAMES.items()]
    assert "AttachmentMissing" not in operator.list_events("p-1")
    with operator.volume.open_extra(manifest.id, NAMES["Metrics"]) as file:
        assert gzip.decompress(file.read()) == METRICS.encode()
    sizes = [each.file.size_bytes for each in manifest.attachments if each.file]
    assert set(sizes) <= set(operator.volume.list_extra_sizes(manifest.id)), "retention counts them"
    assert operator.volume.remove(manifest.id)
    assert operator.volume.list_extra_sizes(manifest.id) == ()


async def test_without_a_wish_feldera_is_not_asked(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    manifest = await reach_end(operator, ask(cluster, pipeline=ID))
    assert (manifest.attachments, count_asked(feldera)) == ((), 0)


@pytest.mark.parametrize(("wish", "kinds"), [({}, BY_DEFAULT), ({"attachments": []}, ())], ids=["default", "none"])
async def test_a_triggers_profile_has_the_usual_ones(
    wish: Json, kinds: tuple[str, ...], operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """End to end: from the trigger to the files."""
    operator.change_context(now=lambda: 1_800_000_000.25)
    put_trigger(cluster, template={"durationSeconds": 1, "mode": "InPlace", "comparison": {"baseline": "None"}} | wish)
    await operator.reach(operator.list_profiles)
    (raw,) = operator.list_profiles()
    manifest = await reach_end(operator, raw)
    assert tuple(list_kinds(manifest)) == kinds
    assert list_files(operator, manifest) == {"manifest.json", "profile.json.gz"} | {
        NAMES[cast("Kind", kind)] for kind in kinds
    }


async def test_a_recording_stands_without_feldera(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    await feldera.stop()
    manifest = await reach_end(operator, ask(cluster, pipeline=ID, attachments=["Stats", "Metrics"]))
    assert [each.kind for each in manifest.attachments] == ["Stats", "Metrics"]
    assert list_kinds(manifest) == []
    status = operator.find_status("p-1")
    (warning,) = (text for text in status["warnings"] if "attachments" in text)
    assert warning.startswith("Without the attachments Stats, Metrics: Feldera's API at ")
    assert [each["kind"] for each in status["attachments"]] == ["Stats", "Metrics"]
    assert all(each["problem"] in warning for each in status["attachments"])
    assert "AttachmentMissing" in operator.list_events("p-1")
    assert list_files(operator, manifest) == {"manifest.json", "profile.json.gz"}


async def test_an_early_stop_is_the_time_to_ask(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    """Not when samply has written its file: Feldera would speak of the seconds in which it writes."""
    add_pipeline(cluster, ID, write_secs=600)
    ask(cluster, pipeline=ID, durationSeconds=600, attachments=["Stats"])
    await operator.reach_phase("p-1", "Recording")
    assert count_asked(feldera) == 0
    (run,) = operator.engine.runs.values()
    before = times.format_time(time.time())
    run.stop("keep")
    await operator.reach(lambda: run.entry.attached)
    assert run.phase == "Recording"
    assert before <= run.entry.stopped_at <= run.entry.attached[0].taken_at
    run.stop("discard")
    await operator.reach_rest()
    assert_nothing_left(operator)


async def test_feldera_is_not_asked_about_a_pipeline_of_two_namespaces(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera
) -> None:
    """Nobody gets what Feldera says of another tenant's pipeline by giving a pod of his own its id."""
    name = f"pipeline-{ID}"
    path = objects.stateful_sets("theirs", name)
    raw = {"kind": "StatefulSet", "metadata": {"namespace": "theirs", "name": name, "labels": LABELS}}
    cluster.put(path, raw | {"spec": {"replicas": 1, "template": {"metadata": {"labels": LABELS}}}})
    manifest = await reach_end(operator, ask(cluster, pipeline=ID, attachments=["Stats"]))
    assert [each.problem for each in manifest.attachments] == [admit.AMBIGUOUS]
    ask(cluster, "p-2", pipeline=ID, mode="Pipeline")
    failure = (await operator.reach_phase("p-2", "Succeeded", "Failed"))["failure"]
    assert (failure["reason"], failure["message"]) == ("FelderaNotConfigured", admit.AMBIGUOUS)
    assert feldera.asked == []


@pytest.mark.parametrize("mode", ["InPlace", "Pipeline"])
async def test_a_profile_takes_the_room_of_its_attachments(
    mode: str, operator: OperatorProcess, cluster: FakeCluster, orders: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They never cost a profile: with them there would be no room for it."""
    room_bytes = operator.volume._space._measure_room

    def measure_room() -> int:
        return 10 if list_attached(operator) else room_bytes()

    monkeypatch.setattr(operator.volume._space, "_measure_room", measure_room)
    raw = ask(cluster, pipeline=ID, mode=mode, durationSeconds=4, attachments=["Stats", "Metrics"])
    await operator.reach(lambda: len(list_attached(operator)) == 2)
    manifest = await reach_end(operator, raw)
    assert [(each.kind, each.problem) for each in manifest.attachments] == [
        ("Stats", rules.NO_ROOM),
        ("Metrics", rules.NO_ROOM),
    ]
    assert f"Without the attachments Stats, Metrics: {rules.NO_ROOM}" in manifest.warnings


def list_attached(operator: OperatorProcess) -> list[Path]:
    return list((operator.volume.root / "tmp").glob("*-attachment-*"))


async def test_one_missing_beside_a_kept_file_is_told_too(
    operator: OperatorProcess, cluster: FakeCluster, feldera: FakeFeldera, orders: Pipeline
) -> None:
    """The profile has too low a coverage: it is no success, and is kept."""
    orders.cores, orders.heap_profile = 40.0, None
    settings = operator.context.settings
    recording = msgspec.structs.replace(settings.recording, min_coverage=0.75)
    operator.change_context(settings=msgspec.structs.replace(settings, recording=recording))
    raw = ask(cluster, pipeline=ID, mode="Pipeline", durationSeconds=2, attachments=["Stats", "HeapProfile"])
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == "LowCoverage"
    await operator.reach_rest()
    manifest = operator.volume.read_manifest(raw["metadata"]["uid"])
    assert manifest is not None
    assert list_kinds(manifest) == ["Stats"]
    assert "AttachmentMissing" in operator.list_events("p-1")


async def test_a_failure_has_none(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """They were fetched, and there is no profile beside which they could be."""
    raw = ask(cluster, pipeline=ID, mode="Pipeline", durationSeconds=2, attachments=["Stats"])
    await operator.reach_phase("p-1", "Recording")
    add_pod(cluster, f"pipeline-{ID}", 0)
    await operator.reach_phase("p-1", "Failed")
    await operator.reach_rest()
    assert_nothing_left(operator)
    manifest = operator.volume.read_manifest(raw["metadata"]["uid"])
    assert manifest is not None
    assert manifest.attachments == ()


async def test_a_restart_loses_none(
    operator: OperatorProcess, cluster: FakeCluster, settings: Settings, client: FelderaClient, feldera: FakeFeldera
) -> None:
    """They were fetched by the first process; the second one has no Feldera to ask."""
    raw = ask(cluster, pipeline=ID, durationSeconds=4, attachments=["Stats", "HeapProfile"])
    await operator.reach_phase("p-1", "Recording")
    profile_id = raw["metadata"]["uid"]

    def is_noted() -> bool:
        entry = operator.volume.read_entry(profile_id)
        return entry is None or len(entry.attached) == 2

    await operator.reach(is_noted)
    await operator.__aexit__()
    await feldera.stop()
    async with OperatorProcess(cluster, operator.volume.root, settings, feldera=client) as successor:
        manifest = await reach_end(successor, raw)
        assert list_kinds(manifest) == ["Stats", "HeapProfile"]
    operator.cluster.watchers.append(operator._see)  # for the fixture


@pytest.mark.parametrize("step", ["files-staged", "manifest-written", "staging-synced"])
async def test_a_kill_while_the_profile_is_published_loses_none(
    step: str, cluster: FakeCluster, tmp_path: Path, settings: Settings, client: FelderaClient, feldera: FakeFeldera
) -> None:
    """The files are in a folder that is not in its place yet."""
    add_pipeline(cluster, ID)
    kill, before = Kill(step, 1, cluster), asyncio.all_tasks()

    def strike(reached: str) -> None:
        kill(reached)
        if kill.is_dead:  # its thread does nothing more, either
            raise Dead

    kill.loop.set_exception_handler(lambda loop, context: None)  # what a dead process says is nobody's business
    killed = OperatorProcess(cluster, tmp_path / "data", settings, fault=strike, feldera=client)
    await killed.__aenter__()
    raw = ask(cluster, pipeline=ID, durationSeconds=2, attachments=["Stats", "HeapProfile"])
    async with asyncio.timeout(60):
        await kill.done.wait()
    cluster.watchers.clear()
    tasks = asyncio.all_tasks() - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert killed.volume.list_ids() == frozenset()
    await feldera.stop()
    cluster.fault = lambda verb, what: None
    async with OperatorProcess(cluster, tmp_path / "data", settings, feldera=client) as successor:
        manifest = await reach_end(successor, raw)
        assert list_kinds(manifest) == ["Stats", "HeapProfile"]
        assert {NAMES["Stats"], NAMES["HeapProfile"]} <= list_files(successor, manifest)


def test_every_kind_is_asked_for_and_has_a_name_of_its_own() -> None:
    assert set(NAMES) == set(attachments.DOCUMENTS) == set(ALL)
    assert len(set(NAMES.values())) == len(ALL)
