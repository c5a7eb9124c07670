"""SamplyProfiles by what is asked of them: those of one pipeline, and those that one SamplyTrigger created."""

from __future__ import annotations

from collections.abc import Collection

from samply_operator.discovery.object_table import Key
from samply_operator.model.profile import SamplyProfile


class ProfileGroups:
    def __init__(self) -> None:
        self._of_pipeline: dict[Key, dict[str, SamplyProfile]] = {}
        self._of_trigger: dict[Key, dict[str, SamplyProfile]] = {}

    def put(self, profile: SamplyProfile) -> None:
        """It is new, or changed. Its pipeline and its trigger's name stay the same, or it was dropped before."""
        self._of_pipeline.setdefault((profile.namespace, profile.spec.pipeline), {})[profile.uid] = profile
        if profile.trigger:
            self._of_trigger.setdefault((profile.namespace, profile.trigger), {})[profile.uid] = profile

    def drop(self, profile: SamplyProfile) -> None:
        _drop(self._of_pipeline, (profile.namespace, profile.spec.pipeline), profile.uid)
        _drop(self._of_trigger, (profile.namespace, profile.trigger), profile.uid)

    def list_of_pipeline(self, namespace: str, pipeline: str) -> Collection[SamplyProfile]:
        """By the pipeline's name, or id, as it was asked for."""
        return self._of_pipeline.get((namespace, pipeline), {}).values()

    def list_of_trigger(self, namespace: str, trigger: str) -> Collection[SamplyProfile]:
        return self._of_trigger.get((namespace, trigger), {}).values()


def _drop(groups: dict[Key, dict[str, SamplyProfile]], key: Key, uid: str) -> None:
    group = groups.get(key, {})
    group.pop(uid, None)
    if not group:
        groups.pop(key, None)
