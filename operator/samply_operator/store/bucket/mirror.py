"""Small documents that change (journal, tombstones, pins): written to the spool first, then to the bucket.

This process uses the spool's copy, so an unavailable bucket stops nothing: what it lacks is marked in `unsent/` and
sent later. The bucket's copy is for the next writer. It is wrapped with the term in which it was written, and replaced
only if it is unchanged since: a writer of an earlier term cannot.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from samply_operator.errors import StoreConflict, StoreFenced
from samply_operator.store import durable, layout
from samply_operator.store.bucket import names
from samply_operator.store.bucket.fence import Fence
from samply_operator.store.bucket.objects import Objects

logger = logging.getLogger(__name__)

FOLDERS = (layout.JOURNAL, layout.TOMBSTONES, layout.PINS)
UNSENT = "unsent"


class Wrapped(msgspec.Struct, frozen=True, omit_defaults=True):
    """The bucket's version of a document."""

    term: int
    is_closed: bool = False
    """It was removed; the object itself is deleted a moment later."""
    text: str = ""
    """The document as it is in the spool."""


def decode(data: bytes, term: int) -> Wrapped:
    """A damaged one is taken as the document itself, of this term, whose reader reports it as on a volume."""
    try:
        return msgspec.json.decode(data, type=Wrapped)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Wrapped(term, text=data.decode(errors="replace"))


class Mirror:
    """Documents are named by their paths in the spool (`journal/<id>.json`). Change one within `changing`, then call
    `send`."""

    def __init__(self, objects: Objects, root: Path, fence: Fence) -> None:
        self._objects = objects
        self._root = root
        self._fence = fence
        self._tags: dict[str, str] = {}
        """Entity tags of the bucket's versions since the term started; empty: there may be one, since the answer to its
        creation was lost."""
        self._lock = threading.RLock()
        self._changing = threading.Lock()
        """Not held during requests to the bucket."""

    def prepare(self) -> None:
        for folder in FOLDERS:
            (self._root / UNSENT / folder).mkdir(mode=0o750, parents=True, exist_ok=True)

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """While the document in the spool is changed. It is marked as unsent first: a kill may follow at any point.
        Raises StoreError."""
        with self._changing:
            with durable.translated(f"mark {name}"):
                (self._root / UNSENT / name).touch(mode=0o640)
            yield

    def list_unsent(self) -> frozenset[str]:
        return frozenset(
            f"{folder}/{name}" for folder in FOLDERS for name in durable.list_names(self._root / UNSENT / folder)
        )

    def send(self, name: str) -> None:
        """Update the bucket's copy from the spool. Raises StoreUnavailable, StoreFenced."""
        with self._lock, durable.translated(f"send {name}"):
            text = self._read_local(name)
            if text is not None:
                self._write(name, Wrapped(self._number, text=text))
            elif name in self._tags:
                # In two steps: a removal itself cannot be conditional.
                self._write(name, Wrapped(self._number, is_closed=True))
                self._objects.delete([name])
                del self._tags[name]
            with self._changing:
                if self._read_local(name) == text:  # else it was changed meanwhile
                    (self._root / UNSENT / name).unlink(missing_ok=True)

    def _read_local(self, name: str) -> str | None:
        with suppress(FileNotFoundError):
            return (self._root / name).read_text(encoding="utf-8", errors="replace")
        return None

    def find_last_term(self) -> int:
        """The last term that changed a document which still exists; 0: none. Raises StoreUnavailable."""
        found = (self._objects.read(name) for name, _ in self._list())
        return max((decode(each[0], 0).term for each in found if each is not None), default=0)

    def take_new_pins(self, ids: Collection[str]) -> None:
        """Take over pins of these profiles that another program (`store copy`) created since the term started. Raises
        StoreError."""
        found = [each.path for each in self._objects.list(layout.PINS) if names.parse_id(each.path) in ids]
        for name in found:
            with self._lock, durable.translated(f"take over {name}"):
                if name not in self._tags:
                    self._take(name)

    def adopt(self, *, was_ours: bool) -> None:
        """At the start of a term: take over the last writer's documents.

        `was_ours`: this spool is that writer's, so that its unsent documents are newer than the bucket's. Raises
        StoreError."""
        with self._lock, durable.translated("take over the journal"):
            remote = dict(self._list())
            self._tags = dict(remote)
            unsent = self.list_unsent()
            for name in tuple(remote):
                if was_ours and name in unsent:
                    self.send(name)
                else:
                    self._take(name)
            for name in self._list_local() - remote.keys():
                if name in unsent:
                    self.send(name)
                else:
                    (self._root / name).unlink(missing_ok=True)  # another process has finished it
            for name in self.list_unsent() - remote.keys():
                (self._root / UNSENT / name).unlink(missing_ok=True)

    def _take(self, name: str) -> None:
        """Replace the spool's copy by the bucket's, and adopt it in this term."""
        found = self._objects.read(name)
        if found is None:
            self._tags.pop(name, None)
            return
        wrapped = decode(found[0], self._number)
        self._tags[name] = found[1]
        path = self._root / name
        path.unlink(missing_ok=True)
        if wrapped.is_closed:
            self._objects.delete([name])
            del self._tags[name]
        else:
            durable.write(path, wrapped.text.encode())
            durable.sync(path.parent)
            self._write(name, Wrapped(self._number, text=wrapped.text))
        (self._root / UNSENT / name).unlink(missing_ok=True)

    def _write(self, name: str, wrapped: Wrapped) -> None:
        data, e_tag = msgspec.json.encode(wrapped), self._tags.setdefault(name, "")
        try:
            self._tags[name] = self._objects.replace(name, data, e_tag) if e_tag else self._objects.create(name, data)
        except StoreConflict:
            self._settle(name, data)

    def _settle(self, name: str, data: bytes) -> None:
        """The document was changed. In our own term this was a request of ours whose answer was lost; else the term is
        over. Raises StoreFenced."""
        self._fence.check()
        found = self._objects.read(name)
        if found is not None and decode(found[0], self._number).term > self._number:
            raise StoreFenced(f"{name} belongs to a later term: this process must not write any more.")
        if found is None:
            self._tags[name] = self._objects.create(name, data)
        elif found[0] == data:
            self._tags[name] = found[1]
        else:
            self._tags[name] = self._objects.replace(name, data, found[1])

    @property
    def _number(self) -> int:
        if self._fence.term is None:
            raise StoreFenced("this process does not write to the bucket.")
        return self._fence.term.number

    def _list(self) -> Iterator[tuple[str, str]]:
        for folder in FOLDERS:
            for found in self._objects.list(folder):
                if names.parse_id(found.path):
                    yield found.path, found.e_tag

    def _list_local(self) -> set[str]:
        return {f"{folder}/{name}" for folder in FOLDERS for name in durable.list_names(self._root / folder)}
