"""Slow upkeep: old roll-ups go, so that the store does not grow for ever."""

from typing import Final

from edge_agent.agent.records import Records
from edge_agent.agent.service import Service
from shared.clock import Clock

KEEP_ROLLUPS_S: Final = 7 * 24 * 3600
"""Roll-ups on site: enough to fill any model's window and to look at the last week without WAN."""
_EVERY_S: Final = 60.0


class Housekeeping(Service):
    """Deletes a bounded number of steps per round."""

    name = "housekeeping"
    stall_s = 300.0

    def __init__(self, clock: Clock, records: Records) -> None:
        super().__init__(clock)
        self._records = records

    async def run(self) -> None:
        while True:
            before_ms = self.clock.utc_ms() - KEEP_ROLLUPS_S * 1000
            await self._records.writer.call(self._records.store.forget_rollups_before, before_ms)
            self.tick()
            await self.clock.sleep(_EVERY_S)
