"""Alarms and events: what a person should know, each with what to do next.

Priorities follow ISA 18.2 practice: few urgent ones, each with a cause, a consequence and an action.
"""

from enum import StrEnum
from typing import Annotated

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
    plain numbers and words. `at_ms` (UTC) is for people to read: a site's clock may be set back, so what came
    first is told by `order`.
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
    order: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    """Milliseconds that never fall on one site: max(wall clock, last + 1), given by the agent's store in the
    order in which it takes events in. 0 = from before this field, or from elsewhere."""

    @property
    def place(self) -> int:
        """Where the event stands among its site's: `order` where it has one, else `at_ms`."""
        return self.order or self.at_ms
