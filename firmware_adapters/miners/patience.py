"""Patience with a machine that refuses our password: when it may be tried again.

Each refusal in a row makes the wait longer, so that no firmware locks its owner out because of us; after a
few it is one try a day. A count belongs to one session, and a session to one credential: a changed one starts
anew.
"""

from shared.clock import Clock

WAITS_S = (60.0, 600.0, 86_400.0)
"""Wait after the first, second, any further refusal in a row, s [default]."""


class Patience:
    """The wait for one machine's login."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refusals = 0
        self._until_s: float | None = None

    @property
    def left_s(self) -> float:
        """Seconds until the password may be tried; 0 when it may be now."""
        return 0.0 if self._until_s is None else max(0.0, self._until_s - self._clock.monotonic())

    def refused(self) -> float:
        """The password was refused; how long it is not tried now, s."""
        wait_s = WAITS_S[min(self._refusals, len(WAITS_S) - 1)]
        self._refusals += 1
        self._until_s = self._clock.monotonic() + wait_s
        return wait_s

    def put_off(self) -> float:
        """The machine takes no password now, whichever it is: the shortest wait, s, which does not count."""
        self._until_s = self._clock.monotonic() + WAITS_S[0]
        return WAITS_S[0]

    def accepted(self) -> None:
        """The password was taken: forget all refusals."""
        self._refusals = 0
        self._until_s = None
