"""Which process of a container is profiled."""

from __future__ import annotations

import pytest

from samply_operator.model.container import Process
from samply_operator.model.profile import Failure
from samply_operator.rules.recording import processes


def process(pid: int, name: str, parent: int = 0, state: str = "S", program: str = "") -> Process:
    return Process(pid, parent, state, 4, 10, 1000 + pid, 0, name, program)


@pytest.mark.parametrize(
    ("found", "wanted", "pid"),
    [
        pytest.param([process(1, "pipeline")], None, 1, id="PID 1"),
        pytest.param([process(1, "pipeline"), process(9, "helper", 1)], None, 1, id="PID 1 with a child"),
        pytest.param([process(1, "pipeline"), process(9, "other", 0)], None, 1, id="PID 1 beside a stranger"),
        pytest.param([process(1, "tini"), process(7, "pipeline", 1)], None, 7, id="below an init"),
        pytest.param([process(1, "sh"), process(7, "tini", 1), process(8, "pipeline", 7)], None, 8, id="two wrappers"),
        pytest.param([process(1, "sh"), process(7, "pipeline", 1), process(8, "child", 7)], None, 7, id="topmost"),
        pytest.param([process(20, "pipeline", 5)], None, 20, id="shared PID namespace"),
        pytest.param([process(1, "tini"), process(7, "a", 1), process(8, "b", 1)], "b", 8, id="by name"),
        pytest.param([process(7, "a-very-long-nam")], "a-very-long-name-indeed", 7, id="the kernel cuts names"),
        pytest.param([process(1, "sh")], None, 1, id="a shell is all there is"),
        pytest.param(
            [process(1, "run.sh", program="dash"), process(7, "p", 1, program="p")], None, 7, id="a script is a shell"
        ),
        pytest.param([process(1, "run.py", program="python3.11")], None, 1, id="a script of another kind is not"),
        pytest.param([process(1, "tini"), process(7, "p", 1), process(9, "probe", 0)], None, 7, id="an exec'd probe"),
        pytest.param(
            [process(30, "p", 0), process(50, "probe", 0), process(51, "x", 50)],
            None,
            30,
            id="an exec'd probe where the pod shares its processes",
        ),
        pytest.param(
            [process(1, "pause"), process(30, "p", 0), process(51, "orphan", 1)],
            None,
            30,
            id="the pod's own process is no container's",
        ),
        pytest.param(
            [process(30, "sh", 0), process(31, "p", 5), process(50, "bash", 0)],
            None,
            31,
            id="one that left its parents, where the pod shares its processes",
        ),
        pytest.param(
            [process(1, "tini"), process(7, "pg", 1), process(8, "sh", 7), process(9, "pg", 8)],
            "pg",
            7,
            id="by a name that its children have too",
        ),
        pytest.param([process(1, "tini"), process(7, "a", 1), process(8, "a", 1)], "8", 8, id="by number"),
        pytest.param(
            [process(1, "tini"), process(6, "old", 1, "Z"), process(7, "p", 1)], None, 7, id="zombies don't count"
        ),
    ],
)
def test_the_process_that_does_the_work(found: list[Process], wanted: str | None, pid: int) -> None:
    """Init programs and shells only start it."""
    chosen = processes.choose_process(found, wanted)
    assert isinstance(chosen, Process)
    assert chosen.pid == pid


@pytest.mark.parametrize(
    ("found", "wanted", "reason", "said"),
    [
        pytest.param([], None, "ProcessNotFound", "No process", id="none"),
        pytest.param([process(1, "p")], "q", "ProcessNotFound", "p (1", id="not that name"),
        pytest.param(
            [process(1, "tini"), process(7, "a", 1), process(8, "b", 1)], None, "AmbiguousProcess", "a (7", id="two"
        ),
        pytest.param([process(7, "a"), process(8, "a")], "a", "AmbiguousProcess", "a (8", id="two of that name"),
        pytest.param([process(1, "tini"), process(7, "sh", 1)], None, "AmbiguousProcess", "sh (7", id="only wrappers"),
        pytest.param([process(1, "p", state="Z")], None, "ProcessNotFound", "No process", id="dead"),
    ],
)
def test_an_ambiguous_process_is_reported_with_the_candidates(
    found: list[Process], wanted: str | None, reason: str, said: str
) -> None:
    """A guess might profile the wrong program."""
    failure = processes.choose_process(found, wanted)
    assert isinstance(failure, Failure)
    assert failure.reason == reason
    assert said in failure.message


def test_a_long_list_of_candidates_is_cut() -> None:
    """An error is read by a person."""
    failure = processes.choose_process([process(n, "a") for n in range(2, 40)], "a")
    assert isinstance(failure, Failure)
    assert failure.message.endswith("and 28 more.")
