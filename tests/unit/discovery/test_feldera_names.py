"""Names of pipelines in Feldera: requested, remembered, updated, and passed on to the api."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from samply_operator.discovery import feldera_names
from samply_operator.discovery.changes import Changes
from samply_operator.discovery.feldera_names import FelderaNames
from samply_operator.discovery.world import World
from samply_operator.feldera.client import FelderaClient
from samply_operator.model import names
from samply_operator.settings import Feldera, Paths, Settings, Targets
from samply_operator.store import layout
from support.fake_feldera import READER, STRANGER, FakeFeldera, make_pipeline_id
from support.samples import make_pod, make_set

ID, OTHER = make_pipeline_id(1), make_pipeline_id(2)


@pytest.fixture
async def feldera() -> AsyncIterator[FakeFeldera]:
    async with FakeFeldera() as feldera:
        feldera.add(1, "orders")
        yield feldera


@pytest.fixture
def settings(tmp_path: Path, feldera: FakeFeldera) -> Settings:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "acme").write_text(READER)
    return Settings(
        feldera=Feldera(feldera.url, "feldera-keys"),
        paths=Paths(data=str(tmp_path), feldera_keys=str(tmp_path / "keys")),
    )


class Operator:
    """One life of the operator, as far as names go; two pipelines of Feldera's run."""

    def __init__(self, settings: Settings, client: FelderaClient | None) -> None:
        self.changes = Changes()
        self.world = World(Targets(), self.changes)
        for pipeline_id in (ID, OTHER):
            self.world.see_set(make_set(f"pipeline-{pipeline_id}"))
            self.world.see_pod(make_pod(f"pipeline-{pipeline_id}-0"))
        self.names = FelderaNames(client, settings, self.world, self.changes)

    def list_pipelines(self) -> list[str]:
        return sorted(name for _, name in self.world.pipelines)


@pytest.fixture
async def client(feldera: FakeFeldera) -> AsyncIterator[FelderaClient]:
    async with FelderaClient(feldera.url, answer_secs=1) as client:
        yield client


async def test_pipelines_are_called_as_in_feldera(settings: Settings, client: FelderaClient) -> None:
    """Pods and their StatefulSet together; one that Feldera does not know keeps its id."""
    operator = Operator(settings, client)
    assert operator.list_pipelines() == [ID, OTHER]
    await operator.names.update()
    assert operator.list_pipelines() == [OTHER, "orders"]
    pipeline = operator.world.pipelines["prod", "orders"]
    assert (pipeline.ids, sorted(pipeline.pods), pipeline.ordinals) == ((ID,), [0], (0,))


