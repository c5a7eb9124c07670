"""Recordings in the emulated machine, by the operator's own scripts: what is played, and what the operator would
make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from samply_operator import profiles
from samply_operator.model.container import ContainerFacts
from samply_operator.rules.recording import coverage, preflight, record_output
from samply_operator.rules.recording.preflight import Verdict
from samply_operator.rules.recording.record_output import Progress
from vm.machine import Job, Left
from vm.rows import GROWING_SECS, PODS, RATE_HZ, RUNTIME, SECS, Row, begin_line

LEAST = 0.3
"""Coverage that a profile needs: less than the chart asks for, as the machine's CPUs wait for those of others."""
COLUMNS = """\
| pod | paranoid | mode | what came | coverage | throttled |
| --- | --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Outcome:
    """What the operator would make of a row."""

    facts: ContainerFacts
    verdict: Verdict
    progress: Progress
    said: str = ""
    """The reason for which samply's recording failed; empty: there is a profile, or it wasn't tried."""
    share: float | None = None
    is_good: bool = False
    functions: frozenset[str] = frozenset()

    @property
    def refusal(self) -> str:
        """The reason for which the preflight refuses it; empty: it doesn't."""
        return self.verdict.refusal.reason if self.verdict.refusal else ""

    @property
    def window_secs(self) -> float:
        window = self.progress.window_secs
        assert window is not None
        return window[1] - window[0]

    @property
    def throttled_secs(self) -> float | None:
        taken = self.progress.throttled_usecs
        return (taken[1] - taken[0]) / 1e6 if len(taken) > 1 else None


def play(job: Job, rows: Sequence[Row]) -> None:
    """Each row's preflight and recording; one target for all rows of a pod."""
    job.install_helper()
    job.add_group("helper")
    for name in dict.fromkeys(row.pod for row in rows):
        pod = PODS[name]
        job.add_group(name, **pod.limits)
        job.start(name, pod.threads, caps=f"{RUNTIME:x}")
        for row in (row for row in rows if row.pod == name):
            job.set_level(row.level)
            is_helper, caps = row.mode == "Ephemeral", f"{row.caps:x}"
            job.preflight(row.id, row.group, caps, beside=name if is_helper else "")
            if is_tried(row):
                grows = f"within {name} all busy 0 {pod.grows_mib} >/dev/null" if pod.grows_mib else ""
                secs = GROWING_SECS if grows else SECS
                job.record(row.id, row.group, caps, secs=secs, rate_hz=RATE_HZ, is_helper=is_helper, meanwhile=grows)
        job.end()


def is_tried(row: Row) -> bool:
    return row.is_good or row.answers == "MemoryNear" or bool(row.kernel_says)


def judge(left: Left, row: Row) -> Outcome:
    facts, plan = left.facts(row.id), left.plan(row.id)
    verdict = preflight.decide(facts, plan)
    if not is_tried(row):
        return Outcome(facts, verdict, Progress())
    progress = record_output.observe_all(left.text(f"{row.id}.events").splitlines())
    failure = record_output.judge(progress, left.text(f"{row.id}.log"))
    if failure is not None:
        return Outcome(facts, verdict, progress, failure.reason)
    window = progress.window_secs
    assert window is not None
    baked = profiles.bake(
        left.folder / f"{row.id}.profile.json.gz",
        left.folder / f"{row.id}.syms.json",
        left.folder / f"{row.id}.baked.json.gz",
        label=profiles.Label("vm"),
        window=profiles.TimeRange(*(1000 * at for at in window)),
    )
    own = coverage.count_own(baked.facts.samples_by_pid, baked.facts.within_by_pid, plan.process.pid)
    found = coverage.measure(own, baked.facts.interval_ms, progress.cpu_secs, window[1] - window[0], progress.off_secs)
    summary = profiles.top(profiles.read(left.folder / f"{row.id}.baked.json.gz"))
    return Outcome(
        facts,
        verdict,
        progress,
        share=found.share,
        is_good=coverage.judge(found, progress.cpu_secs, LEAST) in {"", "Degraded"},
        functions=frozenset(cost.name for thread in summary.threads for cost in thread.by_self),
    )


def check(left: Left, row: Row) -> None:
    """The profile is complete, or preflight refuses what the kernel would refuse."""
    came = judge(left, row)
    if row.is_good:
        assert (came.refusal, came.said) == ("", ""), left.text(f"{row.id}.log")
        assert came.is_good, came.share
        assert "spin" in came.functions
        assert left.text(f"{row.id}.target").split()[1] == "R"
    elif row.answers == "MemoryNear":
        assert (came.refusal, came.said) == ("", "MemoryNear")
    else:
        assert came.refusal == row.answers
        assert came.said == row.kernel_says


def render(left: Left, row: Row) -> str:
    came = judge(left, row)
    reason = came.refusal or came.said
    what = f"`{reason}`" if reason else f"{row.mode}: a profile"
    share = "" if came.share is None else f" {came.share:.2f}"
    taken = "" if reason or not came.throttled_secs else f" {came.throttled_secs:.1f} s"
    return f"{begin_line(row)} {what} |{share} |{taken} |\n"
