"""What persons ask of the guardian: safe-stop, reset, mode, bypass. And the safe direction, whoever asks.

A safe-stop waits for nothing. Everything else is on the disk before it takes effect (S21).
"""

import asyncio
from collections.abc import Callable

from edge_agent.config import SiteFile
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.interlocks import asks
from edge_agent.guardian.interlocks.asks import Answer, Denied, Granted
from edge_agent.guardian.interlocks.state import Trip, ZoneState
from edge_agent.guardian.storage.recorder import Recorder
from edge_agent.ipc import Mode
from shared.ids import ZoneId

DURABLE_WITHIN_S = 5.0
ClearedCall = Callable[[ZoneId, Trip, str, str], None]
Question = Callable[[ZoneState], Answer]


class Persons:
    """Puts persons' requests to the core, one zone at a time."""

    def __init__(self, site: SiteFile, cycle: Cycle, recorder: Recorder, *, on_cleared: ClearedCall) -> None:
        self._site = site
        self._zones = {zone.id: zone for zone in site.zones}
        self._cycle = cycle
        self._recorder = recorder
        self._on_cleared = on_cleared

    def safe_stop(self, zone: ZoneId | None, *, by: str, reason: str) -> tuple[ZoneId, ...]:
        """Stop one zone or all; takes effect at the next turn and waits for nothing."""
        zones = tuple(each for each in self._zones if zone in (None, each))
        for each in zones:
            answer = self._cycle.ask(each, _stopper(each, by, reason), commit=True)
            self._record(answer)
        return zones

    def distrust(self) -> None:
        """The present site file cannot be used, an older one stands in: zones leave MANUAL (S20)."""
        for zone in self._zones:
            self._record(self._cycle.ask(zone, _distruster(zone), commit=True))

    async def reset(self, zone: ZoneId, *, by: str, reason: str, trip: str | None = None) -> Answer:
        """Reset a zone's trips whose cause is gone, or one of them by its id."""

        def question(state: ZoneState) -> Answer:
            return asks.reset(state, zone, by=by, reason=reason, trip=trip)

        answer = await self._durably(zone, question)
        if isinstance(answer, Granted):
            for cleared in answer.cleared:
                self._on_cleared(zone, cleared, by, reason)
        return answer

    def zone_of(self, trip: str) -> ZoneId | None:
        """Which zone holds the latched trip of that id."""
        for zone in self._zones:
            if any(latched.id == trip for latched in self._cycle.look(zone).trips):
                return zone
        return None

    @property
    def zones(self) -> tuple[ZoneId, ...]:
        return tuple(self._zones)

    def look(self, zone: ZoneId) -> ZoneState:
        """The zone as it stands now."""
        return self._cycle.look(zone)

    async def set_mode(self, zone: ZoneId, mode: Mode, *, by: str, reason: str) -> Answer:
        """A local operator takes a zone over or hands it back."""
        return await self._durably(zone, lambda state: asks.set_mode(state, zone, mode, by=by, reason=reason))

    async def open_bypass(
        self, zone: ZoneId, *, interlock: str, seconds: float, by: str, reason: str
    ) -> Answer:
        """Ask for a bypass (S16); takes effect with its second fact."""

        def question(state: ZoneState) -> Answer:
            return asks.open_bypass(
                state,
                self._zones[zone],
                self._site.timing,
                interlock=interlock,
                seconds=seconds,
                by=by,
                reason=reason,
            )

        return await self._durably(zone, question)

    async def confirm_bypass(self, zone: ZoneId, *, interlock: str, by: str) -> Answer:
        """The second fact from a second person."""
        return await self._durably(
            zone, lambda state: asks.confirm_bypass(state, self._zones[zone], interlock=interlock, by=by)
        )

    async def close_bypass(self, zone: ZoneId, *, interlock: str, by: str) -> Answer:
        """End a bypass early."""
        return await self._durably(
            zone, lambda state: asks.close_bypass(state, zone, interlock=interlock, by=by)
        )

    async def _durably(self, zone: ZoneId, question: Question) -> Answer:
        if zone not in self._zones:
            return Denied(f"no zone {zone!r} on this site; it has {', '.join(self._zones)}")
        answer = self._cycle.ask(zone, question, commit=False)
        seq = self._record(answer)
        if seq and not await self._recorder.durable(seq, timeout_s=DURABLE_WITHIN_S):
            return Denied("the journal cannot store this, so it is not done; look at the disk")
        answer = self._cycle.ask(zone, question, commit=True)
        await asyncio.to_thread(
            self._cycle.keep
        )  # a person who was told "reset" finds it so after a power cut
        return answer

    def _record(self, answer: Answer) -> int:
        if isinstance(answer, Denied):
            return 0
        return max(self._recorder.record(finding) for finding in answer.found)


def _stopper(zone: ZoneId, by: str, reason: str) -> Question:
    return lambda state: asks.safe_stop(state, zone, by=by, reason=reason)


def _distruster(zone: ZoneId) -> Question:
    return lambda state: asks.distrust(state, zone)
