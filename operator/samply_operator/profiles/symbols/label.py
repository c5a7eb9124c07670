"""What a stored profile says about itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Label:
    """What viewers show: `product` is the title, `process` goes behind each process's name ("host 1 of 3"),
    `info` is a table in the viewer's "more info" panel.
    """

    product: str
    process: str = ""
    info: tuple[tuple[str, str], ...] = ()
