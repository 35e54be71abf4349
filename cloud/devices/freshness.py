"""How old a device's newest row is, and when it is too old to count. Stale is unknown, not zero.

A row whose time lies ahead of ours says nothing of its age, so it ages from when it came.
"""

from cloud.tables import DeviceLatestRow

STALE_STEPS = 3
SLACK_S = 15.0
"""For a slow uplink: a site that reports every 5 s is not stale because one batch took a detour."""
AHEAD_MS = 60_000
"""How far a row's time may lie ahead of its arrival and still be believed: a clock that nobody sets."""


def live_ms(step_s: int) -> int:
    """For how long after its time (the start of its step) a row says something about now."""
    return (STALE_STEPS + 1) * step_s * 1_000 + int(SLACK_S * 1_000)


def is_ahead(at_ms: int, received_ms: int) -> bool:
    """Whether a row's time is from a clock that ran ahead when it came."""
    return at_ms > received_ms + AHEAD_MS


def age_s(row: DeviceLatestRow, now_ms: int, heard_ms: int | None) -> float:
    """Seconds since the end of the newest row's step.

    A row is at least as old as the site's last word (`heard_ms`), whatever its time says. One from a clock
    that ran ahead counts from its arrival: it would look new for hours after its device has gone. Where
    neither its time nor its arrival says anything (rows from before arrivals were noted), it is as old as
    may be for one that nobody replaced: stale.
    """
    silent_ms = now_ms - heard_ms if heard_ms is not None else 0
    ended_ms = row.at_ms + row.step_s * 1000
    if row.received_ms is not None and is_ahead(row.at_ms, row.received_ms):
        ended_ms = row.received_ms
    elif row.received_ms is None and is_ahead(row.at_ms, now_ms):
        ended_ms = now_ms - live_ms(row.step_s)
    return max(0, silent_ms, now_ms - ended_ms) / 1000.0


def is_fresh(row: DeviceLatestRow, now_ms: int, heard_ms: int | None) -> bool:
    """Whether the row still says something about now."""
    return age_s(row, now_ms, heard_ms) <= STALE_STEPS * row.step_s + SLACK_S
