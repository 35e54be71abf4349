"""Filling gaps: what a device remembers of the time in which it could not be asked (streaming, then window).

One job after the other, because after an outage of the network every device has a gap at the same moment, and
the present goes before the past. A device has one gap at most: a newer one is joined to what is still open of
an older one. What it does not tell at once (many are busy when they have just booted) it is asked again, at a
later good read, a few times and apart; what it does not tell then either stays unknown, and that is logged.
What devices told is held for agents: the newest of it, within a bound.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from edge_agent.ipc import DeviceHistory
from shared.clock import Clock
from shared.details import History
from shared.ids import DeviceId

log = logging.getLogger(__name__)

GAP_S = 180.0
"""Shorter ones are a restart or a lost cable for a moment; a few roll-up rows are not worth a long reply."""
STEP_S = 60.0
MOST_S = 72 * 3600.0
"""No firmware that we know remembers more (miners.md §1.3)."""
AGAIN_S = (60.0, 600.0, 3600.0)
"""How long after each try that brought nothing the next one comes."""

SKEW_MS = 3_600_000
"""How wrong a device's clock may be (ms). What it says of a time further outside the gap is left out: its
clock was not set then, and nobody knows when that was."""

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
    """From the last good read before to the first one after, by our steady clock (s).

    A gap that began before this process may begin before the clock did: `from_s` is negative then. UTC is
    reckoned from these when it is needed, because the wall clock may be set right meanwhile.
    """

    from_s: float
    to_s: float


class Remembers(Protocol):
    """A device that may be asked for its history."""

    @property
    def device(self) -> DeviceId:
        """Who it is."""
        ...

    @property
    def answers(self) -> bool:
        """Whether its last read brought something."""
        ...

    async def read_history(self, span_s: float, step_s: float) -> History | None:
        """The last `span_s` seconds; None where it did not tell. Never raises `DeviceError`."""
        ...


class _Open(msgspec.Struct, frozen=True, kw_only=True):
    """A gap that is not filled yet; asked `tries` times in vain, and again at a good read from `due_s` on."""

    link: Remembers
    gap: Gap
    tries: int = 0
    due_s: float = 0.0


class Backfills:
    """The gaps that are open, one per device at most.

    `on_history` takes what devices told; None: nobody wants it.
    """

    def __init__(self, on_history: Callable[[Backfill], None] | None, clock: Clock) -> None:
        self._on_history = on_history
        self._clock = clock
        self._waiting: dict[DeviceId, _Open] = {}
        """In the order in which they are asked."""
        self._put_back: dict[DeviceId, _Open] = {}
        self._asked: _Open | None = None
        self._news = asyncio.Event()

    def add(self, link: Remembers, gap: Gap) -> None:
        """Ask for this gap when its turn comes, and for what is still open before it."""
        if self._on_history is not None:
            self._queue(_Open(link=link, gap=_joined(gap, self._put_back.pop(link.device, None))))

    def follow(self, link: Remembers) -> None:
        """After a good read: what was put back joins the queue again, where it is due."""
        again = self._put_back.get(link.device)
        if again is not None and again.due_s <= self._clock.monotonic():
            del self._put_back[link.device]
            self._queue(again)

    def open_since_s(self, device: DeviceId) -> float | None:
        """Where the gap of this device begins that is not filled yet; None where none is open."""
        found = [self._waiting.get(device), self._put_back.get(device)]
        if self._asked is not None and self._asked.link.device == device:
            found.append(self._asked)
        return min((one.gap.from_s for one in found if one is not None), default=None)

    async def run(self) -> None:
        """Fill one gap after the other; returns only by cancellation."""
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            self._asked = self._waiting.pop(next(iter(self._waiting)))
            await self._fill(self._asked)
            self._asked = None

    def _queue(self, wanted: _Open) -> None:
        device = wanted.link.device
        before = self._waiting.get(device)
        self._waiting[device] = msgspec.structs.replace(wanted, gap=_joined(wanted.gap, before))
        self._news.set()

    async def _fill(self, wanted: _Open) -> None:
        link, gap = wanted.link, wanted.gap
        if not link.answers:
            # It would hold up all others for its whole deadline.
            self._wait_for_read(wanted)
            return
        ago_s = self._clock.monotonic() - gap.from_s
        history = await link.read_history(min(ago_s + STEP_S, MOST_S), STEP_S)
        if history is None or self._on_history is None:
            self._failed(wanted)
            return
        now_s, now_ms = self._clock.monotonic(), self._clock.utc_ms()
        from_ms, to_ms = (now_ms - round((now_s - at_s) * 1000) for at_s in (gap.from_s, gap.to_s))
        told = history
        history = _within(told, from_ms - SKEW_MS, now_ms + SKEW_MS)
        if told.points and not history.points:
            off_h = (told.points[-1].at_ms - now_ms) / 3.6e6
            text = "%s: its history cannot be placed, the newest record is %.0f h away: is its clock set?"
            log.warning(text, link.device, off_h)
            self._failed(wanted)
            return
        log.info("%s: %d records of %.0f s without a read", link.device, len(history.points), _span_s(gap))
        self._on_history(Backfill(device=link.device, from_ms=from_ms, to_ms=to_ms, history=history))

    def _failed(self, wanted: _Open) -> None:
        now_s, tries = self._clock.monotonic(), wanted.tries
        if tries == len(AGAIN_S) or now_s - wanted.gap.to_s >= MOST_S:
            text = "%s: %.0f s without a read stay unknown: not told in %d tries"
            log.info(text, wanted.link.device, _span_s(wanted.gap), tries + 1)
            return
        self._wait_for_read(msgspec.structs.replace(wanted, tries=tries + 1, due_s=now_s + AGAIN_S[tries]))

    def _wait_for_read(self, wanted: _Open) -> None:
        device = wanted.link.device
        if device in self._waiting:
            self._queue(wanted)  # a newer gap came meanwhile: one question for both
        else:
            self._put_back[device] = wanted


def _joined(gap: Gap, other: _Open | None) -> Gap:
    """From the beginning of the older to the end of the newer one: a device tells both in one reply."""
    if other is None:
        return gap
    return Gap(from_s=min(gap.from_s, other.gap.from_s), to_s=max(gap.to_s, other.gap.to_s))


def _within(told: History, from_ms: int, to_ms: int) -> History:
    return History(
        points=tuple(point for point in told.points if from_ms <= point.at_ms <= to_ms),
        marks=tuple(mark for mark in told.marks if from_ms <= mark.at_ms <= to_ms),
    )


def _span_s(gap: Gap) -> float:
    return gap.to_s - gap.from_s


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
