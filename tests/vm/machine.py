"""One boot of the emulated machine (hack/vm) for all tests: the script that it runs, and its results."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from samply_operator.model.container import ContainerFacts
from samply_operator.recorder.pod import ephemeral, script_calls
from samply_operator.rules.recording import preflight_output
from samply_operator.rules.recording.preflight_estimates import Plan

REPOSITORY = Path(__file__).resolve().parents[2]
NUMBERS = {"KILL": 5, "SYS_CHROOT": 18, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "PERFMON": 38, "IPC_LOCK": 14}
NUMBERS["DAC_READ_SEARCH"] = 2
HELPER = sum(1 << NUMBERS[name] for name in ephemeral.CAPABILITIES)
"""What the ephemeral container has."""


@dataclass
class Job:
    """Lines of the script that runs in the machine, as root."""

    lines: list[str] = field(default_factory=lambda: ["set -u", "cd /out"])

    def add(self, *lines: str) -> None:
        self.lines += lines

    def add_group(self, name: str, **limits: str) -> None:
        self.add(f"mkdir /sys/fs/cgroup/{name}")
        self.lines += [f"echo {value} >/sys/fs/cgroup/{name}/{key.replace('_', '.')}" for key, value in limits.items()]

    def start(self, group: str, threads: int, mib: int = 1) -> None:
        """A target; its number is in $pid and its start time in $born afterwards."""
        ready = f"/tmp/{group}.ready"
        self.add(
            f"within {group} all busy {threads} {mib} >{ready} &",
            "pid=$!",
            f"until [ -s {ready} ]; do sleep 0.1; done; rm {ready}",
            "read -r stat </proc/$pid/stat; set -- ${stat##*) }; born=${20}",
        )

    def set_level(self, level: int) -> None:
        self.add(f"echo {level} >/proc/sys/kernel/perf_event_paranoid")

    def end(self) -> None:
        self.add("kill -KILL $pid 2>/dev/null; wait $pid 2>/dev/null")

    def preflight(self, name: str, group: str, caps: str = "all") -> None:
        command = shlex.join(script_calls.build_command("preflight.sh", "self", ""))
        self.add(f"within {group} {caps} {command} >{name}.facts 2>{name}.facts.err")

    def probe(self, name: str, group: str, caps: str, events: int = 2) -> None:
        """The kernel's response to an attempt to open the target's events."""
        self.add(f'within {group} {caps} events "$pid" {events} >{name}.answer')


@dataclass(frozen=True)
class Left:
    """What the machine sent."""

    folder: Path

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def facts(self, name: str) -> ContainerFacts:
        return preflight_output.parse_facts(self.text(f"{name}.facts"))

    def plan(self, name: str) -> Plan:
        """To record the target that preflight saw, with the project's samply."""
        process = next(process for process in self.facts(name).processes if process.name == "busy")
        return Plan(process, 2, 199, 1, is_own=True)


def boot(job: Job, scratch: Path, *, arch: str = "x86_64", timeout_secs: int = 900) -> Left:
    folder, out = scratch / "job", scratch / "out"
    folder.mkdir()
    (folder / "run").write_text("\n".join(job.lines) + "\n")
    command = [REPOSITORY / "hack" / "vm", folder, out, "--arch", arch, "--timeout", str(timeout_secs)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Left(out)
