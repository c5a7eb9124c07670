"""Whether a recording would work: facts read from an untrusted pod, and the verdicts on them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.model.container import ContainerFacts, Process, Sections
from samply_operator.rules.recording import preflight, preflight_estimates, preflight_facts
from samply_operator.rules.recording import preflight_output as reading
from samply_operator.rules.recording.preflight_estimates import Plan

COMMON = "--pid --save-only --rate --duration --output --help"
PRINTED = f"""\
arch=x86_64
uid=1000
capeff=000001ffffffffff
capbnd=000001ffffffffff
nonewprivs=0
seccomp=2
uid_map=0 0 4294967295
mlock_kib=516
max_rate=100000
memlock=8388608
nofile=1048576
memory_limit=9223372036854771712
memory_used=1000
memory_cache=400
allowed=0-3
online=0-3
page_kib=4
paranoid=1
quota=200000 100000
samply=/usr/bin/samply
version=samply 0.13.1
flags= {COMMON} --unstable-presymbolicate
folder=/tmp
free_kib=1048576
folder_fs=tmpfs rw,noexec
process=7 1 S 42 900 123456 1000000 pipeline-bin pipeline (a) b
"""
GOOD = reading.parse_facts(
    PRINTED.replace("200000 100000", "max 100000").replace("folder_fs=tmpfs rw,noexec", "folder_fs=ext4 rw")
)
MIN_FREE = 64 * 1024 * 1024
MIB = 1 << 20
PROCESS = Process(7, 1, "S", 42, 900, 123456, 1000000, "pipeline (a) b", "pipeline-bin")
PLAN = Plan(PROCESS, 30, 1000, MIN_FREE)
OWN = replace(PLAN, is_own=True)

OLD = frozenset(f"{COMMON} --unstable-presymbolicate".split())
NEW = frozenset(f"{COMMON} --presymbolicate".split())
BARE = frozenset(COMMON.split())


def test_all_facts_are_read() -> None:
    """What preflight.sh prints is what the rule sees."""
    assert reading.parse_facts(PRINTED) == ContainerFacts(
        samply="/usr/bin/samply", version="0.13.1", flags=OLD, arch="x86_64", page_bytes=4096, paranoid=1, uid=1000,
        effective_caps=0x1FFFFFFFFFF, bounding_caps=0x1FFFFFFFFFF, seccomp=2, online_cpus=4, allowed_cpus=4,
        quota_cpus=2.0, mlock_kib=516, memlock_bytes=8 << 20, open_files=1 << 20, max_rate_hz=100000, memory_used=600,
        folder="/tmp", free_bytes=1 << 30, is_tmpfs=True, is_noexec=True, processes=(PROCESS,),
    )  # fmt: skip


def test_nothing_printed_means_nothing_known() -> None:
    """Such as from a container that ended meanwhile: no exception, and no samply either."""
    facts = reading.parse_facts("")
    assert (facts.samply, facts.processes, facts.paranoid, facts.free_bytes) == ("", (), None, None)


@pytest.mark.parametrize(
    ("text", "fact", "value"),
    [
        pytest.param("paranoid=-1", "paranoid", -1, id="paranoid -1"),
        pytest.param("paranoid=", "paranoid", None, id="paranoid unreadable"),
        pytest.param("paranoid=²", "paranoid", None, id="superscript"),
        pytest.param("paranoid=--1", "paranoid", None, id="two signs"),
        pytest.param("paranoid=" + "9" * 400, "paranoid", None, id="endless number"),
        pytest.param("capeff=xyz", "effective_caps", 0, id="no hex"),
        pytest.param("capeff=" + "f" * 17, "effective_caps", 0, id="too many bits"),
        pytest.param("capeff=0x10", "effective_caps", 0, id="prefix"),
        pytest.param("online=0-1,4", "online_cpus", 3, id="cpu list"),
        pytest.param("online=²-3", "online_cpus", 0, id="superscript in a cpu list"),
        pytest.param("online=5-3", "online_cpus", 0, id="cpu list backwards"),
        pytest.param("online=0-" + "9" * 400, "online_cpus", 0, id="endless cpu list"),
        pytest.param("quota=max 100000", "quota_cpus", None, id="no quota, cgroup v2"),
        pytest.param("quota=-1 100000", "quota_cpus", None, id="no quota, cgroup v1"),
        pytest.param("quota=50000 100000", "quota_cpus", 0.5, id="half a CPU"),
        pytest.param("quota=1 0", "quota_cpus", None, id="no period"),
        pytest.param("quota=² ²", "quota_cpus", None, id="superscript quota"),
        pytest.param("quota=" + "9" * 400 + " 1", "quota_cpus", None, id="endless quota"),
        pytest.param("free_kib=-5", "free_bytes", -5120, id="negative space is no space"),
        pytest.param("free_kib=5x", "free_bytes", None, id="space that is no number"),
        pytest.param("samply=/a\nsamply=/b", "samply", "/a", id="the first word counts"),
        pytest.param("samply=\x1b[31mred\x07", "samply", "[31mred", id="terminal codes taken out"),
        pytest.param("samply=" + "x" * 9999, "samply", "x" * 2048, id="long text cut"),
        pytest.param("samply=a=b", "samply", "a=b", id="equals sign in a value"),
        pytest.param("process=1 2 S x 1 1 1 - a", "processes", (), id="a process with odd numbers"),
        pytest.param(
            f"process=1 0 S 1 1 1 1 {'x' * 255} a",
            "processes",
            (Process(1, 0, "S", 1, 1, 1, 1, "a", "x" * 255),),
            id="a program with the longest name",
        ),
        pytest.param("uid_map=0 100000 65536", "is_user_namespace", True, id="users of its own"),
        pytest.param("memory_limit=max", "memory_limit", None, id="no memory limit, cgroup v2"),
        pytest.param("version=1.2", "version", "1.2", id="version without the name"),
        pytest.param("nonsense\n=\n=x\nunknown=1\nparanoid=3", "paranoid", 3, id="invalid lines around it"),
    ],
)
def test_hostile_or_odd_text_is_read_as(text: str, fact: str, value: object) -> None:
    """Or as unknown: never an exception."""
    assert getattr(reading.parse_facts(text), fact) == value


KEYS = [line.partition("=")[0] for line in PRINTED.splitlines()]
ALL = (1 << 41) - 1
FEW = ALL & ~(1 << 21)
"""Without SYS_ADMIN."""
DEBIAN = (
    "Linux version 6.1.0-50-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, "
    "GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1"
)
KALI = "Linux version 6.12.13-amd64 (devel@kali.org) (x86_64-linux-gnu-gcc-14 (Debian 14.2.0-16) 14.2.0)"
UBUNTU = (
    "Linux version 6.8.0-1021-aws (buildd@lcy02-amd64-059) (x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0) 13.3.0, GNU ld "
    "(GNU Binutils for Ubuntu) 2.42) #23-Ubuntu SMP Mon Dec  9 23:59:34 UTC 2024"
)
MAINLINE = (
    "Linux version 6.18.5 (build@host) (gcc (Debian 14.2.0-19) 14.2.0, GNU ld (GNU Binutils for Debian) 2.44) #1 SMP"
)
ODD = st.text(alphabet=st.one_of(st.sampled_from("0123456789-, ²٣max"), st.characters()), max_size=30)


@given(st.lists(st.tuples(st.sampled_from(KEYS), ODD)))
def test_any_facts_are_read_and_judged(lines: list[tuple[str, str]]) -> None:
    """Whatever a pod prints, the answer is a verdict."""
    facts = reading.parse_facts("\n".join(f"{key}={value}" for key, value in lines))
    preflight.decide(facts, PLAN)


@given(st.text())
def test_any_text_at_all_is_read(text: str) -> None:
    """Binary rubbish too."""
    reading.parse_facts(text)


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        pytest.param({"samply": ""}, "SamplyNotFound", "no samply", id="no samply"),
        pytest.param({"flags": frozenset()}, "SamplyTooOld", "0.13.1", id="a samply that offers nothing"),
        pytest.param({"flags": frozenset({"--pid"})}, "SamplyTooOld", "attach", id="without save-only"),
        pytest.param({"flags": BARE - {"--pid"}, "version": ""}, "SamplyTooOld", "unknown version", id="without pid"),
        pytest.param({"folder": ""}, "NoWritableFolder", "writable", id="no folder"),
        pytest.param({"free_bytes": MIN_FREE - 1}, "TooLittleSpace", "bytes free", id="no space"),
        pytest.param({"paranoid": 2}, "PerfEventParanoid", "is 2", id="0.13.1 at 2"),
        pytest.param({"paranoid": 4}, "PerfEventParanoid", "is 4", id="0.13.1 at 4 (Debian)"),
        pytest.param(
            {"paranoid": 3, "kernel": DEBIAN, "flags": NEW, "effective_caps": FEW},
            "PerfRestricted",
            "is 3",
            id="Debian's at 3",
        ),
        pytest.param(
            {"paranoid": 4, "kernel": UBUNTU, "flags": NEW, "uid": 0, "effective_caps": 1 << 14},
            "PerfNotPermitted",
            "no PERFMON",
            id="Ubuntu's at 4, without PERFMON",
        ),
        pytest.param(
            {"paranoid": 4, "kernel": UBUNTU, "effective_caps": FEW},
            "PerfEventParanoid",
            "is 4",
            id="0.13.1 on Ubuntu's",
        ),
        pytest.param(
            {"paranoid": 3, "kernel": DEBIAN, "samply": "", "effective_caps": FEW},
            "PerfRestricted",
            "is 3",
            id="no other way helps",
        ),
        pytest.param(
            {"page_bytes": 65536},
            "PageSize",
            "are 64 KiB on the node; samply 0.13.1 works only with pages of 4 KiB",
            id="large pages",
        ),
        pytest.param({"is_user_namespace": True}, "UserNamespace", "hostUsers", id="users of its own"),
        pytest.param({"max_rate_hz": 999}, "RateTooHigh", "999", id="rate above the node's"),
        pytest.param({"uid": 0, "effective_caps": 0}, "PerfNotPermitted", "seccomp", id="filter without PERFMON"),
        pytest.param(
            {"uid": 0, "effective_caps": 0, "seccomp": 0, "paranoid": 2, "flags": NEW},
            "PerfNotPermitted",
            "no PERFMON",
            id="no filter, no PERFMON, paranoid 2",
        ),
        pytest.param({"effective_caps": 1 << 38, "uid": 0}, "LockedMemory", "172 MiB", id="no IPC_LOCK, many threads"),
        pytest.param({"open_files": 200}, "OpenFiles", "236", id="too few files"),
        pytest.param({"storage_limit": 20 * MIB}, "TooLittleSpace", "12 MiB in /tmp", id="little ephemeral storage"),
        pytest.param({"memory_limit": 60 * MIB, "memory_used": 9 * MIB}, "TightMemory", "45 MiB", id="little memory"),
        pytest.param({"paranoid": 2, "flags": BARE}, "PerfEventParanoid", "is 2", id="an unknown samply at 2"),
        pytest.param(
            {"folder_limit": 10 * MIB},
            "TooLittleSpace",
            "the sizeLimit of this emptyDir is 10 MiB",
            id="a small emptyDir",
        ),
        pytest.param({"node_available": 200 * MIB}, "NodeMemory", "200 MiB left", id="a node without memory"),
        pytest.param(
            {"effective_caps": 1 << 38, "has_no_new_privs": True},
            "LockedMemory",
            "172 MiB",
            id="no_new_privs: what a file carries doesn't count",
        ),
        pytest.param(
            {"effective_caps": 0, "has_no_new_privs": True},
            "PerfNotPermitted",
            "no PERFMON",
            id="no_new_privs: nor PERFMON",
        ),
        pytest.param(
            {"is_tmpfs": True, "memory_limit": 90 * MIB, "memory_used": 9 * MIB},
            "TightMemory",
            "80 MiB",
            id="the file is in memory too",
        ),
    ],
)
def test_a_recording_that_cannot_work_is_refused_before_it_starts(
    changes: dict[str, object], reason: str, said: str
) -> None:
    """With what is wrong and its cure."""
    refusal = preflight.decide(replace(GOOD, **changes), PLAN).refusal  # type: ignore[arg-type]
    assert refusal is not None
    assert refusal.reason == reason
    assert said in refusal.message
    assert refusal.remedy


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="as it should be"),
        pytest.param({"paranoid": None}, id="paranoid unknown"),
        pytest.param({"paranoid": -1}, id="paranoid -1"),
        pytest.param({"paranoid": -1, "effective_caps": 1 << 38, "uid": 0}, id="at -1 locked memory isn't counted"),
        pytest.param({"paranoid": 3, "kernel": MAINLINE, "flags": NEW}, id="3 is no more than 2 on Linux itself"),
        pytest.param({"paranoid": 3, "kernel": "", "flags": NEW}, id="an unknown kernel at 3"),
        pytest.param({"paranoid": 2, "kernel": DEBIAN, "flags": NEW}, id="Debian's at 2"),
        pytest.param({"paranoid": 4, "kernel": UBUNTU, "flags": NEW, "effective_caps": ALL}, id="SYS_ADMIN at 4"),
        pytest.param({"free_bytes": None}, id="space unknown"),
        pytest.param({"free_bytes": MIN_FREE}, id="just enough space"),
        pytest.param({"paranoid": 2, "flags": NEW}, id="Feldera's fork or main at 2: the kernel is asked"),
        pytest.param({"mlock_kib": None, "effective_caps": 1 << 38}, id="lockable memory unknown"),
        pytest.param({"memory_limit": 1 << 33, "memory_used": None}, id="memory in use unknown"),
        pytest.param({"effective_caps": 0, "uid": 1000}, id="file capabilities can't be seen from here"),
        pytest.param({"online_cpus": 0, "allowed_cpus": 0}, id="CPUs unknown"),
        pytest.param({"storage_limit": 1 << 30}, id="enough ephemeral storage"),
        pytest.param({"folder_limit": 1 << 25}, id="a large emptyDir"),
        pytest.param({"online_cpus": 64, "allowed_cpus": 64, "folder_limit": 100 * MIB}, id="an emptyDir, many CPUs"),
        pytest.param({"node_available": 1 << 30}, id="enough of the node's memory"),
        pytest.param({"storage_limit": 1 << 20, "is_tmpfs": True}, id="storage doesn't count a folder in memory"),
        pytest.param({"security": "cri-containerd.apparmor.d (enforce)"}, id="the runtime's AppArmor profile"),
        pytest.param({"security": "unconfined"}, id="no AppArmor profile"),
        pytest.param({"security": "own (complain)"}, id="an AppArmor profile that only complains"),
        pytest.param({"security": "kernel"}, id="SELinux is off"),
        pytest.param({"security": "system_u:system_r:container_t:s0:c1,c2\0"}, id="SELinux' usual type"),
        pytest.param({"has_group_oom": True, "memory_limit": 1 << 33, "memory_used": 1}, id="far from out of memory"),
        pytest.param({"has_group_oom": True}, id="no memory limit"),
    ],
)
def test_a_recording_that_may_work_continues_without_a_warning(changes: dict[str, object]) -> None:
    """What isn't known is no refusal, and no warning either."""
    verdict = preflight.decide(replace(GOOD, **changes), PLAN)  # type: ignore[arg-type]
    assert verdict.findings == ()
    assert verdict.word == "Go"


