"""What the store itself has to say, as events: built in one place, so that wording agrees."""

from typing import Final

from edge_agent.agent.events import event
from edge_agent.agent.store.quota import RESERVE, Pressure
from shared.alarms import Event, EventKind, Severity

FULL_KEY: Final = "outbox-full"
DISK_KEY: Final = "disk-refuses"
STORE_KEYS: Final = frozenset({FULL_KEY, DISK_KEY})
"""Alarms of the store itself: no raw samples explain them."""
_MB: Final = 1e6
_ADVICE: Final = (
    "Look why the cloud does not confirm: is the WAN up, does the broker answer, does ingest run? "
    "A larger outbox_keep_mb gives more time."
)
_TITLES: Final = {
    Pressure.THINNING: "The outbox is nearly full ({mb:.0f} MB): what waits is thinned to minutes",
    Pressure.DROPPING: "The outbox is full ({mb:.0f} MB): the oldest telemetry is lost, each gap is recorded",
    Pressure.EVENTS: "Events alone fill the outbox ({mb:.0f} MB): no telemetry is kept for the cloud",
}


def pressure(level: Pressure, at_ms: int, limit: int) -> Event:
    """The outbox had to go further to stay within `limit` bytes, or has room again."""
    if level is Pressure.NONE:
        return event(
            EventKind.ALARM_CLEARED, FULL_KEY, "The outbox has room again", at_ms=at_ms, data={"level": 0}
        )
    return event(
        EventKind.ALARM,
        FULL_KEY,
        _TITLES[level].format(mb=limit / _MB),
        at_ms=at_ms,
        severity={Pressure.THINNING: Severity.LOW, Pressure.EVENTS: Severity.URGENT}.get(
            level, Severity.HIGH
        ),
        advice=_ADVICE,
        data={"level": int(level), "limit_bytes": limit, "events_up_to_bytes": int(limit * (1 + RESERVE))},
    )
