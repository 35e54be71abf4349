"""Windows of raw samples for the cloud: around trips and urgent or high alarms, and on request.

Raw resolution stays on site; what explains an incident is worth its bytes. An event plans a window of a
minute on each side, in the transaction that makes the event durable, so a restart in between forgets none.
Windows that overlap become one and no moment is sent twice by itself. Everything goes one after the other,
oldest samples first, at a bounded rate, and not at all while the outbox is short of room.
"""

import asyncio
import heapq
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec

from edge_agent.agent.events import event
from edge_agent.agent.records import Records
from edge_agent.agent.service import Service, log
from edge_agent.agent.store.quota import Pressure
from edge_agent.agent.store.rows import Commit
from edge_agent.agent.store.told import STORE_KEYS
from edge_agent.agent.store.window import BATCH_BYTES, Window, cut, files_of, plain_bytes
from shared.alarms import Event, EventKind, Severity
from shared.clock import Clock
from shared.errors import StoreError
from shared.frames import Frame
from shared.telemetry import DeviceKind
from shared.wire.envelope import RawWanted

AROUND_MS: Final = 60_000
SETTLE_MS: Final = 15_000
"""Raw samples are on file ten seconds after they were taken."""
MEMORY_KEY: Final = "windows"
WINDOW_KEY: Final = "raw-window"
_CLOCK_STEP_MS: Final = 600_000
_SENT: Final = 64
_PLANNED: Final = 64
_REQUESTS: Final = 16
_IDS: Final = 64
_BYTES_PER_S: Final = 128 * 1024
_AUTO_BYTES_PER_HOUR: Final = 16 * 1024 * 1024
"""An hour full of alarms must not fill the WAN with what the site keeps for two weeks anyhow."""
_NAP_S: Final = 1.0