@pytest.mark.parametrize(
    ("changes", "check", "said"),
    [
        pytest.param({"security": "own (enforce)"}, "Confined", "AppArmor profile of its own (own", id="AppArmor"),
        pytest.param({"security": "u:r:svirt_t:s0\0"}, "Confined", "SELinux type of its own", id="SELinux"),
        pytest.param({"runtime_class": "gvisor"}, "RuntimeClass", "RuntimeClass gvisor", id="a sandbox"),
        pytest.param(
            {"has_group_oom": True, "memory_limit": 150 * MIB, "memory_used": 9 * MIB}, "GroupOom",
            "memory.oom.group", id="out of memory would end all"
        ),
        pytest.param({"is_tmpfs": True, "memory_limit": 1 << 33}, "FolderInMemory", "in memory", id="tmpfs"),
        pytest.param(
            {"paranoid": 4, "kernel": UBUNTU, "flags": NEW, "effective_caps": FEW}, "PerfMayBeRestricted",
            "is 4 on the node", id="Ubuntu's at 4, with PERFMON"
        ),
        pytest.param(
            {"paranoid": 3, "kernel": UBUNTU, "flags": NEW, "uid": 1000, "effective_caps": 1 << 14},
            "PerfMayBeRestricted", "is 3 on the node", id="Ubuntu's at 3, PERFMON from samply's file"
        ),
        pytest.param(
            {"paranoid": 3, "kernel": KALI, "flags": NEW, "effective_caps": FEW}, "PerfMayBeRestricted",
            "made from Debian's", id="one made from Debian's"
        ),
    ],
)  # fmt: skip
def test_what_may_stand_in_the_way_is_a_warning(changes: dict[str, object], check: str, said: str) -> None:
    """The recording proceeds, and the warning says what to check if it fails."""
    verdict = preflight.decide(replace(GOOD, **changes), PLAN)  # type: ignore[arg-type]
    assert verdict.word == "GoWithWarning"
    (finding,) = verdict.findings
    assert (finding.reason, said in finding.message) == (check, True)


