"""A notification of Alertmanager's webhook, payload version 4, and what became of its alerts.

Source: "webhook_config" in Alertmanager's documentation. Fields that are not used are ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

VERSION = "4"


class Alert(msgspec.Struct, frozen=True, rename="camel"):
    """`fingerprint` and `starts_at` identify it; `generator_url` leads to where it comes from."""

    fingerprint: str
    starts_at: str
    status: Literal["firing", "resolved"] = "firing"
    labels: dict[str, str] = {}
    generator_url: str = msgspec.field(default="", name="generatorURL")


class Notification(msgspec.Struct, frozen=True, rename="camel"):
    version: str
    alerts: tuple[Alert, ...]
    truncated_alerts: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many Alertmanager left out (`max_alerts`)."""
    receiver: str = ""


AlertState = Literal["Fired", "DryRun", "SeenBefore", "NotFired", "NotMatched", "Resolved"]


class AlertOutcome(msgspec.Struct, frozen=True):
    """Of one alert and one trigger; `trigger` empty: none matches. `comparisons`: where those of its profiles with
    earlier ones are, once they were made."""

    fingerprint: str
    state: AlertState
    namespace: str = ""
    trigger: str = ""
    profiles: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""
    comparisons: tuple[str, ...] = ()
