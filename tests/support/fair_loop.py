"""An event loop whose time stands still while nobody runs it.

Tests give devices short deadlines (a device that hangs must not cost seconds), and a busy machine may take
the processor away for longer than such a deadline. Device and reader then stood still together, and the one
that waits would call the other silent. This loop counts the time it waits, which is what a deadline is about,
and of the time between two waits at most `STEP_S`: no test fails because its machine was busy elsewhere.

Time told by a `Clock`, and everything in other processes, is as real as ever.
"""

import asyncio
import selectors
import time
from collections.abc import Callable

STEP_S = 0.002
"""What one round of callbacks, or waking up late, can cost at most: a handful of requests takes less."""


class _Waits(selectors.DefaultSelector):
    """The platform's selector; it measures how long it was asked to wait and did."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._told_s = now()
        self._seen_s = self._told_s

    def time(self) -> float:
        return self._told_s + min(self._now() - self._seen_s, STEP_S)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        before_s = self._told_s = self.time()
        self._seen_s = self._now()
        ready = super().select(timeout)
        now_s = self._now()
        waited_s = now_s - self._seen_s
        if timeout is not None:
            waited_s = min(waited_s, max(0.0, timeout) + STEP_S)
        self._told_s, self._seen_s = before_s + waited_s, now_s
        return ready


class FairLoop(asyncio.SelectorEventLoop):
    """`time()` is in seconds, never goes back, and never runs ahead of the real one."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._waits = _Waits(now)
        super().__init__(self._waits)

    def time(self) -> float:
        return self._waits.time()


class FairLoops(asyncio.DefaultEventLoopPolicy):
    """Every loop that a test opens is a `FairLoop`."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return FairLoop()
