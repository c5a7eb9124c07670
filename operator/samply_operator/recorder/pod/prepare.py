"""From an admitted recording to one that can be launched: preflight, process, mode, samply's installation."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from samply_operator.errors import KubeError, RecordingFailed
from samply_operator.kube import objects, transfer
from samply_operator.kube.client import KubeClient
from samply_operator.model.container import ContainerFacts, Process
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.profile import Failure
from samply_operator.recorder.pod import ephemeral, script_calls, target_pod
from samply_operator.recorder.pod.target_pod import Raw, TargetPod
from samply_operator.rules.recording import failures, modes, pod_limits, preflight, preflight_estimates, processes
from samply_operator.rules.recording.preflight import Verdict
from samply_operator.rules.recording.preflight_estimates import Plan

OWN_VERSION = "0.13.1 (samply-operator)"
OWN_FLAG = "--unstable-presymbolicate"
STOPPED_PAUSES_SECS = 0.5, 1.0, 2.0
"""Between looks at a process that is stopped: while samply attaches it stops the process, for another recording too."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Values to write into the journal before the next access to the pod."""

    changes: dict[str, Any]


class Preparer:
    def __init__(self, pod: TargetPod) -> None:
        self._pod = pod
        self._settings = pod.context.settings
        self._raw: Raw = {}
        """The pod as last read."""
        self.verdict: Verdict | None = None
        """For the mode tried last: reported even if it prevents the recording."""
        self.facts: ContainerFacts | None = None
        """In the same mode."""
        self.process: Process | None = None
        """The chosen process, in the same mode."""

    async def prepare(self) -> Prepared:
        """Ends the recording (RecordingFailed) if no mode works."""
        situation, process = await self._explore()
        while True:
            choice = modes.choose(situation, self._settings)
            if isinstance(choice, Failure):
                failures.raise_failure(choice)
            try:
                return await self._take(choice, situation, process)
            except RecordingFailed as error:
                if choice.way != "Ephemeral" or situation.wanted == "Ephemeral" or situation.ephemeral_failure:
                    raise
                # Auto has other modes: the reason why this one was refused is reported with them.
                situation = replace(situation, ephemeral_failure=failures.failure_of(error))
                await self._give_up_helper()

    async def _give_up_helper(self) -> None:
        """Ends it immediately if it runs; otherwise it ends by its own timer, if it ever starts."""
        if self._pod.entry.helper:
            with contextlib.suppress(KubeError):
                await script_calls.release(self._pod.client, self._pod.entry)
        await self._pod.journal.save(helper="")

    async def _explore(self) -> tuple[modes.Situation, Process | None]:
        """Inspect the container from inside; if it has no shell, that is the finding."""
        entry = self._pod.entry
        facts: ContainerFacts | None = None
        found: Process | Failure
        if entry.wanted_mode == "Ephemeral":
            found = failures.build_failure("ModeNotAllowed", "Mode Ephemeral was requested.")
        else:
            try:
                facts = await self._gather(replace_helper(entry))
                found = processes.choose_process(facts.processes, entry.process or None)
            except script_calls.NoShellError as error:
                found = failures.build_failure("NoShell", error.message)
        in_place: Verdict | Failure
        bring_own: Verdict | Failure
        failure: Failure | None = None
        if facts is None or isinstance(found, Failure):
            in_place = bring_own = found if isinstance(found, Failure) else failures.build_failure("NoShell", "")
            process = None
        else:
            process = self.process = found
            in_place = self.verdict = preflight.decide(facts, self._plan(found, is_own=False))
            bring_own = preflight.decide(facts, self._plan(found, is_own=True))
            is_limited = pod_limits.is_memory_limited(self._raw)
            failure = preflight.check_pod(facts, self._plan(found, is_own=True), is_memory_limited=is_limited)
        if entry.refused is not None:
            # samply's own message takes precedence over earlier findings.
            in_place = entry.refused
        situation = modes.Situation(
            wanted=entry.wanted_mode or "Auto",
            namespace=entry.namespace,
            facts=facts,
            in_place=in_place,
            bring_own=bring_own,
            is_blind=facts is not None and preflight.is_blind(facts),
            ephemeral_failure=failure,
        )
        return situation, process

    async def _gather(self, entry: JournalEntry) -> ContainerFacts:
        """From the container that `entry` names: the target's own, or the ephemeral one."""
        entry = await self._check_pod(entry)
        facts = await self._pod.repeat(_gather_facts, entry)
        for pause_secs in STOPPED_PAUSES_SECS:
            found = processes.choose_process(facts.processes, entry.process or None)
            if isinstance(found, Failure) or not found.is_stopped:
                break
            await asyncio.sleep(pause_secs)
            facts = await self._pod.repeat(_gather_facts, entry)
        facts = pod_limits.add_pod(facts, self._raw, entry.container, is_helper=bool(entry.helper))
        self.facts = facts
        return facts

    async def _check_pod(self, entry: JournalEntry) -> JournalEntry:
        """Read the pod: it must be the one that was admitted, which may be long ago. A container that restarted
        meanwhile will do, since nothing of the recording is in it yet: returns the entry with its id."""
        self._raw = await self._pod.read()
        pod = objects.parse_pod(self._raw)
        container = pod.find_container(entry.container)
        if container is not None and container.is_running and pod.uid == entry.pod_uid:
            if container.id != entry.container_id:
                await self._pod.journal.save(container_id=container.id)
            return msgspec.structs.replace(entry, container_id=container.id)
        target_pod.judge_pod(entry, self._raw)
        return entry

    def _plan(self, process: Process, *, is_own: bool) -> Plan:
        entry = self._pod.entry
        least = self._settings.recording.min_free_bytes
        return Plan(process, entry.duration_secs, entry.rate_hz, least, is_own)

    async def _take(self, choice: modes.Choice, situation: modes.Situation, process: Process | None) -> Prepared:
        if choice.way == "Ephemeral":
            return await self._take_ephemeral(choice)
        verdict = situation.in_place if choice.way == "InPlace" else situation.bring_own
        facts = situation.facts
        if facts is None or process is None or isinstance(verdict, Failure):
            raise ValueError("a way was chosen that wasn't looked at")
        self.verdict = verdict
        folder = build_folder(facts, self._pod.entry)
        changes = {**describe(process, verdict, folder), "mode": choice.way, "helper": ""}
        if choice.way == "InPlace":
            changes |= {
                "samply": facts.samply,
                "samply_version": facts.version,
                "symbol_flag": preflight.choose_symbol_flag(facts),
            }
        else:
            changes |= {"samply": f"{folder}.bin", "samply_version": OWN_VERSION, "symbol_flag": OWN_FLAG}
        return finish(changes, choice, verdict, self._pod.entry)

    async def _take_ephemeral(self, choice: modes.Choice) -> Prepared:
        # Before anything is added to the pod.
        pod, journal = self._pod, self._pod.journal
        await self._check_pod(pod.entry)
        if pod.entry.helper and await ephemeral.has_ended(pod):
            # It was not used for too long: the operator was down.
            await journal.save(helper="")
        if not pod.entry.helper:
            # The journal first: a container whose name is not recorded could never be ended.
            await journal.save(helper=await ephemeral.choose_name(pod), mode="Ephemeral")
        await ephemeral.start(pod)
        entry = pod.entry
        facts = await self._gather(entry)
        if (unsupported := modes.check_machine(facts, modes.helper_machines(self._settings))) is not None:
            failures.raise_failure(unsupported)
        if pod_limits.is_memory_limited(self._raw):
            facts = preflight_estimates.share_memory(facts)
        process = processes.choose_process(facts.processes, entry.process or None)
        if isinstance(process, Failure):
            failures.raise_failure(process)
        self.process = process
        verdict = preflight.decide(facts, self._plan(process, is_own=True))
        self.verdict = verdict
        if verdict.refusal is not None:
            failures.raise_failure(verdict.refusal)
        changes = {
            **describe(process, verdict, build_folder(facts, entry)),
            "mode": "Ephemeral",
            "samply": facts.samply,
            "samply_version": OWN_VERSION,
            "symbol_flag": OWN_FLAG,
        }
        return finish(changes, choice, verdict, self._pod.entry)


