"""Turns wishes of power orders and schedules into requests at the desk: never around the arbiter.

At most `MAX_IN_FLIGHT` writes at a time, one per device, and a pause after each: a wish is repeated until
it is seen done, so whatever was refused or got lost has its turn again.
"""

from edge_agent.guardian.actions.desk import Desk
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.requests import Request, Source
from shared.clock import Clock
from shared.commands import AnyAction, Priority, WriteResult
from shared.ids import CommandId, DeviceId

MAX_IN_FLIGHT = 400
"""Most of a write's life is waiting for the read that confirms it; a site must go down in minutes."""
AGAIN_AFTER_S = 10.0
REFUSED_PAUSE_S = 3.0


class Writer:
    """The one way from a power order to a device."""

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._busy: dict[DeviceId, AnyAction] = {}
        self._pause_until_s: dict[DeviceId, float] = {}

    def want(self, order: CommandId, action: AnyAction, *, back: bool, scheduled: bool = False) -> bool:
        """Ask for one action now, where its device is free; True where it is under way or done."""
        device = action.device
        if self._busy.get(device) == action:
            return True
        if device in self._busy or len(self._busy) >= MAX_IN_FLIGHT:
            return False
        if self._clock.monotonic() < self._pause_until_s.get(device, 0.0):
            return False
        request = Request(
            id=order,
            action=action,
            # What a window took away comes back as any signed order's does.
            priority=Priority.SCHEDULE if scheduled and not back else Priority.ORDER,
            source=Source.ORDER,
            why=f"{'schedule' if scheduled else 'power order'} {order}",
        )
        decision = self._desk.decide(request)
        if not isinstance(decision, Permit):
            self._pause_until_s[device] = self._clock.monotonic() + REFUSED_PAUSE_S
            if not back:  # what comes back waits its turn; that is no news
                self._desk.refused(decision)
            return False
        self._busy[device] = action
        self._desk.background(self._see_through(decision, action))
        return True

    async def _see_through(self, permit: Permit, action: AnyAction) -> None:
        device = action.device
        try:
            record = await self._desk.launch(permit)
            applied = record.result is WriteResult.APPLIED
        finally:
            del self._busy[device]
        pause_s = REFUSED_PAUSE_S if applied else AGAIN_AFTER_S
        self._pause_until_s[device] = self._clock.monotonic() + pause_s
