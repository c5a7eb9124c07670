"""Objects of one kind by namespace and name, combined from several lists and watches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

Key = tuple[str, str]
Source = tuple[str, str]
"""Where an object is seen: the scope (a namespace, or "" for all) and the label selector that were asked for."""


class Named(Protocol):
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...


Item = TypeVar("Item", bound=Named)


def key_of(item: Named) -> Key:
    return item.namespace, item.name


class ObjectTable(Generic[Item]):
    """An object exists while at least one source has it. Each call returns the keys that it changed."""

    def __init__(self) -> None:
        self.items: dict[Key, Item] = {}
        self._sources: dict[Key, set[Source]] = {}

    def put(self, source: Source, item: Item) -> set[Key]:
        key = key_of(item)
        is_known = self.items.get(key) == item
        self.items[key] = item
        self._sources.setdefault(key, set()).add(source)
        return set() if is_known else {key}

    def drop(self, source: Source, item: Item) -> set[Key]:
        """It went. The end of a predecessor, of the same name with another uid, leaves its successor alone."""
        key = key_of(item)
        known = self.items.get(key)
        return self._drop(source, key) if known is not None and known.uid == item.uid else set()

    def replace(self, source: Source, items: Iterable[Item]) -> set[Key]:
        """All that this source shows."""
        listed = {key_of(item): item for item in items}
        stale = [key for key, sources in self._sources.items() if source in sources and key not in listed]
        changed = [self._drop(source, key) for key in stale]
        return set().union(*changed, *(self.put(source, item) for item in listed.values()))

    def drop_scope(self, scope: str) -> set[Key]:
        """The scope is unknown from now on."""
        sources = {source for sources in self._sources.values() for source in sources if source[0] == scope}
        return set().union(*(self.replace(source, ()) for source in sources))

    def _drop(self, source: Source, key: Key) -> set[Key]:
        self._sources[key].discard(source)
        if self._sources[key]:
            return set()
        del self._sources[key], self.items[key]
        return {key}
