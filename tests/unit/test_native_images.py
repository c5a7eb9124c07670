"""Images that hack/native makes without a builder."""

from __future__ import annotations

import json
import platform
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "hack"))

from native import images


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_the_architecture_is_that_of_the_program(
    machine: str, architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was compiled here, and containerd starts no image of another one."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    program, archive = tmp_path / "program", tmp_path / "image.tar"
    program.write_text("#!/bin/sh\n")
    images.write_archive(archive, "example.com/pause:1", program, "/pause")
    with tarfile.open(archive) as tar:
        config = tar.extractfile("config.json")
        assert config is not None
        assert json.load(config)["architecture"] == architecture