@pytest.mark.parametrize("state", ["T", "t"])
def test_a_process_that_is_stopped_is_left_alone(state: str) -> None:
    """samply would continue it, which may not be what its owner wants."""
    refusal = preflight.decide(GOOD, replace(PLAN, process=replace(PROCESS, state=state))).refusal
    assert refusal is not None
    assert (refusal.reason, f"state {state}" in refusal.message) == ("TargetStopped", True)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"samply": "", "flags": frozenset()}, id="no samply there"),
        pytest.param({"paranoid": 4}, id="paranoid 4, with PERFMON"),
        pytest.param({"quota_cpus": 0.5}, id="a CPU limit"),
        pytest.param({"allowed_cpus": 1}, id="a cpuset"),
        pytest.param({"flags": BARE}, id="no symbol flag"),
    ],
)
def test_the_projects_own_samply_tolerates(changes: dict[str, object]) -> None:
    """It was built to work correctly in containers."""
    assert preflight.decide(replace(GOOD, **changes), OWN).findings == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("has", "reason"), [(0, "PerfNotPermitted"), (1 << 38, "LockedMemory")], ids=["nothing", "PERFMON alone"]
)
def test_what_is_copied_carries_no_capabilities(has: int, reason: str) -> None:
    """A file in the image may; the one that the operator uploads can't, whatever the container may have at most."""
    found = replace(GOOD, effective_caps=has, uid=1000)
    assert preflight.decide(found, PLAN).findings == ()
    refusal = preflight.decide(found, OWN).refusal
    assert refusal is not None
    assert refusal.reason == reason


