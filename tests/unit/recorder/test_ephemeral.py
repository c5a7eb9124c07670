"""The ephemeral container: when it is added, how it ends, and whether it shares the pod's memory limit."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from samply_operator.errors import KubeForbidden, KubeInvalid, KubeUnavailable
from samply_operator.kube import faults
from samply_operator.recorder.journal import Journal
from samply_operator.recorder.pod import ephemeral, script_calls
from samply_operator.recorder.pod.target_pod import TargetPod
from samply_operator.rules.recording import pod_limits
from samply_operator.settings import Ephemeral, Recording, Settings
from support import samples
from support.fake_cluster import Container, FakeCluster
from support.operator_process import RECORDED, OperatorProcess, add_pipeline, ask

from .test_engine import POD, assert_nothing_left, count_starts
from .test_trouble import fail, find_state, kill_shells

WAKE = script_calls.read_script("wake.sh")
NO_SHELL = KubeInvalid("no sh", details={"reason": script_calls.COMMAND_NOT_FOUND})
LIMITED: dict[str, Any] = {"resources": {"limits": {"memory": "32Mi"}}}
FREE: dict[str, Any] = {"resources": {"limits": {"cpu": "1"}}}
INSTALL = Path(__file__).parents[3] / "docs" / "install.md"
BY_OPENSHIFT = (
    'pods "pipeline-a-0" is forbidden: unable to validate against any security context constraint: [provider '
    'restricted-v2: .ephemeralContainers[0].capabilities.add: Invalid value: "PERFMON": capability may not be added]'
)


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
        pytest.param({"containers": [FREE], **LIMITED}, True, id="a limit of the pod's own"),
    ],
)
def test_a_pod_is_limited_where_all_its_containers_are(spec: dict[str, Any], is_limited: bool) -> None:
    """As the kubelet does it: the pod's cgroup has a limit only then."""
    assert pod_limits.is_memory_limited({"spec": spec}) is is_limited


async def once(call: Callable[[], Awaitable[Any]]) -> Any:
    """A retry that doesn't."""
    return await call()


