"""Alarms and events: what a person should know, each with what to do next.

Priorities follow ISA 18.2 practice: few urgent ones, each with a cause, a consequence and an action.
"""

from enum import StrEnum

import msgspec

from shared.ids import DeviceId, ZoneId


class Severity(StrEnum):
    """How fast a person must act."""

    URGENT = "urgent"
    HIGH = "high"
    LOW = "low"


class EventKind(StrEnum):
    """What sort of thing happened."""

    TRIPPED = "tripped"
    CLEARED = "cleared"
    """A person reset a trip."""
    INHIBITED = "inhibited"
    RELEASED = "released"
    SHED = "shed"
    ACTION = "action"
    """A proposal or order went through the arbiter, whatever the outcome."""
    REFUSED = "refused"
    MODE = "mode"
    ALARM = "alarm"
    ALARM_CLEARED = "alarm-cleared"
    MODEL = "model"
    STORE = "store"
    SYSTEM = "system"


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened, as it travels on `up/ev` and stands in the cloud's alarm and audit tables.

    `key` groups what belongs together: an alarm and its clearing share it. `data` holds evidence as
    plain numbers and words.
    """

    id: str
    kind: EventKind
    severity: Severity
    key: str
    at_ms: int
    title: str
    advice: str = ""
    """What to do next, in the imperative, for a person at 3 a.m."""
    zone: ZoneId | None = None
    device: DeviceId | None = None
    data: dict[str, str | int | float | bool | None] = {}
