"""Placeholders for the names of unknown functions. Pure."""

from __future__ import annotations

import re

ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
"""The placeholder in a profile without symbols."""

MADE_UP_NAME = re.compile(r"fun_[0-9a-fA-F]+|EntryPoint")
"""What samply calls a function whose bounds it found in the unwind data of a stripped binary. Not a name."""


def is_address(name: str) -> bool:
    return ADDRESS.fullmatch(name) is not None


def is_unresolved(name: str) -> bool:
    """Whether the name does not say which function it is."""
    return name.startswith(("0x", "fun_", "EntryPoint")) and (
        is_address(name) or MADE_UP_NAME.fullmatch(name) is not None
    )