def test_every_finding_has_a_cure_and_what_was_measured() -> None:
    """Refusals and warnings alike."""
    bad = ContainerFacts(
        paranoid=3, seccomp=2, mlock_kib=1, memlock_bytes=1, open_files=1, max_rate_hz=1, free_bytes=1, folder="/tmp",
        memory_limit=1, memory_used=1, node_available=1, is_user_namespace=True, online_cpus=4, quota_cpus=1.0,
        has_group_oom=True, security="own (enforce)", runtime_class="gvisor", storage_limit=1, folder_limit=1,
    )  # fmt: skip
    plan = replace(PLAN, process=replace(PROCESS, state="T"))
    stated = {"samply": "/samply", "flags": BARE - {"--unstable-presymbolicate"}}
    found = [
        finding
        for facts in (bad, replace(bad, **stated), replace(bad, folder=""), replace(bad, is_tmpfs=True))  # type: ignore[arg-type]
        for finding in preflight.decide(facts, plan).findings
    ]
    assert {f.reason for f in found} >= {"SamplyNotFound", "NoSymbols", "FolderInMemory", "BlindCpus", "NodeMemory"}
    assert [f.reason for f in found if not (f.remedy and f.measured and f.needed)] == []


def test_beside_the_target_its_limits_say_how_many_samples_there_may_be() -> None:
    """The ephemeral container has none of its own: all CPUs would count, and ordinary recordings be refused."""
    large = replace(GOOD, online_cpus=64, allowed_cpus=64, target_quota_cpus=4.0)
    assert preflight_estimates.estimate_samples(large, PLAN) == 4 * 30 * 1000
    assert preflight_estimates.estimate_samples(replace(large, target_quota_cpus=None), PLAN) == 16 * 30 * 1000
    pinned = replace(large, target_quota_cpus=None, target_allowed_cpus=2)
    assert preflight_estimates.estimate_samples(pinned, PLAN) == 2 * 30 * 1000


