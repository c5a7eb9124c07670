"""hack/native/build with a `go` that is a script: what it has built, and what it says if that fails."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "hack" / "native" / "build"
GO = """\
#!/bin/bash
echo "cgo=$CGO_ENABLED $*" >>"$LOG"
case $1 in
list) printf 'example.com/one\\nexample.com/two\\n' ;;
build)
    if [[ -e $LOG.broken ]]; then
        printf 'example.com/one\\n# example.com/two\\ntwo.go:3:1: undefined: three\\nexample.com/four\\n' >&2
        exit 1
    fi
    while [[ $1 != -o ]]; do shift; done
    out=$2
    shift 2
    for package; do
        [[ $package == */v3 ]] && package=${package%/v3} # as go names a program
        echo program >"$out${package##*/}"
        chmod +x "$out${package##*/}"
    done
    ;;
esac
"""
ALL = {
    "runc", "etcd", "coredns", "helm", "containerd", "containerd-shim-runc-v2", "ctr", "kube-apiserver",
    "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet",
}  # fmt: skip


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        go = folder / "tools" / "go"
        go.parent.mkdir()
        go.write_text(GO)
        go.chmod(0o755)

    def build(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        path = f"{self.folder / 'tools'}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {
            "PATH": path,
            "LOG": str(self.log),
            "SAMPLY_OPERATOR_CACHE": str(self.folder / "cache"),
        }
        return subprocess.run([SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False)

    def programs(self) -> set[str]:
        return {file.name for file in (self.folder / "cache" / "bin").iterdir() if not file.name.startswith(".")}

    def commands(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if " build " in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_all_are_built_once(machine: Machine) -> None:
    """At once, so that what they share is compiled once; runc alone with cgo, containerd by its own list."""
    done = machine.build()
    assert done.stdout == f"{machine.folder}/cache/bin\n"
    assert machine.programs() == ALL
    runc, others, containerd = machine.commands()
    assert runc.startswith("cgo=1 build -C")
    assert "-modfile=go.mod -trimpath -tags seccomp -gcflags" in runc
    assert others.startswith("cgo=0 build -C")
    assert "-modfile=go.mod" in others
    assert "gitVersion=v1." in others
    assert containerd.startswith("cgo=0 build -C")
    assert "-modfile=containerd.mod" in containerd
    assert "v2/version.Version=v2." in containerd
    assert machine.build().stdout == done.stdout
    assert machine.log.read_text() == ""


def test_what_is_missing(machine: Machine) -> None:
    assert set(machine.build("--missing").stdout.split()) == ALL
    machine.build("helm")
    assert set(machine.build("--missing").stdout.split()) == ALL - {"helm"}
    machine.build()
    assert machine.build("--missing").stdout == ""


def test_both_lists_have_the_same_versions() -> None:
    """But for the kubelet's interface to containerd."""
    folder = SCRIPT.parent / "go"
    kubernetes = (folder / "go.mod").read_text().splitlines()
    containerd = (folder / "containerd.mod").read_text().splitlines()
    assert [line for line in kubernetes if "=> k8s.io/cri-" not in line] == containerd


def test_one_first_and_the_others_later(machine: Machine) -> None:
    assert machine.build("helm").returncode == 0
    assert machine.programs() == {"helm"}
    machine.build()
    assert machine.programs() == ALL
    assert not any("helm.sh/helm/v4/cmd/helm" in command.split() for command in machine.commands())


def test_a_program_that_is_gone_is_built_again(machine: Machine) -> None:
    machine.build()
    (machine.folder / "cache" / "bin" / "ctr").unlink()
    machine.build()
    assert [command.split()[-1].rpartition("/")[2] for command in machine.commands()] == ["ctr"]


def test_what_an_older_layout_or_a_killed_build_left_goes(machine: Machine) -> None:
    machine.build()
    old = machine.folder / "cache" / "bin" / ".kubernetes-9ef6f485bd44"
    old.touch()
    (machine.folder / "cache" / "out.abcdef").mkdir()
    assert machine.build().returncode == 0
    assert not old.exists()
    assert not list((machine.folder / "cache").glob("out.*"))
    assert machine.commands() == []


def test_a_failure_shows_the_error_alone(machine: Machine) -> None:
    """Packages that were compiled meanwhile are in the log after it."""
    (machine.folder / "log.broken").touch()
    done = machine.build("kubectl")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == ["# example.com/two", "two.go:3:1: undefined: three"]
    assert machine.programs() == set()
    assert not list((machine.folder / "cache").glob("out.*"))


def test_an_unknown_program_is_named(machine: Machine) -> None:
    done = machine.build("kubctl")
    assert (done.returncode, "no program kubctl" in done.stderr) == (2, True)
