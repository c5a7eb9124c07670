"""One boot of the emulated machine (hack/vm) for all tests: the script that it runs, and its results."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from samply_operator.model.container import ContainerFacts
from samply_operator.recorder.pod import ephemeral, prepare, script_calls
from samply_operator.rules.recording import preflight_output
from samply_operator.rules.recording.preflight_estimates import Plan

REPOSITORY = Path(__file__).resolve().parents[2]
NUMBERS = {"KILL": 5, "SYS_CHROOT": 18, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "PERFMON": 38, "IPC_LOCK": 14}
NUMBERS["DAC_READ_SEARCH"] = 2
PID, BORN = "$pid", "$born"
"""Of the target, for the machine's shell."""
DEADLINES = (60, 60)
"""Seconds for the attach and for the end: emulated, both take long."""
TIMEOUT_SECS = 1700
"""For a boot with all that runs in it. Three boots took 16 min on two CPUs with a load of 13 to 45."""
GUARDED_MIB = 512
CAP_KIB, RESERVE_KIB = GUARDED_MIB * 1024 * 9 // 10, GUARDED_MIB * 1024 // 10
"""What preflight decides for a container with that limit that uses nearly nothing."""
LEFT_FILES = {"profile.json.gz": "profile.json.gz", "profile.json.syms.json": "syms.json", "err": "log"}
HELPER = sum(1 << NUMBERS[name] for name in ephemeral.CAPABILITIES)
"""What the ephemeral container has."""


def quote(*words: str) -> str:
    return " ".join(f'"{word}"' if word in {PID, BORN} else shlex.quote(word) for word in words)


@dataclass
class Job:
    """Lines of the script that runs in the machine, as root."""

    lines: list[str] = field(default_factory=lambda: ["set -u", "cd /out"])

    def add(self, *lines: str) -> None:
        self.lines += lines

    def add_group(self, name: str, **limits: str) -> None:
        self.add(f"mkdir /sys/fs/cgroup/{name}")
        self.lines += [f"echo {value} >/sys/fs/cgroup/{name}/{key.replace('_', '.')}" for key, value in limits.items()]

    def start(self, group: str, threads: int, mib: int = 1, caps: str = "all") -> None:
        """A target; its number is in $pid and its start time in $born afterwards. Without SYS_PTRACE only those may
        look at it whose capabilities include its own."""
        ready = f"/tmp/{group}.ready"
        self.add(
            f"within {group} {caps} busy {threads} {mib} >{ready} &",
            "pid=$!",
            f"until [ -s {ready} ]; do sleep 0.1; done; rm {ready}",
            "read -r stat </proc/$pid/stat; set -- ${stat##*) }; born=${20}",
        )

    def set_level(self, level: int) -> None:
        self.add(f"echo {level} >/proc/sys/kernel/perf_event_paranoid")

    def end(self) -> None:
        self.add("kill -KILL $pid 2>/dev/null; wait $pid 2>/dev/null")

    def preflight(self, name: str, group: str, caps: str = "all", beside: str = "") -> None:
        """`beside`: the target's group, if that is another one, as for an ephemeral container."""
        command = quote(*script_calls.build_command("preflight.sh"), PID if beside else "self", beside)
        self.add(f"within {group} {caps} {command} >{name}.facts 2>{name}.facts.err")

    def install_helper(self) -> None:
        """The image of the ephemeral container, as far as it differs from the machine: where its samply is."""
        self.add("mkdir -p /usr/bin /usr/libexec", "ln -s /bin/samply /usr/libexec/samply")
        self.add("cp /job/samply.sh /usr/bin/samply", "chmod 755 /usr/bin/samply")

    def record(
        self, name: str, group: str, caps: str, *, secs: int, rate_hz: int, is_helper: bool, meanwhile: str
    ) -> None:
        """By the operator's own script, with guards of memory as for a container with GUARDED_MIB. `meanwhile` is
        started as soon as samply records, and is ended afterwards."""
        samply = "/usr/bin/samply" if is_helper else "/bin/samply"
        self.add(f"echo {name} >/dev/console")
        folder = f"/tmp/{name}"
        about = (folder, PID, secs, rate_hz, prepare.OWN_FLAG, samply, *DEADLINES, CAP_KIB, BORN, RESERVE_KIB, 0)
        command = quote(*script_calls.build_command("record.sh"), *map(str, about))
        self.add(f"within {group} {caps} {command} >{name}.events 2>{name}.err &", "recorder=$!")
        if meanwhile:
            self.add(
                f"until grep -q '^recording' {folder}/events || ! kill -0 $recorder; do sleep 0.2; done 2>/dev/null",
                f"{meanwhile} & other=$!",
            )
        self.add("wait $recorder")
        if meanwhile:
            self.add("kill -KILL $other; wait $other", f"cp /sys/fs/cgroup/{group}/memory.events {name}.oom")
        self.add(
            f"if kill -0 $pid 2>/dev/null; then grep State /proc/$pid/status; fi >{name}.target",
            *(f"cp {folder}/{left} {name}.{as_} 2>/dev/null" for left, as_ in LEFT_FILES.items()),
            f"rm -rf {folder}",
        )

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
        """A short recording of the target that preflight saw, with the project's samply."""
        process = next(process for process in self.facts(name).processes if process.name == "busy")
        return Plan(process, 2, 199, 1, is_own=True)


def find_samply(*arch: str) -> Path:
    """The project's, built if it isn't there."""
    command = [REPOSITORY / "images" / "samply" / "build", *arch]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def boot(job: Job, scratch: Path, *, arch: str = "x86_64", samply: Path | None = None) -> Left:
    folder, out = scratch / "job", scratch / "out"
    folder.mkdir()
    if samply is not None:
        shutil.copy(samply, folder / "samply")
        shutil.copy(REPOSITORY / "images" / "samply" / "samply", folder / "samply.sh")
    (folder / "run").write_text("\n".join(job.lines) + "\n")
    command = [REPOSITORY / "hack" / "vm", folder, out, "--arch", arch, "--timeout", str(TIMEOUT_SECS)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Left(out)
