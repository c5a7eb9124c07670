"""The ephemeral container: when it is added, what becomes of it, and whether it shares the pod's memory limit."""

from __future__ import annotations

import os
import signal
from typing import Any

import msgspec
import pytest

from samply_operator.errors import KubeForbidden
from samply_operator.recorder import ephemeral
from samply_operator.settings import Ephemeral, Recording, Settings
from support import samples
from support.fake_cluster import FakeCluster
from support.operator_process import OperatorProcess, add_pipeline, ask

from .test_engine import POD, assert_nothing_left, count_starts
from .test_trouble import fail, find_state, kill_shells

LIMITED: dict[str, Any] = {"resources": {"limits": {"memory": "32Mi"}}}
FREE: dict[str, Any] = {"resources": {"limits": {"cpu": "1"}}}


@pytest.mark.parametrize(
    ("spec", "is_limited"),
    [
        pytest.param({"containers": [LIMITED]}, True, id="one, limited"),
        pytest.param({"containers": [LIMITED, FREE]}, False, id="one of two has no limit"),
        pytest.param({"containers": [{}]}, False, id="nothing said"),
        pytest.param({"containers": [LIMITED], "initContainers": [FREE]}, True, id="one that has ended counts not"),
        pytest.param(
            {"containers": [LIMITED], "initContainers": [FREE | {"restartPolicy": "Always"}]},
            False,
            id="a sidecar without a limit",
        ),
        pytest.param({}, False, id="no containers"),
    ],
)
def test_a_pod_is_limited_where_all_its_containers_are(spec: dict[str, Any], is_limited: bool) -> None:
    """As the kubelet does it: the pod's cgroup has a limit only then."""
    assert ephemeral.is_memory_limited({"spec": spec}) is is_limited


def list_helpers(cluster: FakeCluster) -> list[tuple[str, str]]:
    """Name, as far as its number, and state of each."""
    return [(name.rpartition("-")[0], state) for name, state in list_states(cluster)]


def list_states(cluster: FakeCluster) -> list[tuple[str, str]]:
    (pod,) = (raw for raw in cluster.objects.values() if raw["metadata"].get("name") == POD)
    return [(s["name"], next(iter(s["state"]))) for s in pod["status"].get("ephemeralContainerStatuses", [])]


def end_helper(cluster: FakeCluster) -> None:
    """The only one."""
    ((name, _),) = list_states(cluster)
    cluster.end_helper("prod", POD, name)


