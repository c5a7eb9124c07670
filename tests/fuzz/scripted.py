"""An operator that, to a client, behaves like a real one: it starts, refuses, stops and removes."""

from __future__ import annotations

import uuid

from samply_operator.control.messages import ActReply, PreflightReply, StartReply, StartRequest
from samply_operator.errors import NotRecording, ProfilingInProgress, UnknownPipeline
from support.fake_operator import make_pipeline, make_recording
from support.service import Service

PIPELINES = ("orders", "Customers_2")


def play(service: Service) -> None:
    """Two pipelines of two ordinals each."""
    operator = service.operator
    operator.pipelines = tuple(make_pipeline(name, running=(0, 1)) for name in PIPELINES)

    def start(request: StartRequest) -> StartReply:
        check(request)
        running = [r for r in operator.recordings if (r.pipeline, r.ordinal) == (request.pipeline, request.ordinal)]
        if running:
            raise ProfilingInProgress("One runs.", details={"retry_after_secs": 9, "profile": running[0].id})
        profile_id = str(uuid.uuid4())
        recording = make_recording(profile_id, request.pipeline, ordinal=request.ordinal)
        operator.recordings = (*operator.recordings, recording)
        operator.push()
        return StartReply(profile_id, "feldera", f"profile-{profile_id}", "Recording", 30)

    def judge(request: StartRequest) -> PreflightReply:
        check(request)
        return PreflightReply(str(uuid.uuid4()), "feldera", "profile-x", request.ordinal, "Go", "p", "c", "InPlace")

    def act(verb: str, profile_id: str) -> ActReply:
        running = [r for r in operator.recordings if r.id == profile_id]
        if verb == "stop":
            if not running:
                raise NotRecording("It ended.", details={"profile": profile_id, "state": "Succeeded"})
            return ActReply(profile_id, "Stopping")
        operator.recordings = tuple(r for r in operator.recordings if r.id != profile_id)
        if service.volume.remove(profile_id):
            operator.store_generation += 1
        operator.push()
        return ActReply(profile_id, "Cancelling" if running else "Removed")

    operator.answer, operator.judge, operator.act = start, judge, act


def check(request: StartRequest) -> None:
    if request.pipeline not in PIPELINES or request.namespace not in {None, "feldera"}:
        name = request.pipeline
        raise UnknownPipeline(f"Unknown pipeline name '{name}'", details={"pipeline_name": name})