async def _gather_facts(client: KubeClient, _: JournalEntry, entry: JournalEntry) -> ContainerFacts:
    return await script_calls.gather_facts(client, entry)


def replace_helper(entry: JournalEntry) -> JournalEntry:
    """The same from the target's own container."""
    return msgspec.structs.replace(entry, helper="")


def build_folder(facts: ContainerFacts, entry: JournalEntry) -> str:
    return f"{facts.folder}/.samply-operator-{entry.id}"


def describe(process: Process, verdict: Verdict, folder: str) -> dict[str, Any]:
    return {
        "folder": folder,
        "pid": process.pid,
        "pid_started": process.started,
        "memory_cap": verdict.memory_cap or 0,
        "memory_reserve": verdict.memory_reserve,
    }


def finish(changes: dict[str, Any], choice: modes.Choice, verdict: Verdict, entry: JournalEntry) -> Prepared:
    why = f"Mode {choice.way} was chosen: {choice.why}" if choice.why else ""
    notes = (note for note in (entry.doubt, entry.refused_by_feldera, why) if note)
    return Prepared({**changes, "warnings": (*notes, *verdict.warnings)})


async def bring(pod: TargetPod) -> None:
    """Copy the project's samply into the target's container, verified there by its SHA-256."""
    await pod.repeat(_copy_own, pod)


async def _copy_own(client: KubeClient, entry: JournalEntry, pod: TargetPod) -> None:
    settings = pod.context.settings
    path = Path(settings.paths.samply)
    if not await asyncio.to_thread(path.exists):
        failures.fail("OwnSamplyMissing", "This image of the operator was built without the project's samply.")
    try:
        await transfer.copy_in(
            client,
            script_calls.place_of(entry),
            path,
            entry.samply,
            deadline_secs=settings.recording.copy_deadline_secs,
            mode="700",
        )
    except (transfer.TransferCorrupt, transfer.TransferFailed) as error:
        # A container that is gone is reported as such, whatever its last session reported.
        await pod.blame()
        is_corrupt = isinstance(error, transfer.TransferCorrupt)
        failures.fail("TransferCorrupt" if is_corrupt else name_reason(error.message), error.message)


def name_reason(said: str) -> str:
    """The reason why nothing could be written, from what the pod's tools said."""
    if "No space left" in said:
        return "TooLittleSpace"
    return "NoWritableFolder" if "Read-only" in said or "Permission denied" in said else "TransferFailed"
