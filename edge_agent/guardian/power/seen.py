"""The site as power orders see it, from the board and the zones' statuses. Made once a second."""

import math
from collections.abc import Mapping

from edge_agent.config import SiteFile
from edge_agent.guardian import ladder, sensing
from edge_agent.guardian.cycle import Cycle
from edge_agent.guardian.interlocks.state import SafeWhy
from edge_agent.guardian.polling.board import Board, Last
from edge_agent.guardian.polling.link import DeviceLink
from edge_agent.guardian.power import readings
from edge_agent.guardian.power.orders import MinerSeen, PowerInput
from edge_agent.guardian.power.warming import Inlet
from edge_agent.ipc import Mode
from shared.capabilities import DeviceFacts, Preset
from shared.clock import Clock
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import MinerState

PRESET_POLLS = 7
"""A running preset counts as known for so many polls: adapters ask for it every fifth or so."""


class Looker:
    """Makes `PowerInput`s. Ladders are kept as long as the device tells the same facts."""

    def __init__(
        self,
        site: SiteFile,
        board: Board,
        cycle: Cycle,
        links: Mapping[DeviceId, DeviceLink],
        clock: Clock,
    ) -> None:
        self._site = site
        self._fast_s = {entry.id: site.fast_s(entry) for entry in site.devices}
        self._board = board
        self._cycle = cycle
        self._links = links
        self._clock = clock
        self._hydro = frozenset(zone.id for zone in site.zones if zone.cooling == "hydro")
        self._inlets = {zone.id: Inlet() for zone in site.zones}
        self._ladders: dict[DeviceId, tuple[DeviceFacts | None, tuple[Preset, ...]]] = {}

    def look(self) -> PowerInput:
        """What is known now."""
        snapshot, now_s = self._board.snapshot(), self._clock.monotonic()
        zones = {zone.id: self._zone(zone.id) for zone in self._site.zones}
        warming = self._warming(snapshot, now_s)
        latched = {
            trip.device
            for status in self._cycle.statuses.values()
            for trip in status.trips
            if trip.device is not None
        }
        miners = {}
        for entry in self._site.miners:
            taken, cooled = zones[entry.zone]
            if entry.id in latched:
                taken = "it has a latched trip"
            last = snapshot.get(entry.id) or Last()
            miners[entry.id] = self._miner(
                entry, last, now_s, taken=taken, cooled=cooled, warming=warming[entry.zone]
            )
        return PowerInput(meter_w=self.meter_w(), miners=miners)

    def _warming(self, snapshot: Mapping[DeviceId, Last], now_s: float) -> dict[ZoneId, bool]:
        board = sensing.Board(snapshot, now_s=now_s, max_age_s=self._site.timing.stale_after_s)
        for zone in self._site.zones:
            self._inlets[zone.id].note(sensing.sensors(zone, board), now_s)
        return {zone: inlet.rises(now_s) for zone, inlet in self._inlets.items()}

    def meter_w(self) -> float | None:
        """The sum of the meter's points (W), None where any of them is unknown."""
        table, max_age_s = self._site.curtailment, self._site.timing.stale_after_s
        if table is None:
            return None
        last_of = {DeviceId(ref.device): self._board.last(DeviceId(ref.device)) for ref in table.meter}
        return readings.total(last_of, table.meter, self._clock.monotonic(), max_age_s)

    def _zone(self, zone: ZoneId) -> tuple[str | None, bool]:
        """Whose business the zone is where not ours, and whether its cooling is proven."""
        status = self._cycle.statuses[zone]
        if status.mode in (Mode.TRIPPED, Mode.MANUAL):
            return f"its zone is {status.mode}", status.cooling_proven
        if status.mode is Mode.SAFE and self._cycle.look(zone).safe_why is SafeWhy.STOP:
            return "its zone was stopped by hand", status.cooling_proven
        return None, status.cooling_proven

    def _miner(
        self, entry: DeviceEntry, last: Last, now_s: float, *, taken: str | None, cooled: bool, warming: bool
    ) -> MinerSeen:
        timing, good = self._site.timing, last.good
        age_s = math.inf if good is None else now_s - good.at_s
        keeps_s = max(PRESET_POLLS * self._fast_s[entry.id], timing.lost_after_s)
        state = last.state
        return MinerSeen(
            device=entry.id,
            heard=age_s <= timing.stale_after_s,
            draws=state is None or state.draws_power,
            settling=state is not None and (state.settling or state is MinerState.UNKNOWN),
            power_w=None if good is None else good.usable("power_w"),
            hashrate_ths=None if good is None else good.usable("hashrate_ths"),
            preset=last.preset if now_s - last.preset_at_s <= keeps_s else None,
            steps=self._steps(entry),
            nominal_w=entry.nominal_w or 0.0,
            taken=taken,
            cooled=cooled,
            warming=warming,
        )

    def _steps(self, entry: DeviceEntry) -> tuple[Preset, ...]:
        facts = self._links[entry.id].facts
        known = self._ladders.get(entry.id)
        if known is None or known[0] is not facts:
            steps = () if facts is None else ladder.usable(facts, hydro=entry.zone in self._hydro)
            known = self._ladders[entry.id] = (facts, steps)
        return known[1]
