"""The names of the API group, its labels and annotations, in one place; and what a pipeline can be called."""

import re

GROUP = "samply.feldera.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "SamplyProfile"
PLURAL = "samplyprofiles"

PIPELINE = f"{GROUP}/pipeline"
"""Label (short names) or annotation (long ones) on pods and StatefulSets: the pipeline's name."""
FELDERA_ID = "feldera.com/pipeline-id"
"""Label that Feldera sets on a pipeline's pods: `pipeline-<uuid>`, where the uuid is the pipeline's id in its API."""
TRIGGER = f"{GROUP}/profile"
"""Annotation on a Pod or StatefulSet: take a profile of this length."""
CLAIM = f"{GROUP}/claim"
"""Annotation that a trigger becomes while the operator makes its objects: `<uuid>/<value>`."""
REFUSED = f"{GROUP}/refused"
"""Annotation that says why a trigger was refused."""
STOP = f"{GROUP}/stop"
"""Annotation on a SamplyProfile: `keep` ends the recording now."""
PIN = f"{GROUP}/pin"
"""Annotation on a SamplyProfile: retention leaves its file alone."""
ORDINAL = f"{GROUP}/ordinal"
REQUEST = f"{GROUP}/request"
"""Label on made objects: the uuid of the request (one per annotation or POST)."""
HELD_FOR = f"{GROUP}/held-for"
"""Annotation on a Lease: the id of the recording that it stands for."""
REQUESTED_BY = f"{GROUP}/requested-by"
ENABLED = f"{GROUP}/enabled"
"""Annotation on a StatefulSet or a Pod: `false`, or anything but `true`, switches profiling off there."""
PIPELINE_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}"
"""What a pipeline can be called, in an object, an annotation or a path (the CRD says the same): Feldera's own names,
and those of labels. It becomes part of file names: no slash, no space, nothing that begins with a dot."""
_PIPELINE_NAME = re.compile(PIPELINE_NAME, re.ASCII)
MAX_ORDINAL = 2**31 - 1

POD_INDEX = "apps.kubernetes.io/pod-index"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def is_pipeline_name(text: str) -> bool:
    return _PIPELINE_NAME.fullmatch(text) is not None
