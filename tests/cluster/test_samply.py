"""The built samply works as promised on this machine: images/samply/verify, one test for each promise."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support import needs

FOLDER = Path(__file__).parents[2] / "images" / "samply"
TOOLS = ("gcc", "strace", "setpriv", "unshare", "taskset", "prlimit", "readelf")


def load_verify() -> ModuleType:
    loader = SourceFileLoader("samply_verify", str(FOLDER / "verify"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # its dataclasses look themselves up there
    loader.exec_module(module)
    return module


verify = load_verify()

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.serial,
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces, cgroups and other users need root"),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Any:
    needs.need(*TOOLS)
    # Built with the images, so this only finds it.
    built = subprocess.run([FOLDER / "build"], capture_output=True, text=True, check=True, timeout=100)
    folder = tmp_path_factory.mktemp("samply")
    for part in (folder, *folder.parents[:2]):
        part.chmod(0o755)  # other users go through
    return verify.prepare(Path(built.stdout.strip()), folder)


@pytest.mark.parametrize("what", verify.CHECKS)
def test_the_built_samply(what: str, bench: Any) -> None:
    """Each says what it found; Failed names the promise that doesn't hold."""
    print(verify.CHECKS[what](bench))
