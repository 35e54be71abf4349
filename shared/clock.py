"""Time is injected: monotonic for control, UTC for records. No other module reads a clock.

`tests/unit/test_house_rules.py` walks the source and fails on any other use of `time` or `datetime.now`.
"""

import asyncio
import heapq
import time
from typing import Protocol


class Clock(Protocol):
    """What everything that needs time is handed."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never jumps; the only time that control may use."""
        ...

    def utc_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may jump; for records and for signed expiry only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of monotonic time."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def utc_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until a test (or a replay) moves it."""

    def __init__(self, *, monotonic_s: float = 1000.0, utc_ms: int = 1_780_000_000_000) -> None:
        self._monotonic = monotonic_s
        self._utc_ms = utc_ms
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = 0

    def monotonic(self) -> float:
        return self._monotonic

    def utc_ms(self) -> int:
        return self._utc_ms

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._monotonic + seconds, self._order, future))
        await future

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds` and wake whoever was due."""
        self._monotonic += seconds
        self._utc_ms += round(seconds * 1000)
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    def step_wall(self, milliseconds: int) -> None:
        """Jump the wall clock only, as NTP or a dead battery would."""
        self._utc_ms += milliseconds