def test_without_a_limit_half_of_what_the_node_has_left_is_the_cap() -> None:
    """Less what the ring buffers take, which are the node's memory too; with both, the smaller one."""
    found = replace(GOOD, node_available=4096 * MIB)
    rings = 4 * 43 * 1028 * 1024
    verdict = preflight.decide(found, PLAN)
    assert (verdict.memory_cap, verdict.memory_reserve) == (2048 * MIB - rings, 0)
    limited = preflight.decide(replace(found, memory_limit=1000 * MIB, memory_used=500 * MIB), PLAN)
    assert limited.memory_cap == 450 * MIB
    assert limited.memory_reserve == pytest.approx(50 * MIB, abs=1)


def test_facts_are_shown_as_far_as_they_are_known() -> None:
    """In words of one line each."""
    nothing = {"capabilities": "none of use", "noNewPrivileges": "no"}
    assert preflight_facts.describe_facts(ContainerFacts(uid=-1), None) == nothing
    shown = preflight_facts.describe_facts(
        replace(GOOD, runtime="containerd", memory_limit=1 << 30, folder_limit=1 << 24), PROCESS
    )
    assert shown["samply"] == "/usr/bin/samply 0.13.1"
    assert shown["samplyOffers"] == "--pid --save-only --unstable-presymbolicate"
    assert shown["process"] == "pipeline (a) b (pid 7), threads: 42, state S, started 1234.56 s after the node's boot"
    assert shown["capabilities"] == "PERFMON, SYS_ADMIN, SYS_PTRACE, IPC_LOCK, KILL"
    assert (shown["cpus"], shown["seccomp"], shown["runtime"]) == ("4 of 4", "filter", "containerd")
    assert shown["folderKind"] == "on disk, sizeLimit 16 MiB"
    assert not {"uidMap", "targetCpus", "targetCpuLimit", "targetMemoryLimit", "targetMemoryLeft"} & shown.keys()


