"""How much of the past may be under way at once, so that what is new never waits long behind it. Pure.

A fresh batch cannot overtake what is before it on the wire, in the broker and in the cloud's own queue, so
the window counts batches that the cloud has not committed yet, and its own acks open and close it: quick
ones open it, late ones halve it. On a fast way the backlog's rate is the limit; on a thin link, or before a
busy cloud, so little is under way that a fresh batch is committed within about `SLOW_S`.
"""

from typing import Final

FIRST: Final = 2
MOST: Final = 64
QUICK_S: Final = 1.0
SLOW_S: Final = 2.0


class Pace:
    """The window of the backlog lane, in batches."""

    def __init__(self) -> None:
        self._window = float(FIRST)
        self._searching = True
        self._halved_s = float("-inf")

    @property
    def window(self) -> int:
        """Batches of the past that may be sent and not yet acked, 1 to `MOST`."""
        return int(self._window)

    def acked(self, after_s: float, now_s: float) -> None:
        """The cloud committed a batch of the past so long after it was sent."""
        if after_s <= QUICK_S:
            # One per ack doubles the window per round, until it was too wide once; then one per round.
            self._window = min(float(MOST), self._window + (1.0 if self._searching else 1.0 / self._window))
        elif after_s > SLOW_S and now_s - self._halved_s > SLOW_S:  # what was sent before the last halving
            self._window = max(1.0, self._window / 2)
            self._searching, self._halved_s = False, now_s
