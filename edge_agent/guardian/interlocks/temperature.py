"""Over-temperature of one sensor group of one miner (chips, or boards), in °C.

Limits come from the site file; `release < warn < shed < trip` was checked at load. Warn and shed count
after `on_delay_s` above the limit; trip counts at once, because a chip gains several degrees per second
without air (plant.md §1). What a level started goes after `off_delay_s` at or below `release` (S06).
"""

from enum import IntEnum

import msgspec

from edge_agent.config import HighLimits


class Level(IntEnum):
    """How hot, in the words of the limits."""

    NORMAL = 0
    WARN = 1
    SHED = 2
    TRIP = 3


class Heat(msgspec.Struct, frozen=True):
    """State of one interlock: the level in force and how long the value stood above or below, in s."""

    level: Level = Level.NORMAL
    above_warn_s: float = 0.0
    above_shed_s: float = 0.0
    below_s: float = 0.0


COOL = Heat()


def step(heat: Heat, value_c: float | None, limits: HighLimits, dt: float) -> Heat:
    """The state after `dt` seconds with this value. None (unknown) neither raises nor releases."""
    if value_c is None:
        return heat
    if value_c < limits.warn and heat == COOL:
        return heat
    below_s = heat.below_s + dt if value_c <= limits.release else 0.0
    warn_s = heat.above_warn_s + dt if value_c >= limits.warn else 0.0
    shed_s = heat.above_shed_s + dt if value_c >= limits.shed else 0.0
    level = heat.level
    if below_s > 0 and below_s >= limits.off_delay_s:
        return COOL
    if value_c >= limits.trip:
        level = Level.TRIP
    elif value_c >= limits.shed and shed_s >= limits.on_delay_s:
        level = max(level, Level.SHED)
    elif value_c >= limits.warn and warn_s >= limits.on_delay_s:
        level = max(level, Level.WARN)
    return Heat(level, warn_s, shed_s, below_s)


def sheds(heat: Heat, value_c: float | None, limits: HighLimits) -> bool:
    """Whether one more step down is wanted now: only while the value itself stands above `shed`.

    Between `release` and `shed` the level keeps its inhibit, but lowering further would overshoot.
    """
    return heat.level >= Level.SHED and value_c is not None and value_c >= limits.shed
