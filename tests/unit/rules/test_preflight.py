"""Would a recording work here: facts read from a pod that isn't trusted, and each verdict over them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.rules import preflight
from samply_operator.rules.preflight import Facts

COMMON = "--pid --save-only --rate --duration --output --help"
PRINTED = f"""\
pid=7
process=pipeline (a) b
state=S
started=123456
threads=42
uid=1000
capeff=000001ffffffffff
allowed=0-3
online=0-3
paranoid=1
quota=200000 100000
samply=/usr/bin/samply
version=samply 0.13.1
flags= {COMMON} --unstable-presymbolicate
folder=/tmp
free_kib=1048576
"""
GOOD = preflight.parse_facts(PRINTED.replace("200000 100000", "max 100000"))
MIN_FREE = 64 * 1024 * 1024

OLD = frozenset(f"{COMMON} --unstable-presymbolicate".split())
NEW = frozenset(f"{COMMON} --presymbolicate".split())
BARE = frozenset(COMMON.split())


def test_all_facts_are_read() -> None:
    """What preflight.sh prints is what the rule sees."""
    assert preflight.parse_facts(PRINTED) == Facts(
        samply="/usr/bin/samply", version="0.13.1", flags=OLD, paranoid=1, uid=1000, effective_caps=0x1FFFFFFFFFF,
        online_cpus=4, allowed_cpus=4, quota_cpus=2.0, folder="/tmp", free_bytes=1 << 30, pid=7,
        process="pipeline (a) b", state="S", pid_started=123456, threads=42,
    )  # fmt: skip


def test_nothing_printed_means_nothing_known() -> None:
    """Such as from a container that ended meanwhile: no exception, and no samply either."""
    facts = preflight.parse_facts("")
    assert (facts.samply, facts.state, facts.paranoid, facts.free_bytes) == ("", "", None, None)


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
        pytest.param("state=Running", "state", "R", id="one letter of state"),
        pytest.param("samply=/a\nsamply=/b", "samply", "/a", id="the first word counts"),
        pytest.param("process=\x1b[31mred\x07", "process", "[31mred", id="terminal codes taken out"),
        pytest.param("process=" + "x" * 9999, "process", "x" * 512, id="long text cut"),
        pytest.param("process=a=b", "process", "a=b", id="equals sign in a value"),
        pytest.param("version=1.2", "version", "1.2", id="version without the name"),
        pytest.param("nonsense\n=\n=x\nunknown=1\npid=3", "pid", 3, id="nonsense around it"),
    ],
)
def test_hostile_or_odd_text_is_read_as(text: str, fact: str, value: object) -> None:
    """Or as unknown: never an exception."""
    assert getattr(preflight.parse_facts(text), fact) == value


KEYS = [line.partition("=")[0] for line in PRINTED.splitlines()]
ODD = st.text(alphabet=st.one_of(st.sampled_from("0123456789-, ²٣max"), st.characters()), max_size=30)


@given(st.lists(st.tuples(st.sampled_from(KEYS), ODD)))
def test_any_facts_are_read_and_judged(lines: list[tuple[str, str]]) -> None:
    """Whatever a pod prints, the answer is a verdict."""
    facts = preflight.parse_facts("\n".join(f"{key}={value}" for key, value in lines))
    preflight.decide(facts, min_free_bytes=MIN_FREE)


@given(st.text())
def test_any_text_at_all_is_read(text: str) -> None:
    """Binary rubbish too."""
    preflight.parse_facts(text)


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        pytest.param({"samply": ""}, "SamplyNotFound", "no samply", id="no samply"),
        pytest.param({"flags": frozenset()}, "SamplyTooOld", "0.13.1", id="a samply that offers nothing"),
        pytest.param({"flags": frozenset({"--pid"})}, "SamplyTooOld", "attach", id="without save-only"),
        pytest.param({"flags": BARE - {"--pid"}, "version": ""}, "SamplyTooOld", "unknown version", id="without pid"),
        pytest.param({"state": ""}, "ProcessNotFound", "process 7", id="no process"),
        pytest.param({"state": "Z"}, "ProcessNotFound", "process 7", id="zombie"),
        pytest.param({"state": "T"}, "TargetStopped", "state T", id="stopped"),
        pytest.param({"state": "t"}, "TargetStopped", "state t", id="traced"),
        pytest.param({"folder": ""}, "NoWritableFolder", "writable", id="no folder"),
        pytest.param({"free_bytes": MIN_FREE - 1}, "TooLittleSpace", "bytes free", id="no space"),
        pytest.param({"paranoid": 2}, "PerfEventParanoid", "is 2", id="0.13.1 at 2"),
        pytest.param({"paranoid": 4}, "PerfEventParanoid", "is 4", id="0.13.1 at 4 (Debian)"),
        pytest.param({"paranoid": 2, "flags": BARE}, "PerfEventParanoid", "is 2", id="an unknown samply at 2"),
    ],
)
def test_a_recording_that_cannot_work_is_refused_before_it_starts(
    changes: dict[str, object], reason: str, said: str
) -> None:
    """With what is wrong and its cure."""
    refusal = preflight.decide(replace(GOOD, **changes), min_free_bytes=MIN_FREE).refusal  # type: ignore[arg-type]
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
        pytest.param({"free_bytes": None}, id="space unknown"),
        pytest.param({"free_bytes": MIN_FREE}, id="just enough space"),
        pytest.param({"paranoid": 2, "flags": NEW}, id="Feldera's fork or main at 2: the kernel is asked"),
        pytest.param({"effective_caps": 0, "uid": 1000}, id="file capabilities can't be seen from here"),
        pytest.param({"online_cpus": 0, "allowed_cpus": 0}, id="CPUs unknown"),
    ],
)
def test_a_recording_that_may_work_goes_on_without_a_word(changes: dict[str, object]) -> None:
    """What isn't known is no refusal, and no warning either."""
    verdict = preflight.decide(replace(GOOD, **changes), min_free_bytes=MIN_FREE)  # type: ignore[arg-type]
    assert verdict == preflight.Verdict()


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
    """samplys are told apart by their options, not by their version."""
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
    assert any("samples will be missing" in w for w in preflight.decide(facts, min_free_bytes=1).warnings) is is_blind


@pytest.mark.parametrize(
    ("allowed", "quota", "said"), [(4, 1.5, "1.5 CPUs on a node of 4"), (2, None, "2 CPUs (cpuset) on a node of 4")]
)
def test_the_warning_names_the_limit(allowed: int, quota: float | None, said: str) -> None:
    """So that whoever reads it knows which one to raise."""
    facts = replace(GOOD, allowed_cpus=allowed, quota_cpus=quota)
    assert said in preflight.decide(facts, min_free_bytes=1).warnings[0]


def test_a_samply_that_saves_no_symbols_is_a_warning() -> None:
    """The profile is still worth something."""
    verdict = preflight.decide(replace(GOOD, flags=BARE), min_free_bytes=1)
    assert verdict.refusal is None
    assert any("symbols" in warning for warning in verdict.warnings)


@pytest.mark.parametrize(
    ("caps", "has"), [(0, False), (1 << 38, True), (1 << 21, True), (1 << 14, False), ((1 << 41) - 1, True)]
)
def test_perfmon_is_seen_in_the_effective_set(caps: int, has: bool) -> None:
    """PERFMON, or SYS_ADMIN which contains it."""
    assert preflight.has_perfmon(replace(GOOD, effective_caps=caps)) is has
