"""Rules that sort functions into groups, read from TOML. Pure.

    [[group]]
    name = "join"
    function = ['^dbsp::operator::dynamic::join']
    path = ['operator/dynamic/join\\.rs$']
    library = ['^libjoin']

A function belongs to the first group of which any pattern is found in its name, its source path or its library.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec

from samply_operator import json_errors
from samply_operator.profiles.analysis.calltree import Function
from samply_operator.profiles.errors import InvalidRules

SHIPPED = "dbsp.toml"
MAX_GROUPS = 62
"""A set of groups is a 64-bit number, with one bit for samples that match no rule."""


class _RawGroup(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    function: list[str] = []
    path: list[str] = []
    library: list[str] = []


class _RawRules(msgspec.Struct, forbid_unknown_fields=True):
    group: list[_RawGroup] = []


BRACKET = re.compile(r"<|(?<!-)>")
"""Not the arrow of a function's type."""
OPENING = re.compile(r"[\w})\]:]<")
"""Of type arguments. At the beginning of a name, a bracket holds the type and the trait of a method."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One group's patterns; None matches nothing."""

    name: str
    function: re.Pattern[str] | None
    path: re.Pattern[str] | None
    library: re.Pattern[str] | None

    def matches(self, function: Function) -> bool:
        name = strip_arguments(function.name)
        return any(
            pattern is not None and pattern.search(text) is not None
            for pattern, text in ((self.function, name), (self.path, function.file), (self.library, function.lib))
        )


@lru_cache(maxsize=1)  # each rule asks for the same one
def strip_arguments(name: str) -> str:
    """The name without its type arguments, which say nothing about what a function does: `<Vec<T> as Read<U>>::read<V>`
    becomes `<Vec<> as Read<>>::read<>`. Brackets that do not match, such as those of `operator<`, stay.
    """
    kept, start, depth = [], 0, 0
    for found in BRACKET.finditer(name):
        at = found.start()
        if name[at] == ">":
            start = at if depth == 1 else start
            depth -= depth > 0
        elif depth or OPENING.match(name, at - 1):
            if depth == 0:
                kept.append(name[start : at + 1])
            depth += 1
    return name if depth else "".join((*kept, name[start:]))


def load(own: str = "") -> tuple[Rule, ...]:
    """The user's own rules, which come first, and those that are shipped. Raises InvalidRules."""
    shipped = Path(__file__).with_name(SHIPPED).read_text(encoding="utf-8")
    rules = (*parse(own, "the rules"), *parse(shipped, SHIPPED))
    names = list(dict.fromkeys(rule.name for rule in rules))
    if len(names) > MAX_GROUPS:
        raise InvalidRules(f"There are {len(names)} groups; {MAX_GROUPS} are possible.", remedy="Join some.")
    return rules


def parse(text: str, where: str) -> tuple[Rule, ...]:
    """Raises InvalidRules."""
    try:
        raw = msgspec.convert(tomllib.loads(text), _RawRules)
        return tuple(_compile(group) for group in raw.group)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, re.error) as error:
        raise InvalidRules(
            f"{where} can't be used: {json_errors.describe(error)}.",
            remedy="See docs/operators.md for what such a file looks like.",
        ) from error


def _compile(group: _RawGroup) -> Rule:
    if not group.name or not (group.function or group.path or group.library):
        raise msgspec.ValidationError(f"group {group.name!r} needs a name and at least one pattern")
    return Rule(group.name, *map(_join, (group.function, group.path, group.library)))


def _join(patterns: Iterable[str]) -> re.Pattern[str] | None:
    each = [f"(?:{re.compile(pattern).pattern})" for pattern in patterns]
    return re.compile("|".join(each)) if each else None
