"""Kubernetes label selectors, for objects that the API server cannot filter (pod templates).

Source of the grammar: "Labels and Selectors" in the Kubernetes documentation.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from samply_operator.errors import SettingsError

_KEY = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_VALUE = r"[A-Za-z0-9._-]*"
_LIST = rf"\s*{_VALUE}\s*(?:,\s*{_VALUE}\s*)*"
_TERM = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<gone>{_KEY})"
    rf"|(?P<key>{_KEY})(?:\s*(?P<op>==|=|!=)\s*(?P<value>{_VALUE})"
    rf"|\s+(?P<set>in|notin)\s*\((?P<values>{_LIST})\))?)\s*",
)


KINDS = (
    "feldera.com/part-of",
    "app.kubernetes.io/name",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app",
)
"""Labels that identify the kind of a pod, the most specific one first."""
MAX_COMPLEMENT = 4
"""Each one costs a list of its own."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """`values` None: the key must exist (or, negated, must not)."""

    key: str
    values: frozenset[str] | None = None
    is_negated: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self.values is None:
            return (self.key in labels) is not self.is_negated
        # As in Kubernetes, a negated term also matches if the key is absent.
        return (labels.get(self.key) in self.values) is not self.is_negated

    def negate(self) -> Requirement:
        """Matches exactly what this one does not match."""
        return replace(self, is_negated=not self.is_negated)

    def write(self) -> str:
        """As the API server reads it."""
        if self.values is None:
            return f"!{self.key}" if self.is_negated else self.key
        return f"{self.key} {'notin' if self.is_negated else 'in'} ({','.join(sorted(self.values))})"


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Parse a label selector; the empty one selects everything. Raises SettingsError."""
    requirements: list[Requirement] = []
    position = 0
    while text.strip() and position <= len(text):
        match = _TERM.match(text, position)
        if match is None or (match.end() < len(text) and text[match.end()] != ","):
            raise SettingsError(
                f"label selector {text!r}: cannot parse {text[position:]!r}.",
                remedy="Use the syntax of kubectl's -l, such as app=feldera,tier in (a,b).",
            )
        requirements.append(_requirement(match))
        position = match.end() + 1
    return tuple(requirements)


def _requirement(match: re.Match[str]) -> Requirement:
    if match["absent"]:
        return Requirement(match["gone"], is_negated=True)
    if match["op"]:
        return Requirement(match["key"], frozenset({match["value"]}), match["op"] == "!=")
    if match["set"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        return Requirement(match["key"], values, match["set"] == "notin")
    return Requirement(match["key"])


def is_selected(texts: Iterable[str], *labels: Mapping[str, str]) -> bool:
    """Whether a selector matches a set of labels."""
    return any(matches(parse_selector(text), each) for text in texts for each in labels)


def complement(texts: Sequence[str]) -> tuple[str, ...]:
    """Selectors of which exactly one selects what none of these selects. Raises SettingsError.

    Everything, as one empty selector, where it would take more than MAX_COMPLEMENT of them.
    """
    selected = [parse_selector(text) for text in dict.fromkeys(texts)]
    if math.prod(map(len, selected)) > MAX_COMPLEMENT:
        return ("",)
    return tuple(
        ",".join(dict.fromkeys(requirement.write() for requirement in itertools.chain(*chosen)))
        for chosen in itertools.product(*map(_list_misses, selected))
    )


def _list_misses(selector: tuple[Requirement, ...]) -> list[tuple[Requirement, ...]]:
    """By the first requirement that does not match."""
    return [(*selector[:position], missed.negate()) for position, missed in enumerate(selector)]


def choose_selector(labels: Mapping[str, str]) -> str:
    """A selector for the kind of pod with these labels, not only this one; empty: no labels."""
    key = next((key for key in KINDS if key in labels), None) or next(iter(sorted(labels)), "")
    return f"{key}={labels[key]}" if key else ""


def matches(selector: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    """True if every requirement matches."""
    return all(requirement.matches(labels) for requirement in selector)