Span = tuple[int, int]


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a restart must not forget: spans to send, spans sent, requests that wait, requests served."""

    planned: tuple[Span, ...] = ()
    sent: tuple[Span, ...] = ()
    asked: tuple[RawWanted, ...] = ()
    served: tuple[str, ...] = ()


class Windows(Service):
    """Serves one window at a time. `want` is what the downlink calls, `plan` what records call."""

    name = "windows"
    stall_s = 300.0

    def __init__(self, clock: Clock, records: Records) -> None:
        super().__init__(clock)
        self._records = records
        self._memory = Memory()
        self._news = asyncio.Event()
        self._hour_s = clock.monotonic()
        self._auto_left = _AUTO_BYTES_PER_HOUR
        self.sent_samples = 0
        records.planner = self.plan

    async def open(self) -> None:
        """Take up what the last life had planned."""
        self._memory = await self._records.get(MEMORY_KEY, Memory) or Memory()

    # ------------------------------------------------------------ asked

    async def want(self, wanted: RawWanted) -> None:
        """The cloud asks for a window; a repeated id is served once, too many are refused with an event."""
        asked = self._memory.asked
        if wanted.id in {request.id for request in asked} or wanted.id in self._memory.served:
            return
        if len(asked) >= _REQUESTS:
            await self._tell(wanted, 0, 0, f"not sent: {_REQUESTS} requests wait already, ask again later")
            return
        self._memory = msgspec.structs.replace(self._memory, asked=(*asked, wanted))
        self._news.set()
        await self._keep()

    def plan(self, events: Sequence[Event]) -> dict[str, bytes]:
        """What has to become durable together with these events; empty where no window is due to them."""
        spans = [(e.at_ms - AROUND_MS, e.at_ms + AROUND_MS) for e in events if _wants_window(e)]
        if not spans:
            return {}
        planned = _without(_union((*self._memory.planned, *spans)), self._memory.sent)[-_PLANNED:]
        # At once: another commit may be planned before this one is written, and must not forget it.
        self._memory = msgspec.structs.replace(self._memory, planned=planned)
        self._news.set()
        return self._kept()

    def _kept(self) -> dict[str, bytes]:
        return {MEMORY_KEY: msgspec.msgpack.encode(self._memory)}

    async def _keep(self) -> None:
        """What was planned, asked or served is on disk; a disk that refuses only costs a repetition."""
        try:
            await self._records.commit(Commit(meta=self._kept()))
        except StoreError as error:
            log.warning("windows of raw samples cannot be remembered: %s", error)

    # ------------------------------------------------------------ served

    async def run(self) -> None:
        while True:
            self.tick()
            if not await self.once():
                await self._nap()

    async def once(self) -> bool:
        """Serve what is due next; False where nothing is. Raises `StoreError` where the disk refuses."""
        if self._records.store.pressure is not Pressure.NONE:
            return False
        span = self._due()
        if span is not None:
            await self._serve_planned(span)
            return True
        if self._memory.asked:
            await self._serve_request(self._memory.asked[0])
            return True
        return False

    def _due(self) -> Span | None:
        now_ms = self.clock.utc_ms()
        for first, last in self._memory.planned:
            if not 0 <= last + SETTLE_MS - now_ms <= _CLOCK_STEP_MS:  # over, or the clock was set back
                return (first, last)
        return None

    async def _serve_planned(self, span: Span) -> None:
        if self.clock.monotonic() - self._hour_s >= 3600:
            self._hour_s, self._auto_left = self.clock.monotonic(), _AUTO_BYTES_PER_HOUR
        samples, size, _ = await self._send(Window(from_ms=span[0], to_ms=span[1]), self._auto_left)
        self._auto_left -= size
        sent = _union((*self._memory.sent, span))[-_SENT:]
        planned = _without(self._memory.planned, sent)  # it may have grown while it was sent
        self._memory = msgspec.structs.replace(self._memory, planned=planned, sent=sent)
        await self._keep()
        log.info("%d raw samples around an event go to the cloud (%d bytes)", samples, size)

    async def _serve_request(self, wanted: RawWanted) -> None:
        window = Window(from_ms=wanted.from_ms, to_ms=wanted.to_ms, devices=frozenset(wanted.devices))
        samples, size, why = await self._send(window, wanted.max_bytes)
        self._memory = msgspec.structs.replace(
            self._memory,
            asked=tuple(other for other in self._memory.asked if other.id != wanted.id),
            served=(*self._memory.served, wanted.id)[-_IDS:],
        )
        await self._tell(wanted, samples, size, why)

    async def _send(self, window: Window, max_bytes: int) -> tuple[int, int, str]:
        """Batches of the window into the outbox: samples, deflated bytes, and why not all, in words."""
        frames = await asyncio.to_thread(self._frames, window)
        samples = size = 0
        while batch := await asyncio.to_thread(_next_batch, frames):
            self.tick()
            if self._records.store.pressure is not Pressure.NONE:
                return samples, size, "cut short: the outbox is short of room"
            if size + batch.deflated > max_bytes:
                return samples, size, f"cut short: more than {max_bytes} bytes"
            receipt = await self._records.commit(Commit(raw=batch.frames))
            samples += sum(len(frame.device) for frame in batch.frames)
            size += receipt.raw_bytes
            await self.clock.sleep(receipt.raw_bytes / _BYTES_PER_S)
        self.sent_samples += samples
        return samples, size, ""

    def _frames(self, window: Window) -> Iterator[Frame]:
        """The window's frames of all kinds, by time."""
        series = [
            chain.from_iterable(cut(path, window) for path in files_of(self._records.raw.files(kind), window))
            for kind in DeviceKind
        ]
        return heapq.merge(*series, key=lambda frame: frame.at_ms[0])

    async def _tell(self, wanted: RawWanted, samples: int, size: int, why: str) -> None:
        found = (
            f"{samples} raw samples are on their way" if samples else "no raw samples are kept of that time"
        )
        told = event(
            EventKind.STORE,
            WINDOW_KEY,
            f"Request {wanted.id}: {why or found}",
            at_ms=self.clock.utc_ms(),
            data={
                "id": wanted.id,
                "from_ms": wanted.from_ms,
                "to_ms": wanted.to_ms,
                "samples": samples,
                "bytes": size,
                "whole": not why,
            },
        )
        try:
            await self._records.emit(told, meta=self._kept())
        except StoreError as error:
            log.error("request %s was answered, but that could not be recorded: %s", wanted.id, error)

    async def _nap(self) -> None:
        """Until something is asked; a short nap otherwise, because windows become due by time."""
        nap = asyncio.ensure_future(self.clock.sleep(_NAP_S))
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({nap, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nap.cancel()
            news.cancel()
        self._news.clear()


class _Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Frames of one message, and about how many bytes they are deflated."""

    frames: tuple[Frame, ...]
    deflated: int


def _next_batch(frames: Iterator[Frame]) -> _Batch | None:
    chosen: list[Frame] = []
    plain = 0
    for frame in frames:
        chosen.append(frame)
        plain += plain_bytes(frame)
        if plain >= BATCH_BYTES:
            break
    if not chosen:
        return None
    return _Batch(frames=tuple(chosen), deflated=len(zlib.compress(msgspec.msgpack.encode(chosen), 6)))


def _wants_window(told: Event) -> bool:
    if told.kind is EventKind.TRIPPED:
        return True
    return (
        told.kind is EventKind.ALARM
        and told.severity in (Severity.URGENT, Severity.HIGH)
        and told.key not in STORE_KEYS
    )


def _union(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Sorted, with those that touch made one."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def _without(spans: Sequence[Span], taken: Sequence[Span]) -> tuple[Span, ...]:
    """What of the spans is not in those that were taken (both sorted and apart)."""
    left: list[Span] = []
    for first, last in spans:
        start = first
        for low, high in taken:
            if high <= start or low >= last:
                continue
            if low > start:
                left.append((start, low))
            start = max(start, high)
        if start < last:
            left.append((start, last))
    return tuple(left)
