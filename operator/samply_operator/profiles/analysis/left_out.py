"""What a range of time does not contain. Types only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A profile of a range of time that is in no sum. `title`: its name in tables. `reason`: the code of its error,
    such as BrokenProfile, or UnknownProfile if its file is gone; of NotInProfile the reason (Samples, Unit, CpuTimes).
    """

    profile: str
    title: str
    reason: str
    message: str
