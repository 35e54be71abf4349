"""The time of day as schedules may use it (S19): a wall clock that jumps starts nothing and loses nothing.

The wall clock is believed once it is synchronised, and from then on followed on the monotonic clock. Where
the two part by more than `JUMP_MS`, the monotonic one goes on being believed, until the new time has stood
synchronised for `TRUST_AFTER_S`: a step that is undone before that never happened. A gateway that was never
synchronised since its start knows no time of day, so no schedule starts there; running ones end by the
monotonic clock alone.
"""

from edge_agent.guardian.clock_sync import ClockSync
from shared.clock import Clock

JUMP_MS = 2_000
TRUST_AFTER_S = 600.0


class TrustedTime:
    """UTC in ms that can be acted on, or None."""

    def __init__(self, clock: Clock, synchronised: ClockSync) -> None:
        self._clock = clock
        self._synchronised = synchronised
        self._anchor: tuple[int, float] | None = None
        self._other: tuple[int, float] | None = None
        """A time that differs from ours: its lead in ms, and since when (monotonic s) it has stood."""

    def now_ms(self) -> int | None:
        """The time of day, None where it was never known since the start."""
        now_s, wall_ms = self._clock.monotonic(), self._clock.utc_ms()
        synchronised = self._synchronised()
        if self._anchor is None:
            if not synchronised:
                return None
            self._anchor = (wall_ms, now_s)
        ours_ms = self._anchor[0] + round((now_s - self._anchor[1]) * 1000)
        lead_ms = wall_ms - ours_ms
        if not synchronised:
            self._other = None
            return ours_ms
        if abs(lead_ms) <= JUMP_MS:  # slewed, as it should be
            self._anchor, self._other = (wall_ms, now_s), None
            return wall_ms
        if self._other is None or abs(self._other[0] - lead_ms) > JUMP_MS:
            self._other = (lead_ms, now_s)
        if now_s - self._other[1] < TRUST_AFTER_S:
            return ours_ms
        self._anchor, self._other = (wall_ms, now_s), None
        return wall_ms
