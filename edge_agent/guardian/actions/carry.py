"""Carries out the permits of one proposal or order, and says what stands in the end.

Writes to miners go out together, each for itself. Cooling is grouped by zone: a zone's set-points are one
change, which counts only when every write is confirmed and the zone's cooling is still proven while the
change settles. A zone that fails gets back what it had, through the arbiter like everything else.
"""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian.actions.desk import Desk
from edge_agent.guardian.actions.outcomes import Outcomes
from edge_agent.guardian.arbiter import Permit
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.requests import Claim, Request, Source
from edge_agent.ipc import Mode
from shared.clock import Clock
from shared.commands import (
    ActionOutcome,
    AnyAction,
    Priority,
    SetPoint,
    WriteRecord,
    WriteResult,
    outcome_of,
    outcome_of_parts,
)
from shared.ids import DeviceId, ZoneId

LOOK_EVERY_S = 0.5


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it: one record per permit, in their order, and the actions that stand now."""

    outcome: ActionOutcome
    writes: tuple[WriteRecord, ...]
    applied: tuple[AnyAction, ...]
    words: str = ""
    """Why a part of it was taken back, or did not take effect."""


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """One miner's write, or one zone's cooling."""

    permits: tuple[Permit, ...]
    records: tuple[WriteRecord, ...]
    outcome: ActionOutcome
    words: str = ""


class Carrier:
    """Runs on the event loop; the desk does the writing."""

    def __init__(self, site: SiteFile, desk: Desk, cycle: Cycle, outcomes: Outcomes, clock: Clock) -> None:
        self._zone_of = {entry.id: entry.zone for entry in site.devices}
        self._cools = {
            (DeviceId(actuator.device), actuator.point): zone.id
            for zone in site.zones
            for actuator in zone.cooling_actuators
        }
        self._look_for_s = {zone.id: 2 * site.timing.safety_poll_s for zone in site.zones}
        self._desk = desk
        self._cycle = cycle
        self._outcomes = outcomes
        self._clock = clock

    async def run(self, permits: Sequence[Permit], claim: Claim) -> Carried:
        """Carry out what was permitted; the devices are held by `claim` until all of it has ended."""
        zones, singles = self._grouped(permits)
        with self._desk.held(claim, [permit.action.device for permit in permits], zones):
            before = await self._outcomes.before(permits)
            parts = await asyncio.gather(
                *(self._single(permit) for permit in singles),
                *(self._cool(zone, group) for zone, group in zones.items()),
            )
        record_of = {
            permit.action: record
            for part in parts
            for permit, record in zip(part.permits, part.records, strict=True)
        }
        standing = {
            permit.action
            for part in parts
            if part.outcome is ActionOutcome.APPLIED
            for permit in part.permits
        }
        for permit in permits:
            if permit.action in standing:
                self._outcomes.watch(before[permit.action])
        return Carried(
            outcome=outcome_of_parts([part.outcome for part in parts]),
            writes=tuple(record_of[permit.action] for permit in permits),
            applied=tuple(permit.action for permit in permits if permit.action in standing),
            words="; ".join(part.words for part in parts if part.words),
        )

    def _grouped(self, permits: Sequence[Permit]) -> tuple[dict[ZoneId, tuple[Permit, ...]], list[Permit]]:
        zones: dict[ZoneId, tuple[Permit, ...]] = {}
        singles: list[Permit] = []
        for permit in permits:
            zone = self._zone_cooled_by(permit.action)
            if zone is None:
                singles.append(permit)
            else:
                zones[zone] = (*zones.get(zone, ()), permit)
        return zones, singles

    def _zone_cooled_by(self, action: AnyAction) -> ZoneId | None:
        if not isinstance(action, SetPoint):
            return None
        return self._cools.get((action.device, action.point))

    async def _single(self, permit: Permit) -> _Part:
        record = await self._desk.launch(permit)
        words = "" if record.result is WriteResult.APPLIED else f"{permit.action.device}: {record.detail}"
        return _Part(permits=(permit,), records=(record,), outcome=outcome_of([record.result]), words=words)

    # ------------------------------------------------------------ cooling

    async def _cool(self, zone: ZoneId, permits: tuple[Permit, ...]) -> _Part:
        was_proven = self._is_proven(zone)
        undo = {permit.action: self._outcomes.undo_of(permit) for permit in permits}
        records = tuple(await asyncio.gather(*(self._desk.launch(permit) for permit in permits)))
        failed = [record for record in records if record.result is not WriteResult.APPLIED]
        why = ""
        if failed:
            why = f"{len(failed)} of {len(records)} set-points were not confirmed ({failed[0].detail})"
        elif was_proven and not await self._stays_proven(zone, permits):
            why = "its cooling was no longer proven after the change"
        if not why:
            return _Part(permits=permits, records=records, outcome=ActionOutcome.APPLIED)
        reached = [r.action for r in records if r.result is WriteResult.APPLIED]
        outcome = ActionOutcome.FAILED if reached else outcome_of([r.result for r in records])
        back = await self._take_back(zone, permits, reached, undo)
        return _Part(permits=permits, records=records, outcome=outcome, words=f"zone {zone}: {why}{back}")

    def _is_proven(self, zone: ZoneId) -> bool:
        status = self._cycle.statuses[zone]
        return status.cooling_proven and status.mode is not Mode.TRIPPED

    async def _stays_proven(self, zone: ZoneId, permits: tuple[Permit, ...]) -> bool:
        """Look while the slowest actuator settles, at least until its proof was read anew."""
        settle_s = max(permit.shows_s for permit in permits)
        until_s = self._clock.monotonic() + max(settle_s, self._look_for_s[zone])
        while self._clock.monotonic() < until_s:
            await self._clock.sleep(LOOK_EVERY_S)
            if not self._is_proven(zone):
                return False
        return True

    async def _take_back(
        self,
        zone: ZoneId,
        permits: tuple[Permit, ...],
        reached: list[AnyAction],
        undo: Mapping[AnyAction, AnyAction | None],
    ) -> str:
        """Write back what the applied ones had before; what the arbiter forbids stays, and is said."""
        words: list[str] = []
        for permit in permits:
            action = undo[permit.action]
            if permit.action not in reached or action is None:
                continue
            request = Request(
                id=permit.request.id,
                action=action,
                priority=Priority.SAFE,
                source=Source.ROLLBACK,
                why=f"the cooling of zone {zone} failed as a whole",
            )
            decision = self._desk.decide(request)
            if isinstance(decision, Permit):
                record = await self._desk.launch(decision)
                words.append(f"{action.device} is set back: {record.result}")
            else:
                self._desk.refused(decision)
                words.append(f"{action.device} stays: {decision.violations[0]}")
        return "".join(f"; {word}" for word in words)
