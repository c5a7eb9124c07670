"""Who requested an object over HTTP, from before its creation until its status has it.

It is never written where others could write it too, such as an annotation. What a crash loses here is reported as
unknown.
"""

from __future__ import annotations

from collections import OrderedDict

from samply_operator.discovery.world import Key

MAX_KEPT = 10_000


class Requesters:
    """By the object's namespace and name, which the operator made up itself."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, str] = OrderedDict()

    def note(self, key: Key, who: str) -> None:
        self._known[key] = who
        while len(self._known) > MAX_KEPT:
            self._known.popitem(last=False)

    def find(self, key: Key) -> str:
        """Empty: not requested over HTTP, as far as known."""
        return self._known.get(key, "")
