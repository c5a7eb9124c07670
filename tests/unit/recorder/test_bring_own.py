"""Mode BringOwn: a failure of the copy into the pod is reported by its cause, with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from samply_operator.recorder.pod import prepare
from samply_operator.settings import BringOwn, Paths, Recording, Settings
from support.fake_cluster import FakeCluster
from support.operator_process import OperatorProcess, add_pipeline, ask

from .test_engine import assert_nothing_left, count_starts


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    own = tmp_path / "own"
    own.write_text("#!/bin/sh\n")
    limits = Recording(min_free_bytes=1, min_coverage=0)
    return Settings(recording=limits, bring_own=BringOwn(enabled=True), paths=Paths(samply=str(own)))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param("head: write error: No space left on device", "TooLittleSpace", id="GNU's head, full"),
        pytest.param("sh: 1: cannot create /x: Read-only file system", "NoWritableFolder", id="dash, read-only"),
        pytest.param("sh: can't create /x: Permission denied", "NoWritableFolder", id="busybox, another user's"),
        pytest.param("Writing /x in the pod ended with 127: head: not found", "TransferFailed", id="a tool is missing"),
        pytest.param("", "TransferFailed", id="nothing"),
    ],
)
def test_a_copy_that_could_not_be_written_is_named_by_what_the_pod_said(said: str, reason: str) -> None:
    assert prepare.name_reason(said) == reason


@pytest.mark.parametrize(
    ("tool", "script", "reason"),
    [
        ("head", "echo 'head: write error: No space left on device' >&2; exit 1", "TooLittleSpace"),
        ("head", "echo 'sh: can not create: Read-only file system' >&2; exit 1", "NoWritableFolder"),
        ("head", "echo 'head: Input/output error' >&2; exit 1", "TransferFailed"),
        ("sha256sum", "echo 00", "TransferCorrupt"),
    ],
    ids=["full", "read-only", "something else", "corrupt"],
)
async def test_a_copy_that_fails_ends_it_with_a_reason_that_can_be_cured(
    operator: OperatorProcess, cluster: FakeCluster, tool: str, script: str, reason: str
) -> None:
    """No defect of the operator's; nothing of the copy is left."""
    (container,) = add_pipeline(cluster)
    program = Path(container.path.partition(":")[0]) / tool
    program.unlink(missing_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    ask(cluster, mode="BringOwn")
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["failure"]["reason"] == reason, status
    assert status["failure"]["remedy"]
    await operator.reach(lambda: not operator.engine.runs)
    await operator.reach_rest()
    assert count_starts(cluster) == 0
    assert_nothing_left(operator)
