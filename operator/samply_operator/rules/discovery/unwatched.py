"""Objects with a trigger, or that look like Feldera's, that no selector matches. Pure.

A trigger on one of them would otherwise be ignored silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from samply_operator.model import names
from samply_operator.model.pipeline import Pod, StatefulSet
from samply_operator.rules.discovery import naming, selectors


@dataclass(frozen=True, slots=True)
class Unwatched:
    """`selector` would match it; empty: it has no labels. `is_annotated`: it has a trigger."""

    kind: str
    namespace: str
    name: str
    uid: str
    selector: str
    is_annotated: bool

    def describe(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def find_sets(sets: Iterable[StatefulSet], wanted: Sequence[str]) -> Iterator[Unwatched]:
    """`wanted` are the configured selectors."""
    for each in sets:
        labels = each.template_labels or each.labels
        is_annotated = names.TRIGGER in each.annotations
        is_like = names.FELDERA_ID in labels or bool(naming.find_id_of_set(each))
        if (is_annotated or is_like) and not selectors.is_selected(wanted, each.template_labels, each.labels):
            selector = selectors.choose_selector(labels)
            yield Unwatched("StatefulSet", each.namespace, each.name, each.uid, selector, is_annotated)


def find_pods(pods: Iterable[Pod], wanted: Sequence[str]) -> Iterator[Unwatched]:
    """Only annotated ones: others are reported with their StatefulSet."""
    for pod in pods:
        if names.TRIGGER in pod.annotations and not selectors.is_selected(wanted, pod.labels):
            yield Unwatched("Pod", pod.namespace, pod.name, pod.uid, selectors.choose_selector(pod.labels), True)


def suggest(unwatched: Iterable[Unwatched], wanted: Sequence[str]) -> str:
    """Values that would match them; empty: none would."""
    more = [text for text in dict.fromkeys(each.selector for each in unwatched) if text]
    if not more:
        return ""
    listed = ", ".join(f'"{text}"' for text in [*wanted, *more])
    return f"Set config.targets.podSelector to [{listed}] in the chart's values."


def describe(unwatched: Unwatched, wanted: Sequence[str]) -> str:
    """The message of its Event."""
    selected = " or ".join(text or "everything" for text in wanted)
    cure = suggest((unwatched,), wanted) or "Give it a label, and select that in config.targets.podSelector."
    text = f"It is not watched, so the annotation {names.TRIGGER} has no effect"
    return f"{text}: config.targets.podSelector is {selected}. {cure}"
