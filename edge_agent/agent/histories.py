"""What devices remember of gaps: from the guardian's frames into the stream `hist`, each record once.

The guardian sends what it holds at each connection; the cursor is committed with the rows, so a repetition is
known as one and a crash in between costs nothing. These rows fill gaps in charts and never enter a roll-up.
"""

import asyncio
from collections import deque
from typing import Final

import msgspec

from edge_agent import ipc
from edge_agent.agent.events import event
from edge_agent.agent.records import Records
from edge_agent.agent.store.rows import Commit
from shared.alarms import Event, EventKind
from shared.clock import Clock
from shared.telemetry import HistoryRow

CURSOR_KEY: Final = "guardian.history"
_MINUTE_MS: Final = 60_000
_WAITING: Final = 64
"""Frames that wait for a disk that refuses; the guardian holds more and sends them once more."""


class HistoryCursor(msgspec.Struct, frozen=True, kw_only=True):
    """The last frame of the guardian's `boot` whose rows are in the store."""

    boot: str = ""
    number: int = 0


class Histories:
    """Takes frames in the order of their numbers."""

    def __init__(self, clock: Clock, records: Records) -> None:
        self._clock = clock
        self._records = records
        self._cursor = HistoryCursor()
        self._waiting: deque[ipc.DeviceHistory] = deque()
        self._overflowed = False
        self._one = asyncio.Lock()

    async def open(self) -> None:
        """Take up the cursor of the last life."""
        self._cursor = await self._records.get(CURSOR_KEY, HistoryCursor) or HistoryCursor()

    async def take(self, told: ipc.DeviceHistory) -> None:
        """Record a frame; raises `StoreError` where the disk refuses: then `flush` tries again."""
        # After one that is left out none may be taken: the cursor would pass it, and it would not come again.
        self._overflowed = self._overflowed or len(self._waiting) >= _WAITING
        if not self._overflowed:
            self._waiting.append(told)
        await self.flush()

    def connected(self) -> None:
        """The guardian sends everything that it holds from here on."""
        self._waiting.clear()
        self._overflowed = False

    async def flush(self) -> None:
        """Record what waits, in order; raises `StoreError`."""
        async with self._one:
            while self._waiting:
                told = self._waiting[0]
                await self._record(told)
                if self._waiting and self._waiting[0] is told:
                    self._waiting.popleft()

    async def _record(self, told: ipc.DeviceHistory) -> None:
        """Rows, an event and the cursor in one transaction."""
        known = self._cursor.number if told.boot == self._cursor.boot else 0
        if told.number <= known:
            return
        cursor = HistoryCursor(boot=told.boot, number=told.number)
        await self._records.commit(
            Commit(
                history=_rows(told),
                events=(self._event(told),),
                meta={CURSOR_KEY: msgspec.msgpack.encode(cursor)},
            )
        )
        self._cursor = cursor

    def _event(self, told: ipc.DeviceHistory) -> Event:
        minutes = max(round((told.to_ms - told.from_ms) / _MINUTE_MS), 1)
        return event(
            EventKind.STORE,
            "history-filled",
            f"{told.device} remembers {len(told.points)} moments and {len(told.marks)} marks of the "
            f"{minutes} min in which nobody could ask it",
            at_ms=self._clock.utc_ms(),
            device=told.device,
            data={
                "from_ms": told.from_ms,
                "to_ms": told.to_ms,
                "points": len(told.points),
                "marks": len(told.marks),
            },
        )


def _rows(told: ipc.DeviceHistory) -> tuple[HistoryRow, ...]:
    """Points and marks by time; a mark has no numbers, which is unknown and not zero."""
    points = [
        HistoryRow(
            device=told.device,
            at_ms=point.at_ms,
            hashrate_ths=point.hashrate_ths,
            power_w=point.power_w,
            chip_temp_max_c=point.chip_temp_max_c,
            board_temp_max_c=point.board_temp_max_c,
            fan_duty_pct=point.fan_duty_pct,
        )
        for point in told.points
    ]
    marks = [
        HistoryRow(
            device=told.device,
            at_ms=mark.at_ms,
            mark=mark.what if mark.board is None else f"{mark.what} (board {mark.board})",
        )
        for mark in told.marks
    ]
    return tuple(sorted((*points, *marks), key=lambda row: row.at_ms))
