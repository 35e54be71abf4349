"""Counters that a device counts from its own start: what was added between two looks, and where it restarted.

Shares and hardware errors go back to zero when a miner restarts, some firmwares at a pool's reconnection too.
A counter that went down has been reset; what was added before the reset is lost, so the difference is unknown
and never negative. A device that restarted may also count past its old value before anybody looks: its uptime
tells.
"""

import msgspec

ROUNDING_S = 90.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one counter between two looks. `added` None is unknown."""

    added: float | None
    reset: bool


def step(before: float | None, now: float | None, *, restarted: bool = False) -> Step:
    """The step of a counter from `before` to `now` (counts); None is a look that brought nothing.

    `restarted` says that the device began anew in between, whatever the numbers look like.
    """
    if before is None or now is None:
        return Step(added=None, reset=restarted)
    if restarted or now < before:
        return Step(added=None, reset=True)
    return Step(added=now - before, reset=False)


def has_restarted(uptime_before_s: float | None, uptime_now_s: float | None, elapsed_s: float) -> bool:
    """Whether a device began anew within `elapsed_s` s: its uptime (s) fell, or grew by too little.

    Unknown uptimes say nothing; `ROUNDING_S` is granted to firmwares that tell whole minutes.
    """
    if uptime_before_s is None or uptime_now_s is None:
        return False
    return uptime_now_s < uptime_before_s or uptime_now_s + ROUNDING_S < uptime_before_s + elapsed_s
