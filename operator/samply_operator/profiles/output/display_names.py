"""Sanitizes names from a file for display. Pure.

A name comes from a binary, or from whoever wrote the file: it may hold control characters, markup, or what turns the
direction of the text around it.
"""

from __future__ import annotations

import html
import re

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
"""C0, C1, marks of direction and line, halves of surrogate pairs, and what XML doesn't allow."""

MAX_NAME = 200
HUGE = 1e15
"""From here on a double has no fraction."""


def show_number(value: float) -> str:
    """For people: thousands apart, and a fraction, to three digits, where there is one."""
    if abs(value) >= HUGE:
        return f"{value:.6g}"
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def show_ms(value: float) -> str:
    """Milliseconds for people: the smaller the more digits, so that no time is shown as none."""
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return show_number(round(value, digits))


def clean(text: str, *, limit: int = MAX_NAME) -> str:
    """One line, without control characters, cut to length."""
    plain = CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def escape(text: str, *, limit: int = MAX_NAME) -> str:
    """For XML text and attribute values."""
    return html.escape(clean(text, limit=limit), quote=True)


def flatten(text: str) -> str:
    """For one frame of a folded stack: `;` parts frames there."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text).replace(";", ":")
