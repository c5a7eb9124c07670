"""hack/cluster by kind, over a `docker`, a `kind` and a `kubectl` that are scripts: which commands it gives."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "hack"))

from kind.provider import KindProvider
from native.errors import ClusterError

NODE = "samply-operator-control-plane"
PRIVILEGED, OLD = "000001ffffffffff", "0000003fffffffff"
"""All capabilities of a kernel since 5.9, and those that an engine of 2020 knows."""

DOCKER = """\
#!/bin/sh
echo "docker $*" >> "$LOG"
test "$1" != "$(cat fails)" || exit 1
case "$*" in
    "ps "*) cat nodes ;;
    "inspect --format {{.State.Status}}"*) cat state ;;
    "inspect --format {{.Id}}"*) echo node-id ;;
    "image inspect"*) cat image ;;
    *"cat /proc/1/status") printf 'Name:\\tsystemd\\nCapBnd:\\t%s\\n' "$(cat capabilities)" ;;
    *"sysctl -n"*) echo 3 ;;
    *"crictl inspecti"*) grep -qx "$6" on-node; exit ;;
    "rm "*) : > nodes ;;
esac
"""
KIND = """\
#!/bin/sh
echo "kind $*" >> "$LOG"
case "$1" in
    create) echo NODE > nodes; eval "touch \\${$#}" ;;
    load) echo "$5" >> on-node ;;
esac
""".replace("NODE", NODE)
KUBECTL = """\
#!/bin/sh
echo "kubectl $*" >> "$LOG"
cat ready
test ! -e ready-next || mv ready-next ready
"""


class Machine:
    """A folder whose files say what the scripts answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.log = folder / "log"
        self.log.touch()
        self.set("nodes", ""), self.set("state", "running"), self.set("image", "sha256:1"), self.set("on-node", "")
        self.set("fails", "")
        self.set("capabilities", PRIVILEGED), self.set("ready", "True")
        for name, script in (("docker", DOCKER), ("kind", KIND), ("kubectl", KUBECTL), ("helm", KUBECTL)):
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(script)
            path.chmod(0o755)

    def set(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"{text}\n" if text else "")

    def list_calls(self, start: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith(start)]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path / "machine")
    monkeypatch.setenv("LOG", str(found.log))
    monkeypatch.setenv("PATH", f"{found.folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("SAMPLY_OPERATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(found.folder)
    return found


@pytest.fixture
def provider(tmp_path: Path) -> KindProvider:
    return KindProvider(tmp_path / "state")


def test_up_and_down(machine: Machine, provider: KindProvider) -> None:
    """The node's setting is put back before the node is removed."""
    provider.up(1)
    assert len(machine.list_calls("kind create cluster")) == 1
    assert json.loads((provider.state / "sysctls.json").read_text()) == {"kernel.perf_event_paranoid": "3"}
    provider.down()
    assert machine.list_calls("docker exec")[-1].endswith("kernel.perf_event_paranoid=3")
    assert machine.list_calls("docker rm") == [f"docker rm --force --volumes {NODE}"]
    assert not provider.state.exists()


def test_up_after_an_interrupted_one_begins_anew(machine: Machine, provider: KindProvider) -> None:
    """kind leaves the node, and writes the kubeconfig at its end."""
    machine.set("nodes", NODE)
    provider.up(1)
    calls = machine.log.read_text()
    assert calls.index(f"docker rm --force --volumes {NODE}") < calls.index("kind create cluster")


@pytest.mark.parametrize("is_there", [True, False], ids=["that does not start", "that is gone"])
def test_down_with_a_node(
    is_there: bool, machine: Machine, provider: KindProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting that cannot be put back is named, and the rest is removed."""
    provider.up(1)
    machine.set("fails", "start")
    machine.set("nodes", NODE if is_there else "")
    provider.down()
    assert "sysctl kernel.perf_event_paranoid=3" in capsys.readouterr().err
    assert len(machine.list_calls("docker rm")) == int(is_there)
    assert not provider.state.exists()


def test_status_without_the_programs(machine: Machine, provider: KindProvider) -> None:
    provider.up(1)
    (machine.folder / "bin" / "kubectl").unlink()
    assert not provider.status()
    (machine.folder / "bin" / "docker").unlink()
    with pytest.raises(ClusterError, match="docker is missing"):
        provider.status()


def test_up_starts_a_stopped_node(machine: Machine, provider: KindProvider) -> None:
    provider.state.mkdir()
    provider.kubeconfig.touch()
    machine.set("nodes", NODE)
    provider.up(1)
    assert machine.list_calls("docker start") == [f"docker start {NODE}"]
    assert machine.list_calls("kind create") == []


def test_up_waits_until_the_node_is_ready(machine: Machine, provider: KindProvider) -> None:
    """The API server answers before."""
    machine.set("nodes", NODE)
    machine.set("ready", "False"), machine.set("ready-next", "True")
    provider.state.mkdir()
    provider.kubeconfig.touch()
    provider.up(1)
    assert len(machine.list_calls("kubectl")) == 2


def test_an_old_engine_is_refused(machine: Machine, provider: KindProvider) -> None:
    machine.set("capabilities", OLD)
    with pytest.raises(ClusterError, match=r"CAP_PERFMON.*newer engine"):
        provider.up(1)


def test_down_and_status_without_a_cluster_need_no_kind(machine: Machine, provider: KindProvider) -> None:
    (machine.folder / "bin" / "kind").unlink()
    assert not provider.status()
    provider.down()
    assert machine.list_calls("docker rm") == []


@pytest.mark.parametrize(("state", "ready"), [("exited", "True"), ("running", "False"), ("running", "")])
def test_status_of_what_does_not_run(machine: Machine, provider: KindProvider, state: str, ready: str) -> None:
    machine.set("nodes", NODE)
    machine.set("state", state), machine.set("ready", ready)
    assert not provider.status()


def test_an_image_is_loaded_once(machine: Machine, provider: KindProvider) -> None:
    """And again once it was rebuilt."""
    provider.up(1)
    for image in ("sha256:1", "sha256:1", "sha256:2"):
        machine.set("image", image)
        provider.load("samply-operator:dev")
    assert len(machine.list_calls("kind load")) == 2


def test_an_image_that_the_node_removed_is_loaded_again(machine: Machine, provider: KindProvider) -> None:
    """The kubelet removes images where the disk is full."""
    provider.up(1)
    provider.load("samply-operator:dev")
    machine.set("on-node", "")
    for _ in range(2):
        provider.load("samply-operator:dev")
    assert len(machine.list_calls("kind load")) == 2


def test_the_folder_of_clients_does_not_link_to_itself(
    machine: Machine, provider: KindProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is on PATH, as hack/demo says."""
    for _ in range(2):
        assert (provider.bin / "kubectl").resolve() == machine.folder / "bin" / "kubectl"
        monkeypatch.setenv("PATH", f"{provider.bin}{os.pathsep}{os.environ['PATH']}")


def test_one_client_on_path_and_the_other_built(
    machine: Machine, provider: KindProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both are in the folder: `up` builds only what PATH lacks."""
    tools = machine.folder / "bin"
    built = tmp_path / "cache" / "bin" / "helm"
    built.parent.mkdir(parents=True)
    (tools / "helm").rename(built)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}/bin")
    provider.up(1)
    assert {link.name: link.resolve() for link in provider.bin.iterdir()} == {
        "kubectl": tools / "kubectl",
        "helm": built,
    }
