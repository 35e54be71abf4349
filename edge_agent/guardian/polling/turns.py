"""Whose turn it is to be read: devices that answer and devices that do not have shares of their own.

Polls and read-backs of ordinary devices together begin at most `CONCURRENT_READS` at a time: a thousand stops
that are read back at once would otherwise take the processor from each other until none is answered in time.
A device that answers is done within its turn. One that is silent costs no processor while it is waited for,
so it keeps its turn for `HOLD_S` only: a third of a site that loses its power in one moment would otherwise
hold every turn for a whole deadline each. One that failed more than once waits among its like, for one of
`FAILING_READS`, so the dead are asked as often as those few turns allow and the rest never notices.

So many reads are under way at worst: turns * deadline / `HOLD_S`, nearly all of them waiting.
"""

import asyncio

CONCURRENT_READS = 64
FAILING_READS = 16
HOLD_S = 0.25
"""Several times what a read takes; one that takes longer goes on without its turn."""


class Turns:
    """Shared by all devices that are read a few at a time."""

    def __init__(
        self, *, healthy: int = CONCURRENT_READS, failing: int = FAILING_READS, hold_s: float = HOLD_S
    ) -> None:
        self._healthy = asyncio.Semaphore(healthy)
        self._failing = asyncio.Semaphore(failing)
        self._hold_s = hold_s

    def turn(self, *, failing: bool) -> "Turn":
        """A turn to wait for with `async with`; it ends with the block, or after `hold_s` of it."""
        return Turn(self._failing if failing else self._healthy, self._hold_s)


class Turn:
    """One turn: the block runs on after it ended."""

    __slots__ = ("_hold_s", "_places", "_timer")

    def __init__(self, places: asyncio.Semaphore, hold_s: float) -> None:
        self._places = places
        self._hold_s = hold_s
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._places.acquire()
        self._timer = asyncio.get_running_loop().call_later(self._hold_s, self._end)

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._end()

    def _end(self) -> None:
        self._timer = None
        self._places.release()
