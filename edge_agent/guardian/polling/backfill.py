"""Filling gaps: what a device remembers of the time in which it could not be asked (streaming, then window).

A gap is asked for once, when the device answers again; what it cannot tell then stays unknown. One job after
the other, because after an outage of the network every device has a gap at the same moment, and the present
goes before the past. What devices told is held for agents: the newest of it, within a bound.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from edge_agent.ipc import DeviceHistory
from shared.details import History
from shared.ids import DeviceId

log = logging.getLogger(__name__)

GAP_S = 180.0
"""Shorter ones are a restart or a lost cable for a moment; a few roll-up rows are not worth a long reply."""
STEP_S = 60.0
MOST_S = 72 * 3600.0
"""No firmware that we know remembers more (miners.md §1.3)."""

RECORDS_PER_FRAME = 2_000
"""About 0.3 MB, a third of what a frame may hold."""
HELD_RECORDS = 100_000
"""About 15 MB; 72 h of minutes of 23 machines, or two hours of 800."""


class Backfill(msgspec.Struct, frozen=True, kw_only=True):
    """The gap of one device in our own time (UTC ms), and what it remembers around it by its own clock."""

    device: DeviceId
    from_ms: int
    to_ms: int
    history: History


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """From the last good read before to the first one after, UTC ms, and how long by the steady clock (s)."""

    from_ms: int
    to_ms: int
    span_s: float


class Remembers(Protocol):
    """A device that may be asked for its history."""

    @property
    def device(self) -> DeviceId:
        """Who it is."""
        ...

    async def read_history(self, span_s: float, step_s: float) -> History | None:
        """The last `span_s` seconds; None where it did not tell. Never raises `DeviceError`."""
        ...


class Backfills:
    """The gaps that wait to be filled. `on_history` takes what devices told; None: nobody wants it."""

    def __init__(self, on_history: Callable[[Backfill], None] | None) -> None:
        self._on_history = on_history
        self._waiting: asyncio.Queue[tuple[Remembers, Gap]] = asyncio.Queue()

    def add(self, link: Remembers, gap: Gap) -> None:
        """Ask for this gap when its turn comes."""
        if self._on_history is not None:
            self._waiting.put_nowait((link, gap))

    async def run(self) -> None:
        """Fill one gap after the other; returns only by cancellation."""
        while True:
            await self._fill(*await self._waiting.get())

    async def _fill(self, link: Remembers, gap: Gap) -> None:
        history = await link.read_history(min(gap.span_s + STEP_S, MOST_S), STEP_S)
        if history is None or self._on_history is None:
            return
        log.info("%s: %d records of %.0f s without a read", link.device, len(history.points), gap.span_s)
        self._on_history(Backfill(device=link.device, from_ms=gap.from_ms, to_ms=gap.to_ms, history=history))


class Histories:
    """What devices told, as numbered frames for agents, the newest `held` records of it.

    Every agent gets all of it at each connection and keeps the last number that it has committed: so an agent
    that was away, or died before it wrote, loses nothing that is still here.
    """

    def __init__(
        self, boot: str, publish: Callable[[DeviceHistory], None], *, held: int = HELD_RECORDS
    ) -> None:
        self._boot = boot
        self._publish = publish
        self._held = held
        self._frames: deque[DeviceHistory] = deque()
        self._size = 0
        self._number = 0

    @property
    def frames(self) -> tuple[DeviceHistory, ...]:
        """What is held, oldest first."""
        return tuple(self._frames)

    def take(self, told: Backfill) -> None:
        """Hold what a device told, and tell connected agents of it."""
        points, marks = told.history.points, told.history.marks
        for start in range(0, max(len(points), len(marks), 1), RECORDS_PER_FRAME):
            end = start + RECORDS_PER_FRAME
            self._number += 1
            frame = DeviceHistory(
                boot=self._boot,
                number=self._number,
                device=told.device,
                from_ms=told.from_ms,
                to_ms=told.to_ms,
                points=points[start:end],
                marks=marks[start:end],
            )
            self._frames.append(frame)
            self._size += _records(frame)
            self._publish(frame)
        while self._size > self._held and len(self._frames) > 1:
            self._size -= _records(self._frames.popleft())


def _records(frame: DeviceHistory) -> int:
    return len(frame.points) + len(frame.marks) + 1
