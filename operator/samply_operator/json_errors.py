"""Errors of the JSON decoder (msgspec) in plain words, for people who read a file's or a server's text. Pure."""

from __future__ import annotations

import re

TYPES = {
    "array": "a list",
    "object": "an object",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "a boolean",
    "null": "null",
}
PLACE = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
EXPECTED = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
LENGTH = re.compile(r"Expected `(?:str|array|object)` of length ([<>]=) (\d+)")
PATTERN = re.compile(r"Expected `str` matching regex .*")
MISSING = re.compile(r"Object missing required field `([^`]+)`")


def split(error: Exception) -> tuple[str, str]:
    """What is wrong, and at which place; the place is empty if the decoder does not say it."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply", ""
    text = str(error)
    place = PLACE.search(text)
    text = PLACE.sub("", text).removeprefix("JSON is malformed: ").replace("Object contains", "there is the")
    text = "it ends too early" if "truncated" in text else text
    text = EXPECTED.sub(lambda match: f"there is {_name(match[2])} instead of {_name(match[1])}", text)
    text = LENGTH.sub(lambda match: f"its length is not {match[1]} {match[2]}", text)
    text = PATTERN.sub("the text has another form", text)
    return MISSING.sub(r"\1 is missing", text), place[1] if place else ""


def describe(error: Exception) -> str:
    """The same in one line."""
    what, place = split(error)
    return f"{what}, at {place}" if place else what


def _name(types: str) -> str:
    each = types.split(" | ")
    kinds = [kind for kind in each if types == "null" or (kind != "null" and not (kind == "int" and "float" in each))]
    return " or ".join(TYPES.get(kind, kind) for kind in kinds)
