"""What is no name: how functions are called of which none is known. Pure."""

from __future__ import annotations

import re

ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
"""How a profile without symbols names a function."""

MADE_UP_NAME = re.compile(r"fun_[0-9a-fA-F]+|EntryPoint")
"""What samply calls a function whose bounds it found in the unwind data of a stripped binary. It is no name."""


def is_address(name: str) -> bool:
    return ADDRESS.fullmatch(name) is not None


def is_unresolved(name: str) -> bool:
    """Nobody can tell from the name what runs there."""
    return name.startswith(("0x", "fun_", "EntryPoint")) and (
        is_address(name) or MADE_UP_NAME.fullmatch(name) is not None
    )
