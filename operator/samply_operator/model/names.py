"""The names of the API group, its labels and annotations, and the format of pipeline names."""

import re

GROUP = "samply.feldera.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "SamplyProfile"
PLURAL = "samplyprofiles"
TRIGGER_KIND = "SamplyTrigger"
TRIGGER_PLURAL = "samplytriggers"

PIPELINE = f"{GROUP}/pipeline"
"""Label (short names) or annotation (long ones) on pods and StatefulSets: the pipeline's name."""
FELDERA_ID = "feldera.com/pipeline-id"
"""Label that Feldera sets on a pipeline's pods: `pipeline-<uuid>`, where the uuid is the pipeline's id in its API."""
TRIGGER = f"{GROUP}/profile"
"""Annotation on a Pod or StatefulSet: record a profile of this duration."""
CLAIM = f"{GROUP}/claim"
"""Annotation that replaces a trigger while the operator creates its objects: `<uuid>/<value>`."""
REFUSED = f"{GROUP}/refused"
"""Annotation that says why a trigger was refused."""
STOP = f"{GROUP}/stop"
"""Annotation on a SamplyProfile: `keep` ends the recording now."""
PIN = f"{GROUP}/pin"
"""Annotation on a SamplyProfile: retention keeps its file."""
REQUEST = f"{GROUP}/request"
"""Label on created objects: the uuid of the request (one per annotation or POST)."""
MADE_BY = f"{GROUP}/trigger"
"""Label on a SamplyProfile: the SamplyTrigger that created it."""
CAUSE = f"{GROUP}/cause"
"""Annotation on a SamplyProfile of a SamplyTrigger: why it fired, in one sentence."""
WHEN = f"{GROUP}/when"
"""Annotation on the same: the kind of SamplyTrigger, such as SCHEDULE."""
SCHEDULE = "schedule"
ALERT = f"{GROUP}/alert"
"""Annotation on the same: link to the alert."""
HELD_FOR = f"{GROUP}/held-for"
"""Annotation on a Lease: the id of its recording."""
ENABLED = f"{GROUP}/enabled"
"""Annotation on a StatefulSet or a Pod: any value except `true` switches profiling off there."""
PIPELINE_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}"
"""Pipeline names in objects, annotations and paths (the same in the CRD): Feldera's own names, and those of labels.
They become part of file names: no slash, no space, no leading dot."""
_PIPELINE_NAME = re.compile(PIPELINE_NAME, re.ASCII)
MAX_ORDINAL = 2**31 - 1

POD_INDEX = "apps.kubernetes.io/pod-index"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def is_pipeline_name(text: str) -> bool:
    return _PIPELINE_NAME.fullmatch(text) is not None