def test_the_targets_own_limits_are_shown_where_they_were_seen_from_beside_it() -> None:
    """And who its users are outside, where they aren't themselves."""
    text = f"""\
uid_map=0 100000  65536
online=0-3
target_allowed=0-1
target_quota=50000 100000
target_memory_limit={512 * MIB}
target_memory_used={100 * MIB}
target_memory_cache={40 * MIB}
"""
    shown = preflight_facts.describe_facts(reading.parse_facts(text), None)
    assert (shown["uidMap"], shown["targetCpus"], shown["targetCpuLimit"]) == ("0 100000 65536", "2 of 4", "0.5")
    assert (shown["targetMemoryLimit"], shown["targetMemoryLeft"]) == ("512 MiB", "452 MiB")


@pytest.mark.parametrize(
    ("size", "sections", "shown"),
    [
        pytest.param(0, None, None, id="nothing known"),
        pytest.param(186 * MIB, None, "186 MiB", id="its size"),
        pytest.param(186 * MIB, Sections(debug=93 * MIB), "186 MiB, 93 MiB of debug data", id="its sections"),
        pytest.param(
            0,
            Sections(debug=9 * MIB, packed=8 * MIB),
            "unknown size, 9 MiB of debug data, 8 MiB of it compressed",
            id="compressed ones",
        ),
    ],
)
def test_the_binary_is_shown(size: int, sections: Sections | None, shown: str | None) -> None:
    """As far as it is known: what the estimate of memory began with."""
    process = replace(PROCESS, binary_bytes=size, sections=sections)
    assert preflight_facts.describe_facts(GOOD, process).get("binary") == shown


