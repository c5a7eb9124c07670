"""One check of an installation and its result."""

from __future__ import annotations

from typing import Literal

import msgspec

Area = Literal["Rights", "Selector", "Names", "Kernel", "PodSecurity", "HelperImage", "Volume", "Feldera", "Operator"]
Status = Literal["Passed", "Warning", "Failed", "Unknown"]


class Check(msgspec.Struct, frozen=True, rename="camel"):
    """`remedy` says what to do unless it passed. `namespace` empty: it concerns the whole installation."""

    area: Area
    status: Status
    message: str
    remedy: str = ""
    namespace: str = ""


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """All checks of an installation; `status` is the worst one's."""

    status: Status
    checks: tuple[Check, ...]
