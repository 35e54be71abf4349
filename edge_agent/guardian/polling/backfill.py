"""Filling gaps: what a device remembers of the time in which it could not be asked (streaming, then window).

A gap is asked for once, when the device answers again; what it cannot tell then stays unknown. One job after
the other, because after an outage of the network every device has a gap at the same moment, and the present
goes before the past.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from shared.details import History
from shared.ids import DeviceId

log = logging.getLogger(__name__)

GAP_S = 180.0
"""Shorter ones are a restart or a lost cable for a moment; a few roll-up rows are not worth a long reply."""
STEP_S = 60.0
MOST_S = 72 * 3600.0
"""No firmware that we know remembers more (miners.md §1.3)."""


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
