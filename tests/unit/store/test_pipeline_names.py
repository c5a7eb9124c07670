"""The names of pipelines, stored on the volume."""

from __future__ import annotations

from pathlib import Path

import pytest

from samply_operator.errors import CorruptManifest, StoreError
from samply_operator.model.manifest import PipelineNames
from samply_operator.store import layout, pipeline_names

ID = "0198aaaa-1111-7222-8333-444455556666"


def test_what_was_read_is_what_was_written(tmp_path: Path) -> None:
    assert pipeline_names.read(tmp_path) == PipelineNames()
    for found in (PipelineNames({ID: "ö" * 100}, {}), PipelineNames({}, {ID: "b"})):
        pipeline_names.write(tmp_path, found)
        assert pipeline_names.read(tmp_path) == found
    assert [path.name for path in tmp_path.iterdir()] == [layout.PIPELINES]


def test_a_writer_that_was_killed_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / f"{layout.PIPELINES}.new").write_text("{")
    pipeline_names.write(tmp_path, PipelineNames({ID: "b"}))
    assert pipeline_names.read(tmp_path).pairs == {ID: "b"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pairs": {"a": 1}}'])
def test_a_damaged_file_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / layout.PIPELINES).write_text(text)
    with pytest.raises(CorruptManifest):
        pipeline_names.read(tmp_path)


def test_a_volume_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        pipeline_names.write(tmp_path / "file", PipelineNames())
