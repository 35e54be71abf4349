"""How old a device's newest row is, and when it is too old to count. Stale is unknown, not zero."""

from cloud.tables import DeviceLatestRow

STALE_STEPS = 3
SLACK_S = 15.0
"""For a slow uplink: a site that reports every 5 s is not stale because one batch took a detour."""


def age_s(row: DeviceLatestRow, now_ms: int, heard_ms: int | None) -> float:
    """Seconds since the end of the newest row's step.

    A row is at least as old as the site's last word (`heard_ms`), whatever its time says: rows of a clock
    that runs ahead would look new for hours after the site has gone.
    """
    silent_ms = now_ms - heard_ms if heard_ms is not None else 0
    return max(0, silent_ms, now_ms - row.at_ms - row.step_s * 1000) / 1000.0


def is_fresh(row: DeviceLatestRow, now_ms: int, heard_ms: int | None) -> bool:
    """Whether the row still says something about now."""
    return age_s(row, now_ms, heard_ms) <= STALE_STEPS * row.step_s + SLACK_S
