"""Would a recording work here? Facts that one exec gathered in the container in, a verdict with its findings out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from samply_operator.model.profile import Failure
from samply_operator.rules import failures

CAP_SYS_ADMIN = 21
CAP_PERFMON = 38

Flag = Literal["", "--unstable-presymbolicate", "--presymbolicate"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What preflight.sh printed. Absent facts keep their defaults: unknown is not a refusal."""

    samply: str = ""
    """Path of samply in the container; empty: none."""
    version: str = ""
    flags: frozenset[str] = frozenset()
    """Long options that `samply record --help` offers."""
    paranoid: int | None = None
    uid: int = -1
    effective_caps: int = 0
    online_cpus: int = 0
    allowed_cpus: int = 0
    quota_cpus: float | None = None
    """CPU limit in CPUs; None: none."""
    folder: str = ""
    """A writable folder; empty: none."""
    free_bytes: int | None = None
    pid: int = 1
    process: str = ""
    state: str = ""
    """One letter of /proc/PID/stat; empty: there is no such process."""
    pid_started: int = 0
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refusal` None: go, with `warnings` if there are any."""

    refusal: Failure | None = None
    warnings: tuple[str, ...] = field(default=())


def parse_facts(text: str) -> Facts:
    """Read `key=value` lines. Other lines and unknown keys are passed over: a pod isn't trusted."""
    raw: dict[str, str] = {}
    for line in text.splitlines():
        key, found, value = line.partition("=")
        if found:
            raw.setdefault(key, failures.clean_text(value)[:512])
    return Facts(
        samply=raw.get("samply", ""),
        version=raw.get("version", "").removeprefix("samply "),
        flags=frozenset(raw.get("flags", "").split()),
        paranoid=_integer(raw, "paranoid"),
        uid=_integer(raw, "uid") or 0,
        effective_caps=int(raw["capeff"], 16) if _is_hex(raw.get("capeff", "")) else 0,
        online_cpus=count_cpus(raw.get("online", "")),
        allowed_cpus=count_cpus(raw.get("allowed", "")),
        quota_cpus=_quota(raw.get("quota", "")),
        folder=raw.get("folder", ""),
        free_bytes=_kibibytes(raw),
        pid=_integer(raw, "pid") or 1,
        process=raw.get("process", ""),
        state=raw.get("state", "")[:1],
        pid_started=_integer(raw, "started") or 0,
        threads=_integer(raw, "threads") or 0,
    )


def _integer(raw: Mapping[str, str], key: str) -> int | None:
    text = raw.get(key, "")
    number = _natural(text.removeprefix("-"))
    return None if number is None else -number if text.startswith("-") else number


def _natural(digits: str) -> int | None:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _is_hex(text: str) -> bool:
    return 0 < len(text) <= 16 and all(c in "0123456789abcdefABCDEF" for c in text)


def _kibibytes(raw: Mapping[str, str]) -> int | None:
    free = _integer(raw, "free_kib")
    return None if free is None else free * 1024


def count_cpus(ranges: str) -> int:
    """How many CPUs a kernel list such as `0-3,8` names; 0 if it can't be read."""
    total = 0
    for part in ranges.split(","):
        low, _, high = part.strip().partition("-")
        first, last = _natural(low), _natural(high or low)
        if first is None or last is None or last < first:
            return 0
        total += last - first + 1
    return total


def _quota(text: str) -> float | None:
    """`quota period` in µs, as in cgroup v2's cpu.max; `max` or -1 means none."""
    quota, period = map(_natural, text.strip().partition(" ")[::2])
    return quota / period if quota is not None and period else None


def choose_symbol_flag(facts: Facts) -> Flag:
    """samplys are told apart by what they offer, not by their version (main says 0.13.1 too)."""
    if "--presymbolicate" in facts.flags:
        return "--presymbolicate"
    return "--unstable-presymbolicate" if "--unstable-presymbolicate" in facts.flags else ""


def decide(facts: Facts, *, min_free_bytes: int) -> Verdict:
    """The first finding that forbids it wins; the others become warnings."""
    refusal = _find_refusal(facts, min_free_bytes)
    return Verdict(refusal, () if refusal else tuple(_find_warnings(facts)))


def _find_refusal(facts: Facts, min_free_bytes: int) -> Failure | None:
    build = failures.build_failure
    if not facts.samply:
        return build("SamplyNotFound", "There is no samply on the PATH of the container.")
    if "--pid" not in facts.flags or "--save-only" not in facts.flags:
        return build(
            "SamplyTooOld", f"{facts.samply} ({facts.version or 'unknown version'}) can't attach to a process."
        )
    if not facts.state or facts.state == "Z":
        return build("ProcessNotFound", f"There is no process {facts.pid} in the container.")
    if facts.state in "Tt":
        return build("TargetStopped", f"Process {facts.pid} ({facts.process}) is in state {facts.state}.")
    if not facts.folder:
        return build(
            "NoWritableFolder", "None of $TMPDIR, /tmp, /var/tmp, /dev/shm and the working folder is writable."
        )
    if facts.free_bytes is not None and facts.free_bytes < min_free_bytes:
        return build(
            "TooLittleSpace", f"{facts.folder} has {facts.free_bytes} bytes free; {min_free_bytes} are needed."
        )
    return _find_refusal_of_kernel(facts)


def _find_refusal_of_kernel(facts: Facts) -> Failure | None:
    # Only 0.13.1 offers the unstable flag, and only it refuses at 2 without asking the kernel.
    is_old = choose_symbol_flag(facts) != "--presymbolicate"
    if is_old and facts.paranoid is not None and facts.paranoid >= 2:
        return failures.build_failure(
            "PerfEventParanoid",
            f"kernel.perf_event_paranoid is {facts.paranoid} on the node; samply {facts.version} needs 1 or lower.",
        )
    return None


def has_perfmon(facts: Facts) -> bool:
    return bool(facts.effective_caps & (1 << CAP_PERFMON | 1 << CAP_SYS_ADMIN))


def is_blind(facts: Facts) -> bool:
    """samply opens events only on as many CPUs as quota and affinity leave: what runs on the others is not seen."""
    seen = min(
        facts.allowed_cpus or facts.online_cpus,
        max(1, math.ceil(facts.quota_cpus)) if facts.quota_cpus is not None else facts.online_cpus,
    )
    return 0 < seen < facts.online_cpus


def _find_warnings(facts: Facts) -> list[str]:
    warnings = []
    if is_blind(facts):
        limit = f"{facts.quota_cpus:g} CPUs" if facts.quota_cpus is not None else f"{facts.allowed_cpus} CPUs (cpuset)"
        warnings.append(
            f"The container is limited to {limit} on a node of {facts.online_cpus}: samply sees only the first CPUs, "
            "so samples will be missing. Look at the coverage."
        )
    if not choose_symbol_flag(facts):
        warnings.append("This samply can't save symbols: the profile will show addresses.")
    return warnings
