"""What a pod's own object says of the place where samply is to run: limits and sandboxes that don't show inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from samply_operator.model.facts import Facts

_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P|)", re.ASCII)
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    f"{letter}i": 1024 ** (power + 1) for power, letter in enumerate("KMGTP")
}


def add_pod(facts: Facts, pod: Mapping[str, Any], container: str) -> Facts:
    """The facts with what the pod's object adds, for the container of that name."""
    spec = pod.get("spec") or {}
    mine: Mapping[str, Any] = next((c for c in spec.get("containers") or () if c.get("name") == container), {})
    limits = (mine.get("resources") or {}).get("limits") or {}
    return replace(
        facts,
        storage_limit=parse_quantity(limits.get("ephemeral-storage")),
        runtime_class=str(spec.get("runtimeClassName") or "")[:64],
    )


def parse_quantity(text: object) -> int | None:
    """Bytes of a Kubernetes quantity such as 50Mi, 1.5G or 1000; None where it is absent or none."""
    match = _QUANTITY.fullmatch(str(text)) if text is not None else None
    return int(float(match[1]) * _FACTORS[match[2]]) if match else None
