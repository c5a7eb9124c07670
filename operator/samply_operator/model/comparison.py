"""A profile compared with an earlier one: what is asked for (`ComparisonSpec`), and what came of it."""

from __future__ import annotations

from typing import Literal

import msgspec

Baseline = Literal["Last", "SameHourYesterday", "PreviousVersion", "None"]
Kind = Literal["function", "group", "operator"]
KINDS: tuple[Kind, ...] = ("function", "group", "operator")


class ComparisonSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`regressed_above`: from how many percentage points on a larger share counts as a regression. None: never."""

    baseline: Baseline
    regressed_above: float | None = None


class Change(msgspec.Struct, frozen=True, rename="camel"):
    """The own share of one function, group or operator, in percent; `points` is the difference."""

    name: str
    before_percent: float
    after_percent: float
    points: float


class BaselineProfile(msgspec.Struct, frozen=True, rename="camel"):
    """The earlier profile."""

    id: str
    name: str
    finished_at: str


class ComparisonStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What came of it: the lists have the largest changes first.

    `reason` is that of the condition Compared. `change`: the largest change of all, for a column. `path`: of the
    comparison in the HTTP API; `url`: of the console's page."""

    reason: str
    message: str = ""
    change: str = ""
    baseline: BaselineProfile | None = None
    measure: str = ""
    functions: tuple[Change, ...] = ()
    groups: tuple[Change, ...] = ()
    operators: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    path: str = ""
    url: str = ""
