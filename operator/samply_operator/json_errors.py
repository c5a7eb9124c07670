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
# Not compiled here, because most processes never need one: `re` compiles a text when it is first used.
PLACE = r" - at `(?:key in )?\$\.?([^`]*)`$"
EXPECTED = r"Expected `([^`]+)`, got `([^`]+)`"
LENGTH = r"Expected `(?:str|array|object)` of length ([<>]=) (\d+)"
PATTERN = r"Expected `str` matching regex .*"
MISSING = r"Object missing required field `([^`]+)`"


def split(error: Exception) -> tuple[str, str]:
    """What is wrong, and at which place; the place is empty if the decoder does not say it."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply", ""
    text = str(error)
    place = re.search(PLACE, text)
    text = re.sub(PLACE, "", text).removeprefix("JSON is malformed: ").replace("Object contains", "there is the")
    text = "it ends too early" if "truncated" in text else text
    text = re.sub(EXPECTED, lambda match: f"there is {_name(match[2])} instead of {_name(match[1])}", text)
    text = re.sub(LENGTH, lambda match: f"its length is not {match[1]} {match[2]}", text)
    text = re.sub(PATTERN, "the text has another form", text)
    return re.sub(MISSING, r"\1 is missing", text), place[1] if place else ""


def describe(error: Exception) -> str:
    """The same in one line."""
    what, place = split(error)
    return f"{what}, at {place}" if place else what


def _name(types: str) -> str:
    each = types.split(" | ")
    kinds = [kind for kind in each if types == "null" or (kind != "null" and not (kind == "int" and "float" in each))]
    return " or ".join(TYPES.get(kind, kind) for kind in kinds)
