"""How many messages agents may send: a token bucket that lets nobody starve the polls and the stops."""

from shared.clock import Clock

PER_S = 500.0
"""Messages a second, all agents together; a policy cycle of a large site makes a few at a time."""
BURST = 4_000
"""So many may come at once: a proposal for every miner of a large site, and more."""
LEAST_DEBT = 25
"""Below this nobody waits, so that a paced sender costs a few wake-ups a second and not hundreds."""


class Pace:
    """Counts messages in; one pace for all connections, or each new one would bring a burst of its own."""

    def __init__(self, clock: Clock, *, per_s: float = PER_S, burst: int = BURST) -> None:
        self._clock = clock
        self._per_s = per_s
        self._burst = float(burst)
        self._left = float(burst)
        self._at_s = clock.monotonic()

    def taken(self) -> float:
        """A message was handled; how long in s its sender has to wait before its next one is read.

        Afterwards, not before: one message of a calm connection never waits for the mad one beside it.
        """
        now_s = self._clock.monotonic()
        self._left = min(self._left + (now_s - self._at_s) * self._per_s, self._burst) - 1.0
        self._at_s = now_s
        return -self._left / self._per_s if self._left <= -LEAST_DEBT else 0.0
