"""The SamplyProfiles of a trigger. Their names follow from the cause: a repeated decision creates nothing new."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

from samply_operator.model import names
from samply_operator.model.comparison import ComparisonSpec
from samply_operator.model.profile import Spec, render_spec
from samply_operator.model.trigger import SamplyTrigger
from samply_operator.rules.triggers.facts import Cause, Place

COMPARISON = ComparisonSpec("Last")
"""Unless the template says otherwise."""
NAME_LIMIT = 52
"""Of a trigger's name, as of a CronJob's."""
NOT_COPIED = ("kubernetes.io/", "k8s.io/", "helm.sh/", "argoproj.io/", "fluxcd.io/", f"{names.GROUP}/")
"""Labels by which other tools take an object for their own, and would prune it."""


def build_request(trigger: SamplyTrigger, cause: Cause) -> str:
    """Identifies the cause among those of all triggers, also of a successor of the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{trigger.uid}/{cause.key}"))


def build_name(trigger: SamplyTrigger, request: str, place: Place) -> str:
    digest = hashlib.sha256(f"{request}/{place.pipeline}".encode()).hexdigest()[:10]
    return f"{trigger.name[:NAME_LIMIT].rstrip('.-')}-{digest}-{place.ordinal}"


def build_spec(trigger: SamplyTrigger, place: Place) -> Spec:
    template = trigger.spec.template
    return Spec(
        place.pipeline,
        place.ordinal,
        template.duration_seconds,
        template.rate_hz,
        template.container,
        template.process,
        template.mode,
        comparison=template.comparison or COMPARISON,
        attachments=template.attachments,
    )


def build_object(trigger: SamplyTrigger, cause: Cause, place: Place) -> dict[str, Any]:
    """It has no owner: profiles stay when the trigger is deleted."""
    request = build_request(trigger, cause)
    labels = {key: value for key, value in trigger.labels.items() if is_copied(key)}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {
            "name": build_name(trigger, request, place),
            "namespace": trigger.namespace,
            "labels": labels | {names.MADE_BY: trigger.name, names.REQUEST: request},
            "annotations": build_annotations(trigger, cause),
        },
        "spec": render_spec(build_spec(trigger, place)),
    }


def build_annotations(trigger: SamplyTrigger, cause: Cause) -> Mapping[str, str]:
    about = {names.CAUSE: cause.text, names.WHEN: trigger.spec.when.kind}
    return about | ({names.ALERT: cause.link} if cause.link else {})


def is_copied(label: str) -> bool:
    domain = label.partition("/")[0] + "/"
    return "/" not in label or not any(domain == known or domain.endswith(f".{known}") for known in NOT_COPIED)
