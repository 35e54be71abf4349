"""Slow upkeep: what is too old goes, space is given back, and the reserve for a full disk is kept."""

from collections.abc import Mapping
from typing import Final

from edge_agent.agent.records import Records
from edge_agent.agent.service import Service, log
from edge_agent.agent.view import SiteView
from shared.clock import Clock
from shared.errors import StoreError
from shared.ids import DeviceId
from shared.telemetry import DeviceKind

KEEP_ROLLUPS_S: Final = 7 * 24 * 3600
"""Roll-ups on site: enough to fill any model's window and to look at the last week without WAN."""
_EVERY_S: Final = 60.0
_DAY_MS: Final = 24 * 3600 * 1000
_ROUNDS: Final = 16
_PAGES: Final = 256
_CLOCK_STEP_MS: Final = 600_000
_SETTLED_S: Final = 3600.0
_DISTRUST_S: Final = 24 * 3600.0


class Calendar:
    """The wall clock, where it can be trusted with deleting things by their age.

    A gateway without a battery starts in 1970, and a bad time server makes a year of a minute: whoever
    deletes by age then deletes everything (edge.md, F28). So the clock must have gone on by itself for an
    hour, and after a jump of more than ten minutes for a day.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = self._offset()
        self._from_s = clock.monotonic() + _SETTLED_S

    def _offset(self) -> float:
        return self._clock.utc_ms() - self._clock.monotonic() * 1000

    def now_ms(self) -> int | None:
        """UTC ms; None while the clock proves nothing."""
        offset_ms = self._offset()
        if abs(offset_ms - self._offset_ms) > _CLOCK_STEP_MS:
            self._from_s = self._clock.monotonic() + _DISTRUST_S
            log.warning("the wall clock jumped: nothing is deleted by its age for a day")
        self._offset_ms = offset_ms
        return self._clock.utc_ms() if self._clock.monotonic() >= self._from_s else None


class Housekeeping(Service):
    """One round a minute, a bounded piece of work at a time, so that commits come in between."""

    name = "housekeeping"
    stall_s = 300.0

    def __init__(self, clock: Clock, records: Records, view: SiteView) -> None:
        super().__init__(clock)
        self._records = records
        self._view = view
        self._calendar = Calendar(clock)

    async def run(self) -> None:
        while True:
            await self.once()
            self.tick()
            await self.clock.sleep(_EVERY_S)

    async def once(self) -> None:
        """One round; what the disk refuses is tried again in the next."""
        try:
            await self._by_age()
            await self._shrink()
            if self._records.room is not None:
                await self._records.writer.call(self._records.room.keep)
        except (StoreError, OSError) as error:
            log.warning("upkeep of the store has to wait: %s", error)

    async def _by_age(self) -> None:
        now_ms = self._calendar.now_ms()
        if now_ms is None:
            return
        store, raw, call = self._records.store, self._records.raw, self._records.writer.call
        agent = self._view.site.agent
        raw.keep_days = keep_days(agent.raw_keep_days, self._view)
        for _ in range(_ROUNDS):
            if not await call(store.forget_rollups_before, now_ms - KEEP_ROLLUPS_S * 1000):
                break
        for _ in range(_ROUNDS):
            if not await call(store.expire, now_ms - int(agent.outbox_keep_days * _DAY_MS)):
                break
        await call(raw.forget_older, now_ms)

    async def _shrink(self) -> None:
        for _ in range(_ROUNDS):
            if not await self._records.writer.call(self._records.store.shrink, _PAGES):
                break


def keep_days(usual: float, view: SiteView) -> dict[DeviceKind, float]:
    """For how many days raw frames of each kind are kept: the longest that a device of the kind asks for.

    A kind's frames share files, so they share an age; `usual` counts where no profile says anything.
    """
    asked: Mapping[DeviceId, float] = view.keep_days
    found: dict[DeviceKind, float] = {}
    for device, entry in view.devices.items():
        days = asked.get(device, usual)
        found[entry.kind] = max(found.get(entry.kind, 0.0), days)
    return dict.fromkeys(DeviceKind, usual) | found
