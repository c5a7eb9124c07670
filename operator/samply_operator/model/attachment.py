"""What Feldera said of a pipeline in the seconds of a recording, kept beside the profile."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["Stats", "Metrics", "CircuitProfile", "HeapProfile"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BY_DEFAULT: tuple[Kind, ...] = ("Stats", "Metrics", "CircuitProfile")
"""Of profiles that a SamplyTrigger asks for."""
NAMES: dict[Kind, str] = {
    "Stats": "attachment-stats.json.gz",
    "Metrics": "attachment-metrics.txt.gz",
    "CircuitProfile": "attachment-circuit-profile.json.gz",
    "HeapProfile": "attachment-heap-profile.pb.gz",
}
"""Names of the files in the store."""
