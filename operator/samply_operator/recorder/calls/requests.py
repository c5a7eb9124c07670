"""Requests over the socket: find the pipeline, create the object, wait until it records or was refused."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Collection

from samply_operator.discovery.claims import create_profile
from samply_operator.errors import (
    AmbiguousPipeline,
    InvalidParam,
    OperatorUnavailable,
    PipelineNotDeployed,
    PipelineUnreachable,
    ProfilingInProgress,
    ProfilingNotEnabled,
    SamplyOperatorError,
    UnknownPipeline,
)
from samply_operator.kube import faults
from samply_operator.model.pipeline import Pipeline
from samply_operator.model.profile import Failure, SamplyProfile, Spec, parse_object
from samply_operator.recorder.calls.actions import Acts
from samply_operator.recorder.engine import Engine
from samply_operator.recorder.run import Run
from samply_operator.rules.discovery import triggers
from samply_operator.rules.recording import admit, failures

logger = logging.getLogger(__name__)

TAKE_BACK_SECS = 5.0
"""Less than the time that `api` waits beyond the requested one."""


def build_unknown_pipeline(name: str) -> UnknownPipeline:
    return UnknownPipeline(f"Unknown pipeline name '{name}'", details={"pipeline_name": name})


def _build_unsynced(what: str) -> OperatorUnavailable:
    return OperatorUnavailable(f"The operator has only begun: it doesn't know all {what} yet.")


class Started:
    """The state of a request. `run` None: it was refused or has ended already."""

    def __init__(self, profile_id: str, namespace: str, name: str, run: Run | None, failure: Failure | None) -> None:
        self.id = profile_id
        self.namespace = namespace
        self.name = name
        self.run = run
        self.failure = failure


class Requests:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._starting: set[tuple[str, str, int]] = set()

    def list_namespaces(self, name: str, namespace: str | None) -> tuple[str, ...]:
        """The pipeline with this name or id."""
        return tuple(found.namespace for found in self._find(name, namespace))

    def _find(self, name: str, namespace: str | None) -> list[Pipeline]:
        return [p for p in self._engine.world.find_pipelines(name) if namespace in {None, p.namespace}]

    def find_visible(self, name: str, namespace: str | None, ids: Collection[str]) -> Pipeline:
        """Of whom Feldera knows: the pipeline that has one of these ids, and no other one. `name` is what the caller
        calls it. Raises UnknownPipeline, OperatorUnavailable."""
        for pipeline_id in ids:
            for found in self._find(pipeline_id, namespace):
                if set(found.ids) <= set(ids):
                    return found
        self._check_synced()
        raise build_unknown_pipeline(name)

    def find_pipeline(self, name: str, namespace: str | None, *, readable: Collection[str] | None = None) -> Pipeline:
        """By name; the namespace is needed only where several have it that may be read. `readable` None: all."""
        found = [p for p in self._find(name, namespace) if readable is None or p.namespace in readable]
        if not found:
            self._check_synced()
            raise build_unknown_pipeline(name)
        if len(found) > 1:
            listed = sorted(pipeline.namespace for pipeline in found)
            raise AmbiguousPipeline(
                f"Pipeline '{name}' is in several namespaces: {', '.join(listed)}.",
                remedy="Say which with ?namespace=.",
                details={"pipeline_name": name, "namespaces": listed},
            )
        return found[0]

    def _check_synced(self) -> None:
        if not self._engine.world.is_synced:
            raise _build_unsynced("pipelines")

    async def start(
        self,
        pipeline: Pipeline,
        spec: Spec,
        wait_secs: float,
        requested_by: str,
        *,
        request: uuid.UUID | None = None,
    ) -> Started:
        """`request` names it, with the ordinal: the same one again, also to the next process, is answered with what the
        first one made. None: a new one.

        Raises RequestError, PipelineNotDeployed and OperatorUnavailable for what can be said at once.
        """
        request = request or uuid.uuid4()
        if not self._engine.world.covers(pipeline.namespace):
            raise _build_unsynced("recordings")  # one of them may belong to this request
        made = self._find_made(pipeline, spec.ordinal, request)
        if made is not None:
            if not made.has_begun:
                self._engine.requesters.note(made.key, requested_by)
            return await self._follow(pipeline, made, wait_secs)
        self._check(pipeline, spec.ordinal)
        place = (pipeline.namespace, pipeline.name, spec.ordinal)
        self._check_free(place)
        # No await between the check and this: of two requests one proceeds, the other is refused.
        self._starting.add(place)
        try:
            profile = await self._make(pipeline, spec, request, requested_by)
            return await self._follow(pipeline, profile, wait_secs)
        finally:
            self._starting.discard(place)

    def _find_made(self, pipeline: Pipeline, ordinal: int, request: uuid.UUID) -> SamplyProfile | None:
        """The object that this request has created."""
        name = triggers.build_name(str(request), ordinal)
        found = self._engine.world.profiles.get((pipeline.namespace, name))
        return found if found and found.spec.pipeline == pipeline.name else None

    async def _follow(self, pipeline: Pipeline, profile: SamplyProfile, wait_secs: float) -> Started:
        run, failure = await self._wait(profile.key, profile.uid, wait_secs)
        if run is not None and run.trouble and run.entry.step == "Admitted" and failure is None:
            await self._take_back(pipeline, run)
        return Started(profile.uid, profile.namespace, profile.name, run, failure)

    async def preflight(self, pipeline: Pipeline, spec: Spec, wait_secs: float, requested_by: str) -> SamplyProfile:
        """The object of a preflight that ended. Raises as `start` does; PipelineUnreachable if it takes too long."""
        self._check(pipeline, spec.ordinal)
        self._check_free((pipeline.namespace, pipeline.name, spec.ordinal))
        profile = await self._make(pipeline, spec, uuid.uuid4(), requested_by)
        ended = await self._wait_for_end(profile.key, wait_secs)
        if ended is None:
            raise PipelineUnreachable(
                f"The preflight of '{pipeline.name}' hasn't ended after {wait_secs:g} s.",
                remedy=f"Its result: kubectl get samplyprofile -n {profile.namespace} {profile.name} -o yaml",
                details={
                    "pipeline_name": pipeline.name,
                    "request": "preflight",
                    "error": "Timeout",
                    "profile": profile.uid,
                },
            )
        return ended

    def _check(self, pipeline: Pipeline, ordinal: int) -> None:
        off = admit.find_switch(pipeline, ordinal, self._engine.context.settings)
        if off is not None:
            raise ProfilingNotEnabled(
                off.message, remedy=off.remedy, details={"reason": off.reason, "remedy": off.remedy}
            )
        known = sorted({*pipeline.ordinals, *pipeline.pods})
        if known and ordinal not in known:
            listed = ", ".join(map(str, known))
            raise InvalidParam(
                f"Pipeline '{pipeline.name}' has no ordinal {ordinal}; it has: {listed}.",
                details={
                    "parameter": "ordinal",
                    "value": str(ordinal),
                    "expected": f"one of {listed}",
                    "ordinals": known,
                },
            )
        pod = pipeline.pods.get(ordinal)
        if pod is None or not pod.is_running:
            raise PipelineNotDeployed(
                f"Ordinal {ordinal} of pipeline '{pipeline.name}' isn't running.",
                remedy="Start the pipeline, wait until its pod is Running, then retry.",
                details={
                    "pipeline_name": pipeline.name,
                    "status": pod.phase if pod else "Stopped",
                    "desired_status": "Running" if ordinal in pipeline.ordinals else "Stopped",
                },
            )

    async def _take_back(self, pipeline: Pipeline, run: Run) -> None:
        """The pod is unreachable, and nothing was started in it: the caller is told to retry, so nothing may continue.
        Raises PipelineUnreachable; returns if it cannot be withdrawn."""
        engine, trouble = self._engine, run.trouble
        remedy = failures.REMEDIES["AdmissionRefused" if faults.is_webhook_down(trouble) else "Unreachable"]
        try:
            async with asyncio.timeout(TAKE_BACK_SECS):
                await Acts(engine).delete(run.entry.id)
                seen = engine.changes.count
                while run.entry.id in engine.runs:  # the target must be free for an immediate retry
                    seen = await engine.changes.wait(seen, 0.05)
        except (SamplyOperatorError, TimeoutError) as error:
            logger.info("%s/%s isn't taken back: %s", run.entry.namespace, run.entry.name, error)
            if run.entry.stop != "discard":
                return
        raise PipelineUnreachable(
            f"Pod {run.entry.pod} can't be reached: {trouble}",
            remedy=remedy,
            details={"pipeline_name": pipeline.name, "request": "exec", "error": trouble},
        )

    def _check_free(self, place: tuple[str, str, int]) -> None:
        """Raises ProfilingInProgress, with the id of the one that records, or that waits for its turn."""
        run, waiting = self._engine.runs.find(*place), self._find_waiting(place)
        if run is None and waiting is None and place not in self._starting:
            return
        where = f"Ordinal {place[2]} of pipeline '{place[1]}'"
        details: dict[str, object] = {"profile": None, "retry_after_secs": 1}
        if run is not None:
            details = dict(self._engine.describe_run(run))
        elif waiting is not None:
            details |= {"profile": waiting.uid}
            message = f"{where} is to be profiled already: {waiting.name} waits for its turn."
            raise ProfilingInProgress(message, remedy="DELETE cancels it.", details=details)
        message = f"{where} is being profiled; it takes about {details['retry_after_secs']} s more."
        raise ProfilingInProgress(message, details=details)

    def _find_waiting(self, place: tuple[str, str, int]) -> SamplyProfile | None:
        for profile in self._engine.world.unended.values():
            spec = profile.spec
            is_there = (profile.namespace, spec.pipeline, spec.ordinal) == place
            if is_there and not (profile.has_begun or spec.preflight_only or profile.uid in self._engine.runs):
                return profile
        return None

    async def _make(self, pipeline: Pipeline, spec: Spec, request: uuid.UUID, requested_by: str) -> SamplyProfile:
        engine = self._engine
        name = triggers.build_name(str(request), spec.ordinal)
        # Before there is an object: the watch may show it, and the engine admit it, before the answer is here.
        engine.requesters.note((pipeline.namespace, name), requested_by)
        raw = await create_profile(engine.context.client, pipeline.namespace, name, spec, request=str(request))
        if raw is None:
            raise SamplyOperatorError("The new object's name is taken; try again.")
        profile = parse_object(raw)
        if profile.key not in engine.world.profiles:  # else the watch was faster, and may know more
            engine.world.see_profile(profile)
        engine.queue.put(profile.key)
        return profile

    async def _wait_for_end(self, key: tuple[str, str], wait_secs: float) -> SamplyProfile | None:
        """The object once the watch shows it; None: it took longer."""
        engine, loop = self._engine, asyncio.get_running_loop()
        until, seen = loop.time() + wait_secs, engine.changes.count
        while loop.time() < until:
            profile = engine.world.profiles.get(key)
            if profile is not None and profile.has_ended:
                return profile
            seen = await engine.changes.wait(seen, min(0.2, max(0.01, until - loop.time())))
        return None

    async def _wait(self, key: tuple[str, str], uid: str, wait_secs: float) -> tuple[Run | None, Failure | None]:
        """Wait until it records or has ended; returns the failure, if any."""
        engine, loop = self._engine, asyncio.get_running_loop()
        until = loop.time() + wait_secs
        seen = engine.changes.count
        while uid not in engine.runs and loop.time() < until:
            profile = engine.world.profiles.get(key)
            if profile is not None and profile.has_ended:
                return None, profile.status.failure
            seen = await engine.changes.wait(seen, min(0.2, max(0.01, until - loop.time())))
        run = engine.runs.get(uid)
        if run is None:
            return None, None
        try:
            async with asyncio.timeout_at(until):
                await run.has_answer.wait()
        except TimeoutError:
            return run, None
        return run, run.failure
