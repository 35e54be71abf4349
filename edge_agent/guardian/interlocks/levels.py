"""How far a value stands on the dangerous side of its limits: high ones (heat) and low ones (flow) alike.

Limits come from the site file; their order was checked at load. Warn and shed count after `on_delay_s`
beyond the limit. Trip counts after `trip_after_s`: at once for a chip, which gains several degrees per second
without air (plant.md §1.4); after `on_delay_s` for the probes of a zone, because air and water of a hall
cannot jump and one odd reading must not stop a thousand miners. What a level started goes after `off_delay_s`
on the good side of `release` (S06). Units are those of the limits.
"""

from enum import IntEnum

import msgspec

from edge_agent.config import HighLimits, LowLimits

Limits = HighLimits | LowLimits


class Level(IntEnum):
    """How bad, in the words of the limits."""

    NORMAL = 0
    WARN = 1
    SHED = 2
    TRIP = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Standing(msgspec.Struct, frozen=True):
    """State of one interlock: the level in force, and how long the value stood beyond each limit, in s.

    *Above* means on the dangerous side, also where low is dangerous.
    """

    level: Level = Level.NORMAL
    above_warn_s: float = 0.0
    above_shed_s: float = 0.0
    below_s: float = 0.0
    above_trip_s: float = 0.0


CLEAR = Standing()


def step(
    standing: Standing,
    value: float | None,
    limits: Limits,
    dt: float,
    *,
    tighten: float = 0.0,
    trip_after_s: float = 0.0,
) -> Standing:
    """The state after `dt` seconds with this value. None (unknown) neither raises nor releases.

    `tighten` is by how much every limit stands closer now (S05), in the unit of the limits.
    """
    if value is None:
        return standing
    sign = _sign(limits)
    at = sign * value + tighten
    if at < sign * limits.warn and standing == CLEAR:
        return standing
    below_s = standing.below_s + dt if at <= sign * limits.release else 0.0
    if below_s > 0 and below_s >= limits.off_delay_s:
        return CLEAR
    warn_s = standing.above_warn_s + dt if at >= sign * limits.warn else 0.0
    shed_s = standing.above_shed_s + dt if at >= sign * limits.shed else 0.0
    trip_s = standing.above_trip_s + dt if at >= sign * limits.trip else 0.0
    level = standing.level
    if at >= sign * limits.trip and trip_s >= trip_after_s:
        level = Level.TRIP
    elif at >= sign * limits.shed and shed_s >= limits.on_delay_s:
        level = max(level, Level.SHED)
    elif at >= sign * limits.warn and warn_s >= limits.on_delay_s:
        level = max(level, Level.WARN)
    return Standing(level, warn_s, shed_s, below_s, trip_s)


def excess(value: float, limit: float, limits: Limits, tighten: float = 0.0) -> float:
    """How far `value` is on the dangerous side of `limit`, one of `limits`; negative on the good side."""
    return _sign(limits) * (value - limit) + tighten


def sheds(standing: Standing, value: float | None, limits: Limits, tighten: float = 0.0) -> bool:
    """Whether one more step down is wanted now: only while the value itself stands beyond `shed`.

    Between `release` and `shed` the level keeps its inhibit, but lowering further would overshoot.
    """
    return (
        standing.level >= Level.SHED
        and value is not None
        and excess(value, limits.shed, limits, tighten) >= 0
    )


def trips(standing: Standing, value: float | None, limits: Limits, tighten: float = 0.0) -> bool:
    """Whether a latch is due now: the level says so, and the value still stands beyond `trip`."""
    return (
        standing.level is Level.TRIP
        and value is not None
        and excess(value, limits.trip, limits, tighten) >= 0
    )


def _sign(limits: Limits) -> float:
    return 1.0 if isinstance(limits, HighLimits) else -1.0
