"""Numbers of things in messages: 1 thread, 2 threads. Pure."""

from __future__ import annotations


def count(number: int, noun: str, style: str = "") -> str:
    """With a plural in s. `style`: how the number is formatted, such as with "," between thousands."""
    return f"{number:{style}} {noun}" + ("" if number == 1 else "s")
