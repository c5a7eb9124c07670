"""Which stored profiles a range of time consists of, and whether one request may merge so many. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from samply_operator.errors import InvalidParam
from samply_operator.model.manifest import Manifest
from samply_operator.plural import count
from samply_operator.rules.serving import history
from samply_operator.rules.serving.history import Filter

MAX_PROFILES = 100
MAX_BYTES = 128 << 20
"""Of the stored files together; one profile alone may have more. Unpacked they are several times as large, and all of
them are read within the CPU time of one conversion."""


def choose(attempts: Iterable[Manifest], wanted: Filter, prefix: str = "") -> tuple[Manifest, ...]:
    """The good profiles of the range, in the given order (newest first). Raises InvalidParam if they are too many;
    `prefix` is that of the parameters since and until.
    """
    found = tuple(each for each in attempts if each.outcome == "Succeeded" and history.is_attempt_wanted(wanted, each))
    fitting = _count_fitting(found)
    if fitting < len(found):
        raise _build_too_many(found, fitting, f"{prefix}since")
    return found


def _count_fitting(found: Sequence[Manifest]) -> int:
    """How many of the first ones may be merged."""
    size_bytes = 0
    for number, each in enumerate(found[:MAX_PROFILES]):
        size_bytes += _size(each)
        if number and size_bytes > MAX_BYTES:
            return number
    return min(len(found), MAX_PROFILES)


def _size(manifest: Manifest) -> int:
    return manifest.file.size_bytes if manifest.file else 0


def _build_too_many(found: Sequence[Manifest], fitting: int, parameter: str) -> InvalidParam:
    size_bytes = sum(map(_size, found))
    since = min(each.finished_at for each in found[:fitting])
    return InvalidParam(
        f"The range has {len(found)} profiles of {size_bytes >> 20} MiB; one request merges at most {MAX_PROFILES} of "
        f"{MAX_BYTES >> 20} MiB together.",
        remedy=f"Choose a narrower range, such as {parameter}={since} ({count(fitting, 'profile')}), or one ordinal.",
        details={
            "parameter": parameter,
            "value": "",
            "expected": f"a range of at most {MAX_PROFILES} profiles and {MAX_BYTES} bytes",
            "profiles": len(found),
            "size_bytes": size_bytes,
            "since": since,
        },
    )
