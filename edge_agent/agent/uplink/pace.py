"""How much of the past may be on the wire at once, so that what is new never waits long behind it. Pure.

A batch cannot overtake what was handed to the connection before it, so on a thin link a window of large
backlog batches would hold a fresh one back for minutes and starve the pings as well. The window opens by
one for each batch that is confirmed quickly, and halves for each slow one: on a fast link the backlog's own
rate is the limit, on a thin one a single batch is on its way at a time.
"""

from typing import Final

MOST: Final = 8
QUICK_S: Final = 0.5
SLOW_S: Final = 1.0


class Pace:
    """The window of the backlog lane, in batches."""

    def __init__(self) -> None:
        self._window = 1.0

    @property
    def window(self) -> int:
        """Batches of the past that may be on their way now, 1 to `MOST`."""
        return int(self._window)

    def confirmed(self, after_s: float) -> None:
        """A batch of the past was confirmed so long after it was handed over."""
        if after_s <= QUICK_S:
            self._window = min(float(MOST), self._window + 1.0)
        elif after_s > SLOW_S:
            self._window = max(1.0, self._window / 2)
