"""Files made for a test, and the command line run on them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from samply_operator.cli import profile_commands
from samply_operator.profiles.worker import jobs
from support import pprof_reader, profile_maker
from support.profile_maker import Document, Sample


class Files:
    """Makes files, and runs the command line on them."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capfd, self.err = folder, capfd, ""

    def save(self, document: Document, name: str = "p") -> str:
        return str(profile_maker.save(document, self.folder / f"{name}.json.gz"))

    def make(self, name: str, counts: dict[str, int], **how: Any) -> str:
        """One thread that has so many samples in each function, called by `main`."""
        samples = [Sample(("main", function)) for function, count in counts.items() for _ in range(count)]
        return self.save(profile_maker.build([samples], **how), name)

    def run(self, *arguments: str, status: int = 0) -> str:
        assert profile_commands.main(list(arguments)) == status
        said = self.capfd.readouterr()
        self.err = said.err
        return said.out

    def ask(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self.run(*arguments, "-o", "json", status=status))

    def convert(self, path: str, kind: jobs.Format, *more: str) -> bytes:
        out = self.folder / "out"
        self.run("convert", path, "--format", kind, "--out", str(out), *more)
        return out.read_bytes()

    def pprof(self, path: str) -> pprof_reader.Pprof:
        return pprof_reader.parse(gzip.decompress(self.convert(path, "pprof")))
