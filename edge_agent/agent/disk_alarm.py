"""The alarm about a disk that refuses data: raised once it can be recorded, cleared when all is well again.

While nothing can be written the alarm waits here, with the time of the first refusal. Where the disk is full,
room is made step by step, so that it need not wait for a person.
"""

from typing import Final

from edge_agent.agent.events import event
from edge_agent.agent.records import Records
from edge_agent.agent.service import log
from edge_agent.agent.store.told import DISK_KEY
from shared.alarms import Event, EventKind, Severity
from shared.clock import Clock
from shared.errors import StoreError

_CALM_S: Final = 60.0
"""So long must every write have worked before the alarm is taken back."""
_ROOM_EVERY_S: Final = 5.0


class DiskAlarm:
    """Told of each refusal and of each flush that went well."""

    def __init__(self, clock: Clock, records: Records) -> None:
        self._clock = clock
        self._records = records
        self._standing = False
        self._untold: Event | None = None
        self._refused_s = 0.0
        self._room_s = float("-inf")
        self._given_up: list[str] = []

    async def refused(self, error: StoreError) -> None:
        """The disk refused data, which is kept in memory; make room where that helps."""
        self._refused_s = self._clock.monotonic()
        if not self._standing:
            self._standing = True
            log.error("the disk refuses data, it is kept in memory for now: %s", error)
            self._untold = self._raised(error)
        if self._clock.monotonic() - self._room_s < _ROOM_EVERY_S:
            return
        self._room_s = self._clock.monotonic()
        done = await self._records.make_room(error)
        if done:
            log.warning("the disk is full: %s", done)
            self._given_up.append(done)

    async def well(self) -> None:
        """Everything was written: tell the alarm that waits, or take it back after a while."""
        if self._untold is not None:
            if await self._tell(self._untold):
                self._untold = None
        elif self._standing and self._clock.monotonic() - self._refused_s >= _CALM_S:
            self._standing = not await self._tell(self._cleared())
            if not self._standing:
                log.info("the disk takes data again")
                self._given_up.clear()

    async def _tell(self, told: Event) -> bool:
        try:
            await self._records.emit(told)
        except StoreError as error:
            log.warning("the alarm about the disk waits: %s", error)
            return False
        return True

    def _raised(self, error: StoreError) -> Event:
        return event(
            EventKind.ALARM,
            DISK_KEY,
            "The gateway's disk refuses data",
            at_ms=self._clock.utc_ms(),
            severity=Severity.HIGH,
            advice="Make room on the gateway's disk, or replace it if it reports errors. The site runs on.",
            data={"why": str(error)},
        )

    def _cleared(self) -> Event:
        return event(
            EventKind.ALARM_CLEARED,
            DISK_KEY,
            "The gateway's disk takes data again",
            at_ms=self._clock.utc_ms(),
            data={"given_up": "; ".join(self._given_up)},
        )
