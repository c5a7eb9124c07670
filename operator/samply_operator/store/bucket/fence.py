"""Who may write to a prefix: one object with the number of the term, changed only on condition that it is as last read.

Whoever becomes the writer begins a new term. A writer that slept, and wakes up in a later term, finds its conditions
broken and stops; no clock of either is asked. Another installation's term is taken over only once its object didn't
change for a while, which this process measures itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from samply_operator.errors import StoreConflict, StoreFenced
from samply_operator.store.bucket import names
from samply_operator.store.bucket.objects import Objects

logger = logging.getLogger(__name__)

RENEW_SECS = 30.0
PATIENCE_SECS = 150.0
"""A foreign term that wasn't renewed for so long is over."""


class Term(msgspec.Struct, frozen=True, omit_defaults=True):
    """The object: `number` grows with each writer, `beat` with each renewal."""

    number: int
    owner: str
    """The installation: a further process of the same one may take over at once."""
    holder: str = ""
    """The pod, for people. Empty: the term was ended in order."""
    beat: int = 0
    newest: int = 0
    """The highest place of an attempt that was published (rules/storage/order.py)."""


class Fence:
    """`owner` and `holder` are those of this process. Safe to use from several threads."""

    def __init__(
        self, objects: Objects, owner: str, holder: str, *, uptime: Callable[[], float] = time.monotonic
    ) -> None:
        self.term: Term | None = None
        """Ours; None: we don't write."""
        self._objects = objects
        self._owner = owner
        self._holder = holder
        self._uptime = uptime
        self._e_tag = ""
        self._seen: tuple[str, float] = ("", 0.0)
        """A foreign term's entity tag, and since when it is the same."""
        self._lock = threading.Lock()

    def acquire(self) -> bool:
        """Begin a new term. False: somebody else has one, or was faster. Raises StoreUnavailable."""
        with self._lock:
            found = self._read()
            if found is None:
                return self._begin(Term(1, self._owner, self._holder), None)
            term, e_tag = found
            if not self._may_take(term, e_tag):
                return False
            return self._begin(Term(term.number + 1, self._owner, self._holder, newest=term.newest), e_tag)

    def renew(self, newest: int) -> None:
        """Raises StoreFenced if the term is over, StoreUnavailable."""
        with self._lock:
            if self.term is None:
                raise StoreFenced("this process doesn't write to the bucket.")
            term = msgspec.structs.replace(self.term, beat=self.term.beat + 1, newest=max(newest, self.term.newest))
            try:
                self._e_tag = self._objects.replace(names.LEADER, msgspec.json.encode(term), self._e_tag)
            except StoreConflict:
                self._adopt_or_end(term)
            self.term = term

    def check(self) -> None:
        """Before something that no condition guards. Raises StoreFenced if the term is over, StoreUnavailable."""
        with self._lock:
            found = self._read()
            if self.term is None or found is None or (found[0].number, found[0].owner) != self._identity():
                self._end(found[0] if found else None)

    def release(self, newest: int = 0) -> None:
        """End the term in order: any installation may begin the next one at once."""
        with self._lock:
            if self.term is None:
                return
            ended = msgspec.structs.replace(self.term, holder="", newest=max(newest, self.term.newest))
            self.term = None
            try:
                self._objects.replace(names.LEADER, msgspec.json.encode(ended), self._e_tag)
            except StoreConflict:
                logger.info("the term in the bucket was over already")

    def _may_take(self, term: Term, e_tag: str) -> bool:
        if term.owner == self._owner or not term.holder:
            return True
        if self._seen[0] != e_tag:
            self._seen = e_tag, self._uptime()
        waited = self._uptime() - self._seen[1]
        if waited < PATIENCE_SECS:
            logger.warning(
                "%s (pod %s) writes to this prefix of the bucket; its term is taken over if it isn't renewed for %g s "
                "more. Two installations need two values of config.storage.bucket.cluster",
                term.owner, term.holder, PATIENCE_SECS - waited,
            )  # fmt: skip
        return waited >= PATIENCE_SECS

    def _begin(self, term: Term, e_tag: str | None) -> bool:
        data = msgspec.json.encode(term)
        try:
            if e_tag is None:
                self._e_tag = self._objects.create(names.LEADER, data)
            else:
                self._e_tag = self._objects.replace(names.LEADER, data, e_tag)
        except StoreConflict:
            found = self._read()
            if found is None or found[0] != term:
                return False
            self._e_tag = found[1]  # it was our own request, whose answer was lost and which was sent again
        self.term = term
        logger.info("term %d in the bucket begins", term.number)
        return True

    def _adopt_or_end(self, wanted: Term) -> None:
        """The condition broke: by our own request, whose answer was lost, or because the term is over."""
        found = self._read()
        if found is not None and found[0].number == wanted.number and found[0].owner == self._owner:
            self._e_tag = found[1]
            return
        self._end(found[0] if found else None)

    def _end(self, found: Term | None) -> None:
        self.term = None
        who = f"{found.owner} (pod {found.holder}) in term {found.number}" if found else "nobody"
        raise StoreFenced(f"the term of this process is over: {who} writes to the bucket now.")

    def _identity(self) -> tuple[int, str]:
        return (self.term.number, self.term.owner) if self.term else (-1, "")

    def _read(self) -> tuple[Term, str] | None:
        found = self._objects.read(names.LEADER)
        return (msgspec.json.decode(found[0], type=Term), found[1]) if found else None
