"""`samply-operator doctor`: checks of the installation from inside the operator's container, as JSON on stdout."""

from __future__ import annotations

import asyncio

import msgspec

from samply_operator.doctor import examination
from samply_operator.rules.installation import checks
from samply_operator.settings import Identity, Settings


def run(settings: Settings, identity: Identity) -> int:
    """Exit status: 1 if a check failed."""
    report = checks.build_report(asyncio.run(examination.examine(settings, identity)))
    print(msgspec.json.encode(report).decode())
    return 1 if report.status == "Failed" else 0