MEASURED = [
    pytest.param((22.15, 89.1, 0, 1.37, 0.46), 62, 300, id="C, debug data"),
    pytest.param((22.15, 89.1, 89.1, 1.37, 0.46), 153, 300, id="C, compressed debug data"),
    pytest.param((0, 0, 0, 1.37, 0.46), 36, 100, id="C, no debug data"),
    pytest.param((0, 0, 0, 0, 0.46), 35, 100, id="C, stripped"),
    pytest.param((17.2, 36.1, 0, 2.76, 0.92), 115, 200, id="C, line tables"),
    pytest.param((17.2, 36.1, 36.1, 2.76, 0.92), 149, 300, id="C, compressed line tables"),
    pytest.param((4.86, 120.5, 0, 0.27, 0.1), 43, 100, id="Rust, debug data"),
    pytest.param((4.86, 120.5, 120.5, 0.27, 0.1), 159, 300, id="Rust, compressed debug data"),
    pytest.param((4.08, 44.3, 0, 0.18, 0.04), 45, 100, id="Rust, line tables"),
    pytest.param((4.08, 44.3, 44.3, 0.18, 0.04), 83, 200, id="Rust, compressed line tables"),
    pytest.param((0, 0, 0, 11.44, 3.81), 155, 200, id="many functions"),
    pytest.param((0, 0, 0, 0, 3.81), 78, 120, id="many functions, stripped"),
    pytest.param((0, 0, 0, 18.3, 0), 67, 200, id="many symbols"),
]


@pytest.mark.parametrize(("mebibytes", "measured", "most"), MEASURED)
def test_the_estimate_is_never_below_what_was_measured(mebibytes: tuple[float, ...], measured: int, most: int) -> None:
    """Nor out of all proportion. From the table of the decision note: MiB of samply's own memory at its peak."""
    process = replace(PROCESS, binary_bytes=1 << 40, sections=Sections(*(int(size * MIB) for size in mebibytes)))
    estimate = preflight_estimates.estimate_memory(
        replace(GOOD, is_tmpfs=False), replace(PLAN, process=process, duration_secs=0)
    )
    assert measured * MIB < estimate < most * MIB


def test_without_sections_the_size_of_the_binary_counts() -> None:
    """And where not even that is known, it is said."""
    assert preflight_estimates.estimate_symbols(replace(PROCESS, binary_bytes=100 * MIB)) == 160 * MIB
    unknown = replace(PLAN, process=replace(PROCESS, binary_bytes=0))
    (finding,) = preflight.decide(GOOD, unknown).findings
    assert (finding.severity, finding.reason) == ("warn", "BinarySizeUnknown")
    assert "is ended" in finding.message
    assert "stat or od" in finding.remedy
    assert preflight.decide(GOOD, replace(PLAN, process=replace(unknown.process, sections=Sections()))).findings == ()


def test_the_projects_own_samply_is_budgeted_for_all_cpus() -> None:
    """It opens events on each, so it locks more memory than one that a CPU limit makes blind."""
    limited = replace(GOOD, quota_cpus=1.0)
    assert preflight_estimates.count_events(limited, PLAN) == 1 * 43
    assert preflight_estimates.count_events(limited, OWN) == 4 * 43
    many = replace(OWN, process=replace(PROCESS, threads=300))
    assert preflight_estimates.count_events(limited, many) == 4 + 300


def test_a_cap_keeps_samply_below_the_memory_limit() -> None:
    """A tenth of what is free stays free."""
    assert preflight_estimates.cap_memory(replace(GOOD, memory_limit=1000 * MIB, memory_used=500 * MIB)) == 450 * MIB
    assert preflight_estimates.cap_memory(replace(GOOD, memory_limit=100, memory_used=500)) == 0
    assert preflight_estimates.cap_memory(replace(GOOD, memory_limit=None, memory_used=500)) is None