def test_the_constraints_of_the_page_admit_the_container_and_no_other_capability() -> None:
    """Those for OpenShift: what its admission compares, for the container as the operator adds it."""
    (page,) = (block for block in INSTALL.read_text().split("```") if "kind: SecurityContextConstraints" in block)
    allowed = yaml.safe_load(page.removeprefix("yaml"))
    asked = ephemeral.build_container(Settings(), samples.make_entry(), "samply-operator-1", ["sh"])["securityContext"]
    assert sorted(allowed["allowedCapabilities"]) == sorted(asked["capabilities"]["add"])
    assert set(allowed["requiredDropCapabilities"]) <= set(asked["capabilities"]["drop"])
    assert (allowed["allowPrivilegedContainer"], asked["privileged"]) == (False, False)
    assert (allowed["allowPrivilegeEscalation"], asked["allowPrivilegeEscalation"]) == (False, False)
    assert (allowed["runAsUser"], allowed["seccompProfiles"]) == ({"type": "RunAsAny"}, ["runtime/default"])
    assert asked["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_container_outlives_every_use_of_it() -> None:
    """Finishing and copying may take long, and a file that couldn't be copied is kept for its promised time."""
    limits = Recording(attach_deadline_secs=1, finish_deadline_secs=20, copy_deadline_secs=300, remote_ttl_secs=4000)
    entry = samples.make_entry(duration_secs=50_000)
    assert ephemeral.find_life(entry, limits) == 54_021
    assert ephemeral.find_life(entry, msgspec.structs.replace(limits, remote_ttl_secs=1)) == 50_321
    settings = Settings(recording=Recording(unreachable_secs=700), ephemeral=Ephemeral(start_deadline_secs=50))
    assert ephemeral.find_idle_secs(settings) == 810


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


async def lose_helper(operator: OperatorProcess, container: Container) -> None:
    """A recording whose ephemeral container is killed with all that is in it while samply holds the target stopped."""
    ask(operator.cluster, mode="Ephemeral", durationSeconds=600)
    await operator.reach(lambda: find_state(container.target.pid) == "T")
    (folder,) = container.folder.iterdir()
    samply = int((folder / "samply").read_text().split()[0])
    end_helper(operator.cluster)
    kill_shells(folder)
    os.kill(samply, signal.SIGKILL)
    await operator.reach_phase("p-1", "Failed", "Succeeded")
    await operator.reach_rest()


class TestAdded:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(
            recording=Recording(min_free_bytes=1, min_coverage=0), ephemeral=Ephemeral(start_deadline_secs=1)
        )

    async def test_the_container_records_and_ends_right_afterwards(
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
        pods = [TargetPod(operator.context, Journal(operator.volume, each)) for each in (entry, rival)]
        names = {await ephemeral.choose_name(pod) for pod in pods}
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

    async def test_auto_ends_an_unsuitable_container_and_records_in_place(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """In place few samples are seen, but that is better than none."""
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
            ({}, {"available_kib": "100000"}, "NodeMemory"),
        ],
        ids=["memory", "storage", "memory of the node"],
    )
    @pytest.mark.parametrize("is_preflight", [False, True], ids=["a recording", "a preflight"])
    async def test_none_is_made_where_the_pods_own_limits_or_the_node_forbid_it(
        self,
        operator: OperatorProcess,
        cluster: FakeCluster,
        limits: dict[str, str],
        facts: dict[str, str],
        reason: str,
        is_preflight: bool,
    ) -> None:
        """It would stay in the pod's spec for nothing; the reasons against both modes are reported."""
        (container,) = add_pipeline(cluster)
        container.facts |= facts
        (path,) = (path for path, raw in cluster.objects.items() if raw["metadata"].get("name") == POD)
        pod = cluster.objects[path]
        pod["spec"]["containers"][0]["resources"] = {"limits": limits}
        cluster.put(path, pod)
        ask(cluster, mode="Auto", preflightOnly=is_preflight)
        failure = (await operator.reach_phase("p-1", "Failed", "Succeeded"))["failure"]
        assert failure["reason"] == reason
        assert "Mode Ephemeral" in failure["message"]
        assert list_helpers(cluster) == []

    @pytest.mark.parametrize(
        ("status", "said"),
        [
            (422, "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no"),
            (409, 'admission webhook "a.b" denied the request: no'),
            (422, 'existing ephemeral containers "a" may not be changed @@ -1,6 +1,6 @@ {"Name": "a"}'),
        ],
    )
    async def test_not_every_refusal_is_of_pod_security(
        self, status: int, said: str, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """A namespace whose level is lowered for nothing is no cure."""
        add_pipeline(cluster)
        refusal = faults.build_error(status, json.dumps({"message": said}).encode(), "PATCH")
        cluster.fault = fail(lambda verb, what: what.endswith("ephemeralcontainers"), refusal)
        ask(cluster, mode="Ephemeral")
        failure = (await operator.reach_phase("p-1", "Failed"))["failure"]
        assert failure["reason"] == "EphemeralRefused"
        assert failure["remedy"].startswith("A webhook, a policy or a quota")
        assert "@@" not in failure["message"]

    async def test_one_that_was_refused_leaves_nothing_to_clean(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """The journal names it before it is created; if it never existed, nothing waits for it."""
        add_pipeline(cluster)
        refusal = faults.build_error(403, json.dumps({"message": BY_OPENSHIFT}).encode(), "PATCH")
        cluster.fault = fail(lambda verb, what: what.endswith("ephemeralcontainers"), refusal)
        ask(cluster, mode="Ephemeral")
        failure = (await operator.reach_phase("p-1", "Failed"))["failure"]
        assert failure["reason"] == "EphemeralRefused"
        assert "capability may not be added" in failure["message"]
        assert "SecurityContextConstraints" in failure["remedy"]
        await operator.reach_rest()
        assert_nothing_left(operator)
        await operator.reach(lambda: not list(cluster.find("/leases/")))

    async def test_one_that_ends_during_the_attach_leaves_no_stopped_target(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """Killed with all that was in it, for want of memory say: the target is continued from its own container."""
        (container,) = add_pipeline(cluster, attach_secs=-1)
        await lose_helper(operator, container)
        assert operator.find_status("p-1")["failure"]["reason"] == "Lost"
        assert find_state(container.target.pid) in {"S", "R"}

    @pytest.mark.parametrize("has_run", [True, False])
    async def test_where_the_target_has_no_shell_another_one_continues_it(
        self, operator: OperatorProcess, cluster: FakeCluster, has_run: bool
    ) -> None:
        """If even that fails, the owner of the pipeline is notified."""
        (container,) = add_pipeline(cluster, attach_secs=-1)

        def fault(verb: str, what: str) -> Exception | None:
            if verb == "patch" and what.endswith("ephemeralcontainers"):
                cluster.helper_state = {"running": {}}
                if list_states(cluster):
                    cluster.helper_state = {"terminated": {"exitCode": 0}} if has_run else {"waiting": {}}
            return NO_SHELL if verb == "exec" and WAKE in what else None

        cluster.fault = fault
        await lose_helper(operator, container)
        (pod,) = (raw for raw in cluster.objects.values() if raw["metadata"].get("name") == POD)
        made = pod["spec"]["ephemeralContainers"][-1]
        assert made["name"].startswith("samply-operator-wake-")
        assert made["command"][2] == WAKE
        assert made["command"][4] == str(container.target.pid)
        assert ("TargetStopped" in operator.list_events("p-1")) is not has_run

    async def test_a_stopped_target_is_reported_if_no_container_may_be_added(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """The namespace was removed from config.ephemeral.namespaces; the journal doesn't wait for its return."""
        (container,) = add_pipeline(cluster, attach_secs=-1)
        lacking = 'pods "p" is forbidden: User "u" cannot patch resource "pods/ephemeralcontainers" in API group ""'

        def fault(verb: str, what: str) -> Exception | None:
            if verb == "patch" and what.endswith("ephemeralcontainers") and list_states(cluster):
                return KubeForbidden(lacking)
            return NO_SHELL if verb == "exec" and WAKE in what else None

        cluster.fault = fault
        await lose_helper(operator, container)
        assert "TargetStopped" in operator.list_events("p-1")
        assert "TargetStopped" in operator.list_events(POD)

    @pytest.mark.parametrize("verb", ["get", "patch", "patch done"])
    async def test_an_answer_that_fails_or_is_lost_is_asked_for_again(
        self, operator: OperatorProcess, cluster: FakeCluster, verb: str
    ) -> None:
        """And never is a second one made."""
        add_pipeline(cluster)
        ends = "ephemeralcontainers" if verb != "get" else POD
        left = 3 if verb == "get" else 1

        def fault(said: str, what: str) -> KubeUnavailable | None:
            nonlocal left
            is_started = bool(list_states(cluster)) or verb != "get"
            if said == verb and what.endswith(ends) and is_started and left > 0:
                left -= 1
                return KubeUnavailable("429 too many requests")
            return None

        cluster.fault = fault
        ask(cluster, mode="Ephemeral")
        status = await operator.reach_phase("p-1", "Failed", "Succeeded")
        assert (status["phase"], left) == ("Succeeded", 0), status
        assert len(list_helpers(cluster)) == 1

    async def test_auto_tries_another_mode_when_samply_itself_refuses(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """What a preflight can't see, such as whether samply's file carries capabilities, samply knows."""
        refusal = "mmap failed: Operation not permitted"
        (container,) = add_pipeline(cluster, refuses=refusal)
        behaviour = Path(container.path.partition(":")[0]) / "behaviour"

        def cure(verb: str, what: str) -> None:
            if verb == "patch" and what.endswith("ephemeralcontainers"):
                behaviour.write_text(json.dumps(RECORDED))

        cluster.fault = cure
        ask(cluster, mode="Auto")
        status = await operator.reach_phase("p-1", "Failed", "Succeeded")
        assert (status["phase"], status["target"]["mode"]) == ("Succeeded", "Ephemeral"), status
        assert refusal in status["warnings"][0]
        assert count_starts(cluster) == 2
        await operator.reach_rest()
        assert_nothing_left(operator)

    async def test_where_it_refuses_and_no_other_way_is_open_its_words_are_the_reason(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """With what stood in the way of the other."""
        add_pipeline(cluster, refuses="mmap failed: Operation not permitted")
        cluster.fault = fail(lambda verb, what: what.endswith("ephemeralcontainers"), KubeForbidden("by policy"))
        ask(cluster, mode="Auto")
        failure = (await operator.reach_phase("p-1", "Failed", "Succeeded"))["failure"]
        assert failure["reason"] == "LockedMemory"
        assert "by policy" in failure["message"]
        assert "mmap failed" in failure["log"]

    async def test_the_failure_names_a_container_that_ended_during_use(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """For example by its own timer, after the operator was away for a long time."""
        (container,) = add_pipeline(cluster, no_file=True)
        ask(cluster, mode="Ephemeral", durationSeconds=600)
        await operator.reach_phase("p-1", "Recording")
        end_helper(cluster)
        (folder,) = container.folder.iterdir()
        os.kill(int((folder / "samply").read_text().split()[0]), signal.SIGKILL)
        status = await operator.reach_phase("p-1", "Failed", "Succeeded")
        assert status["failure"]["reason"] == "Lost"
        assert "samply-operator-1" in status["failure"]["message"]