class TestAdded:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(
            recording=Recording(min_free_bytes=1, min_coverage=0), ephemeral=Ephemeral(start_deadline_secs=1)
        )

    async def test_it_records_is_told_and_is_ended_right_afterwards(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """The next one has the next number."""
        (container,) = add_pipeline(cluster)
        container.facts["paranoid"] = "2"
        for number in (1, 2):
            ask(cluster, f"p-{number}", mode="Auto" if number == 1 else "Ephemeral")
            status = await operator.reach_phase(f"p-{number}", "Succeeded", "Failed")
            assert (status["phase"], status["target"]["mode"]) == ("Succeeded", "Ephemeral"), status
            await operator.reach_rest()
            assert list_helpers(cluster)[-1] == (f"samply-operator-{number}", "terminated")
        assert count_starts(cluster) == 2
        assert_nothing_left(operator)

    async def test_two_that_choose_at_once_choose_differently(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """One for each container of a pod, say: neither sees the other's in the pod's spec yet."""
        add_pipeline(cluster)
        entry = samples.make_entry(namespace="prod", pod=POD)
        rival = msgspec.structs.replace(entry, id=entry.id[::-1])
        names = {await ephemeral.choose_name(operator.context, each) for each in (entry, rival)}
        assert len(names) == 2
        assert all(name.startswith("samply-operator-1-") for name in names)

    @pytest.mark.parametrize(
        ("state", "said"),
        [
            ({"terminated": {"reason": "StartError", "message": "exec /bin/sh: exec format error"}}, "format error"),
            ({"waiting": {"reason": "ErrImagePull", "message": "no match for platform in manifest"}}, "no match"),
        ],
        ids=["it starts and can't run", "its image isn't there for it"],
    )
    async def test_a_node_of_another_architecture_is_said_so(
        self, operator: OperatorProcess, cluster: FakeCluster, state: dict[str, Any], said: str
    ) -> None:
        """Where nothing could be asked before: a container without a shell."""
        add_pipeline(cluster)
        cluster.helper_state = state
        ask(cluster, mode="Ephemeral")
        failure = (await operator.reach_phase("p-1", "Failed", "Succeeded"))["failure"]
        assert failure["reason"] == "UnsupportedArchitecture"
        assert said in failure["message"]

    async def test_facts_from_within_tell_the_architecture_too(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """An image for both, whose samply is for one; the container is ended."""
        (container,) = add_pipeline(cluster)
        container.facts["arch"] = "aarch64"
        ask(cluster, mode="Ephemeral")
        status = await operator.reach_phase("p-1", "Failed", "Succeeded")
        assert status["failure"]["reason"] == "UnsupportedArchitecture"
        await operator.reach_rest()
        assert [state for _, state in list_helpers(cluster)] == ["terminated"]

    async def test_where_it_does_not_do_auto_ends_it_at_once_and_takes_another_way(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """In place it is blind, but it is something."""
        (container,) = add_pipeline(cluster)
        container.facts["quota"] = "100000 100000"

        def fill(verb: str, what: str) -> None:
            if verb == "patch done" and what.endswith("ephemeralcontainers"):
                container.facts["free_kib"] = "0"

        cluster.fault = fill
        ask(cluster, mode="Auto")
        status = await operator.reach_phase("p-1", "Failed", "Succeeded")
        assert (status["phase"], status["target"]["mode"]) == ("Succeeded", "InPlace"), status
        await operator.reach_rest()
        assert list_helpers(cluster) == [("samply-operator-1", "terminated")]

    @pytest.mark.parametrize(
        ("limits", "facts", "reason"),
        [
            ({"memory": "60Mi"}, {"memory_limit": str(60 << 20), "memory_used": str(30 << 20)}, "TightMemory"),
            ({"ephemeral-storage": "10Mi"}, {}, "TooLittleSpace"),
        ],
    )
    async def test_none_is_made_where_the_pods_own_limits_forbid_it(
        self,
        operator: OperatorProcess,
        cluster: FakeCluster,
        limits: dict[str, str],
        facts: dict[str, str],
        reason: str,
    ) -> None:
        """It would stay in the pod's spec for nothing; both ways are told."""
        (container,) = add_pipeline(cluster)
        container.facts |= facts
        (path,) = (path for path, raw in cluster.objects.items() if raw["metadata"].get("name") == POD)
        pod = cluster.objects[path]
        pod["spec"]["containers"][0]["resources"] = {"limits": limits}
        cluster.put(path, pod)
        ask(cluster, mode="Auto")
        failure = (await operator.reach_phase("p-1", "Failed", "Succeeded"))["failure"]
        assert failure["reason"] == reason
        assert "Mode Ephemeral: " in failure["message"]
        assert list_helpers(cluster) == []

    async def test_one_that_was_refused_leaves_nothing_to_clean(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """It is named in the journal before it is made; that it never was is no reason to wait for it."""
        add_pipeline(cluster)
        cluster.fault = fail(lambda verb, what: what.endswith("ephemeralcontainers"), KubeForbidden("no"))
        ask(cluster, mode="Ephemeral")
        assert (await operator.reach_phase("p-1", "Failed"))["failure"]["reason"] == "EphemeralRefused"
        await operator.reach_rest()
        assert_nothing_left(operator)
        await operator.reach(lambda: not list(cluster.find("/leases/")))

    async def test_one_that_ends_during_the_attach_leaves_no_stopped_target(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """Killed with all that was in it, for want of memory say: the target is continued from its own container."""
        (container,) = add_pipeline(cluster, attach_secs=-1)
        ask(cluster, mode="Ephemeral", durationSeconds=600)
        await operator.reach(lambda: find_state(container.target.pid) == "T")
        (folder,) = container.folder.iterdir()
        samply = int((folder / "samply").read_text().split()[0])
        end_helper(cluster)
        kill_shells(folder)
        os.kill(samply, signal.SIGKILL)
        status = await operator.reach_phase("p-1", "Failed", "Succeeded")
        assert status["failure"]["reason"] == "Lost"
        await operator.reach_rest()
        assert find_state(container.target.pid) in {"S", "R"}

    async def test_one_that_ends_while_it_is_used_is_no_riddle(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """Such as by its own timer, after the operator was away for long."""
        (container,) = add_pipeline(cluster, no_file=True)
        ask(cluster, mode="Ephemeral", durationSeconds=600)
        await operator.reach_phase("p-1", "Recording")
        end_helper(cluster)
        (folder,) = container.folder.iterdir()
        os.kill(int((folder / "samply").read_text().split()[0]), signal.SIGKILL)
        status = await operator.reach_phase("p-1", "Failed", "Succeeded")
        assert status["failure"]["reason"] == "Lost"
        assert "samply-operator-1" in status["failure"]["message"]
