"""Types for numeric options of the command line, where argparse alone takes nan, infinity and any size. Pure."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Number = TypeVar("Number", int, float)

MAX_SECS = 1_000_000


def whole(least: int, most: int = sys.maxsize) -> Callable[[str], int]:
    """For `type=`: a whole number, both ends included."""
    limits = f"{least} or more" if most == sys.maxsize else f"from {least} to {most}"
    return _build(int, least, most, f"a whole number, {limits}")


def number(least: int, most: int) -> Callable[[str], float]:
    """The same with a fraction."""
    return _build(float, least, most, f"a number from {least} to {most}")


def _build(parse: Callable[[str], Number], least: int, most: int, expected: str) -> Callable[[str], Number]:
    def check(text: str) -> Number:
        with suppress(ValueError):
            if text.isascii() and least <= (value := parse(text)) <= most:
                return value
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text[:40]!r}")

    return check