def test_beside_a_limited_target_its_memory_is_what_counts() -> None:
    """The pod's limit holds for both containers; without the target's limit nothing changes."""
    text = f"target_memory_limit={32 * MIB}\ntarget_memory_used={9 * MIB}\ntarget_memory_cache={4 * MIB}\nmemory_used=7"
    shared = preflight_estimates.share_memory(replace(reading.parse_facts(text), memory_limit=None))
    assert (shared.memory_limit, shared.memory_used) == (32 * MIB, 5 * MIB)
    assert (
        preflight_estimates.share_memory(replace(shared, memory_limit=None, target_memory_limit=None)).memory_limit
        is None
    )
    own = replace(shared, memory_limit=8 * MIB)
    assert preflight_estimates.share_memory(own) == own


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        pytest.param(OLD, "--unstable-presymbolicate", id="0.13.1"),
        pytest.param(NEW, "--presymbolicate", id="Feldera's fork"),
        pytest.param(NEW | {"--unstable-presymbolicate"}, "--presymbolicate", id="main, which says 0.13.1"),
        pytest.param(BARE, "", id="neither"),
    ],
)
def test_symbols_are_asked_for_as_this_samply_offers_it(flags: frozenset[str], flag: str) -> None:
    """Versions of samply are distinguished by their options, not by their version number."""
    assert preflight.choose_symbol_flag(replace(GOOD, flags=flags)) == flag


@pytest.mark.parametrize(
    ("online", "allowed", "quota", "is_blind"),
    [
        pytest.param(4, 4, None, False, id="no limits"),
        pytest.param(4, 4, 4.0, False, id="quota of all CPUs"),
        pytest.param(4, 4, 8.0, False, id="quota above all CPUs"),
        pytest.param(4, 4, 2.0, True, id="quota of half"),
        pytest.param(2, 2, 0.5, True, id="quota below one CPU"),
        pytest.param(1, 1, 0.5, False, id="one CPU is always seen"),
        pytest.param(2, 2, 1.5, False, id="samply rounds the quota up"),
        pytest.param(4, 4, 2.1, True, id="rounded up, still fewer"),
        pytest.param(4, 2, None, True, id="cpuset of half"),
        pytest.param(4, 2, 4.0, True, id="cpuset of half, quota of all"),
        pytest.param(4, 0, None, False, id="cpuset unknown"),
        pytest.param(0, 0, 1.0, False, id="CPUs unknown"),
    ],
)
def test_a_container_is_blind_when_samply_opens_events_on_fewer_cpus_than_there_are(
    online: int, allowed: int, quota: float | None, is_blind: bool
) -> None:
    """Threads run on any CPU; what runs where no event is open isn't sampled."""
    facts = replace(GOOD, online_cpus=online, allowed_cpus=allowed, quota_cpus=quota)
    assert preflight.is_blind(facts) is is_blind
    assert any("samples will be missing" in w for w in preflight.decide(facts, PLAN).warnings) is is_blind


@pytest.mark.parametrize(
    ("allowed", "quota", "said"), [(4, 1.5, "1.5 CPUs on a node of 4"), (2, None, "2 CPUs (cpuset) on a node of 4")]
)
def test_the_warning_names_the_limit(allowed: int, quota: float | None, said: str) -> None:
    """So that the reader knows which one to raise."""
    facts = replace(GOOD, allowed_cpus=allowed, quota_cpus=quota)
    assert said in preflight.decide(facts, PLAN).warnings[0]


def test_a_samply_that_saves_no_symbols_is_a_warning() -> None:
    """The profile is still worth something."""
    verdict = preflight.decide(replace(GOOD, flags=BARE), PLAN)
    assert verdict.refusal is None
    assert any("symbols" in warning for warning in verdict.warnings)


@pytest.mark.parametrize(
    ("caps", "has"), [(0, False), (1 << 38, True), (1 << 21, True), (1 << 14, False), ((1 << 41) - 1, True)]
)
def test_perfmon_is_seen_in_the_effective_set(caps: int, has: bool) -> None:
    """PERFMON, or SYS_ADMIN which contains it."""
    assert preflight.has_perfmon(replace(GOOD, effective_caps=caps)) is has
