"""The audit log: who did, or was refused, what. One line each, with the request's id, and never a token."""

from __future__ import annotations

import logging

from samply_operator.logs import AUDIT, FIELDS
from samply_operator.rules.access.permissions import Decision, Who
from samply_operator.settings import Verb

logger = logging.getLogger(AUDIT)


def write(
    decision: Decision,
    verb: Verb,
    *,
    who: Who | None = None,
    pipeline: str = "",
    namespace: str = "",
    profile: str = "",
    reason: str = "",
) -> None:
    """`who` None: it could not be found out."""
    fields = {
        "event": "audit",
        "decision": decision,
        "verb": verb,
        "who": who.subject if who else "",
        "way": who.way if who else "",
        "pipeline": pipeline[:253],
        "namespace": namespace[:63],
        "profile": profile[:64],
        "reason": reason,
    }
    logger.info("%s %s", decision, verb, extra={FIELDS: {name: value for name, value in fields.items() if value}})