async def test_what_changes_here_is_asked_about_at_once(
    settings: Settings, feldera: FakeFeldera, client: FelderaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new pipeline, a label; then no more until it is time again."""
    monkeypatch.setattr(feldera_names, "LOOK_SECS", 0.01)
    operator = Operator(settings, client)
    new = make_pipeline_id(3)
    task = asyncio.create_task(operator.names.run())
    try:
        await poll(lambda: operator.list_pipelines() == [OTHER, "orders"])
        feldera.add(3, "billing")
        operator.world.see_set(make_set(f"pipeline-{new}"))
        await poll(lambda: operator.list_pipelines() == [OTHER, "billing", "orders"])
        operator.world.see_set(make_set(f"pipeline-{new}", labels={names.PIPELINE: "mine"}))
        await poll(lambda: operator.changes.names[new] == "mine")
        asked = len(feldera.asked)
        await asyncio.sleep(0.2)
        assert len(feldera.asked) == asked
    finally:
        task.cancel()


async def poll(is_met: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_met():
            await asyncio.sleep(0.01)


async def test_the_id_is_a_name_too(settings: Settings, client: FelderaClient) -> None:
    operator = Operator(settings, client)
    await operator.names.update()
    for name in ("orders", ID):
        assert [found.name for found in operator.world.find_pipelines(name)] == ["orders"]
    assert operator.world.find_name(ID) == "orders"
    assert operator.world.find_name("nothing") is None


async def test_a_rename_is_followed(settings: Settings, feldera: FakeFeldera, client: FelderaClient) -> None:
    """The api gets it in one update: the old name is removed, the new one added, with the current name of the id."""
    operator = Operator(settings, client)
    await operator.names.update()
    with operator.changes.feed() as feed:
        feldera.pipelines[0].name = "Orders_v2"
        await operator.names.update()
        assert operator.list_pipelines() == [OTHER, "Orders_v2"]
        assert feed.take()[0] == {("prod", "orders"), ("prod", "Orders_v2")}
        assert feed.take_names() == {ID: "Orders_v2", OTHER: OTHER}
        await operator.names.update()
        assert feed.take_names() is None, "nothing changed"


async def test_names_are_remembered_while_feldera_is_away(
    settings: Settings, feldera: FakeFeldera, client: FelderaClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Over a restart of the operator too; the log says it once, and when it is over."""
    await Operator(settings, client).names.update()
    await feldera.stop()
    operator = Operator(settings, client)
    await operator.names.load()
    assert operator.list_pipelines() == [OTHER, "orders"]
    for _ in range(3):
        await operator.names.update()
    assert operator.list_pipelines() == [OTHER, "orders"]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    await feldera.start()
    caplog.set_level(logging.INFO)
    await operator.names.update()
    assert "it answers again" in caplog.text


async def test_what_a_pipeline_was_called_here_outlives_it(
    settings: Settings, feldera: FakeFeldera, client: FelderaClient
) -> None:
    """Its stored profiles are found under its last name."""
    await Operator(settings, client).names.update()
    feldera.pipelines.clear()
    operator = Operator(settings, client)
    await operator.names.load()
    operator.world.see_set(make_set(f"pipeline-{ID}"), is_gone=True)
    operator.world.see_pod(make_pod(f"pipeline-{ID}-0"), is_gone=True)
    await operator.names.update()
    assert operator.changes.names[ID] == "orders"


async def test_one_name_in_two_tenants(settings: Settings, feldera: FakeFeldera, client: FelderaClient) -> None:
    """Neither has it, until one is renamed."""
    (Path(settings.paths.feldera_keys) / "other").write_text(STRANGER)
    feldera.add(2, "orders", tenant="other")
    operator = Operator(settings, client)
    await operator.names.update()
    assert operator.list_pipelines() == [ID, OTHER]
    feldera.pipelines[1].name = "billing"
    await operator.names.update()
    assert operator.list_pipelines() == ["billing", "orders"]


async def test_a_revoked_key_of_one_tenant_takes_no_names(
    settings: Settings, feldera: FakeFeldera, client: FelderaClient
) -> None:
    (Path(settings.paths.feldera_keys) / "other").write_text(STRANGER)
    feldera.add(2, "billing", tenant="other")
    operator = Operator(settings, client)
    await operator.names.update()
    del feldera.keys[STRANGER]
    feldera.pipelines[0].name = "Orders_v2"
    await operator.names.update()
    assert operator.list_pipelines() == ["Orders_v2", "billing"]


async def test_a_pipeline_that_cannot_be_read_takes_no_names(
    settings: Settings, feldera: FakeFeldera, client: FelderaClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of the others are followed, and the log says it once."""
    billing = feldera.add(2, "billing")
    operator = Operator(settings, client)
    await operator.names.update()
    rows = [feldera.pipelines[0].describe() | {"name": "Orders_v2"}, billing.describe() | {"name": "a" * 101}]
    feldera.break_with = lambda: web.json_response(rows)
    for _ in range(3):
        await operator.names.update()
    assert operator.list_pipelines() == [OTHER, "Orders_v2"]
    assert caplog.text.count("1 of 2 pipelines in Feldera's answer cannot be read") == 1


async def test_a_label_counts_more_and_is_remembered_as_what_is_shown(
    settings: Settings, client: FelderaClient
) -> None:
    operator = Operator(settings, client)
    operator.world.see_set(make_set(f"pipeline-{ID}", labels={names.PIPELINE: "mine"}))
    await operator.names.update()
    assert operator.list_pipelines() == [OTHER, "mine"]
    assert operator.changes.names[ID] == "mine"


@pytest.mark.parametrize("text", ["", "{", '{"pairs": 1}'])
async def test_a_damaged_name_file_is_reported_and_replaced(
    settings: Settings, client: FelderaClient, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = Path(settings.paths.data) / layout.PIPELINES
    path.write_text(text)
    operator = Operator(settings, client)
    await operator.names.load()
    assert "names of pipelines" in caplog.text
    await operator.names.update()
    assert operator.list_pipelines() == [OTHER, "orders"]
    assert "orders" in path.read_text()


async def test_without_feldera_there_are_labels_and_ids(settings: Settings) -> None:
    operator = Operator(settings, None)
    await operator.names.load()
    await operator.names.update()
    assert operator.list_pipelines() == [ID, OTHER]
    assert operator.changes.names == {ID: ID, OTHER: OTHER}
