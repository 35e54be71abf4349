"""Stale data of one miner: unknown is unsafe (S04), but one silent miner is an inhibit, not a trip.

At a p99 sample age of 15 s one miner in a hundred would otherwise trip in every sweep (contracts). A miner
that answers but tells no usable temperature while it draws power is *blind* and treated the same.
"""

from enum import StrEnum

import msgspec

from edge_agent.config import Timing

ALARM_AFTER_S = 30.0
"""An inhibit for want of data becomes an alarm after this long (contracts, inhibit)."""


class Sight(StrEnum):
    """What is known of a miner right now."""

    FRESH = "fresh"
    SETTLING = "settling"
    BLIND = "blind"
    STALE = "stale"
    LOST = "lost"

    @property
    def unknown(self) -> bool:
        """Counts as running, hot and at full power."""
        return self in (Sight.BLIND, Sight.STALE, Sight.LOST)


class Watch(msgspec.Struct, frozen=True):
    """State: what is seen, for how long nothing usable was, and whether the alarm went out."""

    sight: Sight = Sight.STALE
    unknown_for_s: float = 0.0
    alarmed: bool = False


UNSEEN = Watch()
_CLEAR = {sight: Watch(sight) for sight in (Sight.FRESH, Sight.SETTLING)}


def step(watch: Watch, *, age_s: float, blind: bool, settling: bool, timing: Timing, dt: float) -> Watch:
    """The state after `dt` seconds, given the age of the last good sample in s (inf: never heard)."""
    if age_s > timing.lost_after_s:
        sight = Sight.LOST
    elif age_s > timing.stale_after_s:
        sight = Sight.STALE
    elif blind and not settling:
        sight = Sight.BLIND
    else:
        return _CLEAR[Sight.SETTLING if settling else Sight.FRESH]
    unknown_s = watch.unknown_for_s + dt
    return Watch(sight, unknown_s, watch.alarmed or unknown_s >= ALARM_AFTER_S)
