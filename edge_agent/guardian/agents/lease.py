"""The agent's lease: how long its last word counts (S10). Monotonic time only (S19)."""

import math

from shared.clock import Clock


class Lease:
    """Renewed by the agent at the end of a policy cycle, capped by the site file."""

    def __init__(self, clock: Clock, *, max_s: float) -> None:
        self._clock = clock
        self._max_s = max_s
        self._until_s = clock.monotonic()
        self._held = False

    def renew(self, ttl_s: float) -> bool:
        """Extend the lease by `ttl_s`, at most `lease_max_s`; False for a value that is not positive."""
        if not (math.isfinite(ttl_s) and ttl_s > 0):
            return False
        self._held = True
        self._until_s = self._clock.monotonic() + min(ttl_s, self._max_s)
        return True

    @property
    def left_s(self) -> float | None:
        """Seconds left, 0 once over; None where nobody ever held it since the guardian started."""
        if not self._held:
            return None
        return max(self._until_s - self._clock.monotonic(), 0.0)

    @property
    def overdue_s(self) -> float:
        """Seconds since it ran out, or since the guardian started; 0 while it is held."""
        return max(self._clock.monotonic() - self._until_s, 0.0)
