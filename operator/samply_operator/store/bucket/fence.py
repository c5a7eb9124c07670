"""Who may write to a prefix: one object with the number of the term, replaced only if it is unchanged since it was
read.

Each new writer starts a new term. A writer that was paused and resumes in a later term finds that its conditions fail,
and stops; clocks are not compared. Another installation's term is taken over only if its object has not changed for a
while, measured by this process.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

import msgspec

from samply_operator.errors import StoreConflict, StoreFenced, StoreUnavailable
from samply_operator.store.bucket import names
from samply_operator.store.bucket.objects import Objects

logger = logging.getLogger(__name__)

RENEW_SECS = 30.0
TELL_SECS = 30.0
PATIENCE_SECS = 150.0
"""Another installation's term that was not renewed for this long is over."""


class Term(msgspec.Struct, frozen=True, omit_defaults=True):
    """The object: `number` increases with each writer, `beat` with each renewal."""

    number: int
    owner: str
    """The installation: another process of the same one may take over immediately."""
    holder: str = ""
    """The pod, for information. Empty: the term was ended properly."""
    beat: int = 0
    newest: int = 0
    """The highest place of a published attempt (rules/storage/order.py)."""


class Fence:
    """`owner` and `holder` are those of this process. Thread-safe."""

    def __init__(
        self, objects: Objects, owner: str, holder: str, *, uptime: Callable[[], float] = time.monotonic
    ) -> None:
        self.term: Term | None = None
        """Our term; None: we do not write."""
        self._objects = objects
        self._owner = owner
        self._holder = holder
        self._uptime = uptime
        self._e_tag = ""
        self._seen: tuple[str, float] = ("", 0.0)
        """Entity tag of another installation's term, and since when it is unchanged."""
        self._told_at = -math.inf
        self._lock = threading.Lock()

    def acquire(self, find_last: Callable[[], int] = lambda: 0) -> bool:
        """Start a new term. False: another process has one, or was faster. `find_last`: the last term that is known if
        the object is missing, since numbers must not be used again. Raises StoreUnavailable."""
        with self._lock:
            found = self._read()
            if found is None:
                return self._begin(Term(find_last() + 1, self._owner, self._holder), None)
            term, e_tag = found
            if not self._may_take(term, e_tag):
                return False
            return self._begin(Term(term.number + 1, self._owner, self._holder, newest=term.newest), e_tag)

    def renew(self, newest: int) -> None:
        """Raises StoreFenced if the term is over, StoreUnavailable."""
        with self._lock:
            if self.term is None:
                raise StoreFenced("this process does not write to the bucket.")
            term = msgspec.structs.replace(self.term, beat=self.term.beat + 1, newest=max(newest, self.term.newest))
            try:
                self._e_tag = self._objects.replace(names.LEADER, msgspec.json.encode(term), self._e_tag)
            except StoreConflict:
                self._adopt_or_end()
            self.term = term

    def check(self) -> None:
        """Before an unconditional operation. Raises StoreFenced if the term is over, StoreUnavailable."""
        with self._lock:
            found = self._read()
            if found is None or not self._is_ours(found[0]):
                self._end(found[0] if found else None)

    def release(self, newest: int = 0) -> None:
        """End the term properly: any installation may start the next one immediately."""
        with self._lock:
            if self.term is None:
                return
            ended = msgspec.structs.replace(self.term, holder="", newest=max(newest, self.term.newest))
            self.term = None
            try:
                self._objects.replace(names.LEADER, msgspec.json.encode(ended), self._e_tag)
            except StoreConflict:
                logger.info("the term in the bucket was already over")

    def _may_take(self, term: Term, e_tag: str) -> bool:
        if term.owner == self._owner or not term.holder:
            return True
        now = self._uptime()
        if self._seen[0] != e_tag:
            self._seen, self._told_at = (e_tag, now), -math.inf
        waited = now - self._seen[1]
        if waited < PATIENCE_SECS and now - self._told_at >= TELL_SECS:
            self._told_at = now
            logger.warning(
                "%s (pod %s) writes to this prefix of the bucket; this is %s. Its term is taken over if it isn't "
                "renewed for %g s more. After a reinstallation, an upgrade or a restore: only wait; if the other one "
                "still runs, give one of them another config.storage.bucket.cluster",
                term.owner, term.holder, self._owner, PATIENCE_SECS - waited,
            )  # fmt: skip
        return waited >= PATIENCE_SECS

    def _begin(self, term: Term, e_tag: str | None) -> bool:
        data = msgspec.json.encode(term)
        try:
            self._e_tag = self._write(data, e_tag)
        except StoreConflict:
            found = self._read()
            if found is None or found[0] != term:
                return False
            self._e_tag = found[1]  # it was our own request, whose answer was lost and which was repeated
        self._check_conditions(data, e_tag)
        self.term = term
        logger.info("term %d in the bucket starts", term.number)
        return True

    def _write(self, data: bytes, e_tag: str | None) -> str:
        """Raises StoreConflict if the object has another tag, or exists although `e_tag` is None."""
        if e_tag is None:
            return self._objects.create(names.LEADER, data)
        return self._objects.replace(names.LEADER, data, e_tag)

    def _check_conditions(self, data: bytes, e_tag: str | None) -> None:
        """The write that started the term must fail when it is repeated. Raises StoreUnavailable if it does not."""
        try:
            self._write(data, e_tag)
        except StoreConflict:
            return
        except StoreUnavailable as error:
            # The term has begun, and the spool must know it. The next start checks again.
            logger.warning("whether the bucket's server obeys conditions of writes is not known yet: %s", error)
            return
        raise StoreUnavailable(
            "the bucket's server ignores the conditions of writes (If-Match, If-None-Match), so that two operators "
            "could write at the same time.",
            remedy="Use a server, or a release of it, that supports conditional writes; or a volume.",
        )

    def _adopt_or_end(self) -> None:
        """The condition failed: because of our own request whose answer was lost, or because the term is over."""
        found = self._read()
        if found is not None and self._is_ours(found[0]):
            self._e_tag = found[1]
            return
        self._end(found[0] if found else None)

    def _end(self, found: Term | None) -> None:
        self.term = None
        who = f"{found.owner} (pod {found.holder}) in term {found.number}" if found else "nobody"
        raise StoreFenced(f"the term of this process is over: {who} writes to the bucket now.")

    def _is_ours(self, found: Term) -> bool:
        ours = self.term
        return ours is not None and (found.number, found.owner, found.holder) == (ours.number, ours.owner, ours.holder)

    def _read(self) -> tuple[Term, str] | None:
        found = self._objects.read(names.LEADER)
        try:
            return (msgspec.json.decode(found[0], type=Term), found[1]) if found else None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreUnavailable(
                f"{names.LEADER} in the bucket is damaged: {error}.",
                remedy="Delete it, if no other installation writes to this prefix.",
            ) from error
