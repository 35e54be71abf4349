"""The site as one core: who hangs on which cap, whom caps and mains reach, what is kept on disk."""

from pathlib import Path

import msgspec
import pytest

from edge_agent.config import HighLimits, Mains, MainsStage, PointRef, PowerCap, SiteFile
from edge_agent.guardian.interlocks import site as site_core
from edge_agent.guardian.interlocks.caps import CapInput
from edge_agent.guardian.interlocks.inputs import (
    DemandKind,
    Finding,
    MainsClaim,
    MinerInput,
    SensorInput,
    ZoneInput,
)
from edge_agent.guardian.interlocks.levels import Level
from edge_agent.guardian.interlocks.mains import MainsInput
from edge_agent.guardian.interlocks.site import SiteInput, SiteOutputs, SiteState
from edge_agent.guardian.interlocks.state import Durable, SafeWhy, Trip
from edge_agent.ipc import Mode
from shared.alarms import EventKind
from shared.ids import DeviceId, ZoneId
from shared.telemetry import MinerState
from support.guardian import PROBE, make_site, miner_id

HALL, ANNEX = ZoneId("hall-1"), ZoneId("annex")
M = {n: miner_id(n) for n in (1, 2, 3, 4)}
LIMITS = HighLimits(release=9_000, warn=10_000, shed=11_000, trip=13_000, on_delay_s=1.0, off_delay_s=5.0)
UPS = Mains(
    device="ups-1",
    on_battery_point="on_battery",
    runtime_point="runtime_s",
    on_delay_s=1.0,
    restore_after_s=2.0,
    stages=(MainsStage(runtime_below_s=300.0, stop=True),),
)
BATTERY = MainsInput(on_battery=True, runtime_s=200.0)


def cap(name: str, *zones: ZoneId, pdu: str | None = None) -> PowerCap:
    return PowerCap(
        id=name,
        points=(PointRef(device="meter-1", point="power_w"),),
        limits=LIMITS,
        w_per_unit=1.0,
        ramp_w_per_min=10_000.0,
        zones=zones,
        pdu=pdu,
    )


def two_halls(folder: Path, *caps: PowerCap, mains: Mains | None = None) -> SiteFile:
    """m-1, m-2 and all gear in hall-1; m-3 and m-4 in the annex; m-4 hangs on pdu-1."""
    site = make_site(folder)
    away = [msgspec.structs.replace(d, zone=ANNEX) if d.id in (M[3], M[4]) else d for d in site.devices]
    annex = msgspec.structs.replace(site.zones[0], id=ANNEX)
    return msgspec.structs.replace(
        site, zones=(site.zones[0], annex), devices=tuple(away), power_caps=caps, mains=mains
    )


class Bench:
    """A site of two halls: set what is seen, let time pass, look."""

    def __init__(self, site: SiteFile) -> None:
        self.site = site
        self.state: SiteState = site_core.start(site, {})
        self.caps: dict[str, CapInput] = {}
        self.mains = MainsInput(on_battery=False)
        self.held: frozenset[DeviceId] = frozenset()
        self.seen = {ZoneId(zone): MinerState.MINING for zone in (HALL, ANNEX)}
        self.outputs: SiteOutputs | None = None
        self.found: list[Finding] = []

    def run(self, seconds: float) -> "Bench":
        for _ in range(round(seconds * 2)):
            zones = {
                zone.id: ZoneInput(
                    miners=tuple(self._miner(d.id, zone.id) for d in self.site.miners if d.zone == zone.id),
                    cooling_value=80.0,
                    sensors={"inlet_air_c": (SensorInput(device=PROBE, value=24.0),)},
                )
                for zone in self.site.zones
            }
            given = SiteInput(zones=zones, caps=self.caps, mains=self.mains, held=self.held)
            self.state, self.outputs, found = site_core.step(self.state, given, self.site, 0.5)
            self.found += found
        return self

    def _miner(self, device: DeviceId, zone: ZoneId) -> MinerInput:
        warm = 55.0 if self.seen[zone] is MinerState.MINING else None
        return MinerInput(
            device=device, age_s=0.5, state=self.seen[zone], chip_c=warm, board_c=warm, power_w=3000.0
        )

    def feed(self, name: str, value: float | None) -> "Bench":
        self.caps[name] = CapInput(value=value)
        return self

    def inhibited(self, zone: ZoneId) -> dict[DeviceId, str]:
        assert self.outputs is not None
        return self.outputs.zones[zone].status.inhibited

    @property
    def claim(self) -> MainsClaim:
        assert self.outputs is not None
        return self.outputs.mains

    def wanted(self, zone: ZoneId, kind: DemandKind) -> list[str]:
        assert self.outputs is not None
        return [demand.device for demand in self.outputs.zones[zone].demands if demand.kind is kind]


class TestWiring:
    def test_a_cap_of_zones_feeds_every_miner_there_and_nothing_else(self, tmp_path: Path) -> None:
        site = two_halls(tmp_path, cap("hall", HALL), cap("all", HALL, ANNEX))
        assert site_core.wiring(site) == {
            "hall": {HALL: {M[1], M[2]}},
            "all": {HALL: {M[1], M[2]}, ANNEX: {M[3], M[4]}},
        }

    def test_a_cap_of_a_pdu_feeds_the_miners_on_its_outlets(self, tmp_path: Path) -> None:
        assert site_core.wiring(two_halls(tmp_path, cap("pdu", pdu="pdu-1"))) == {"pdu": {ANNEX: {M[4]}}}

    def test_the_pdu_decides_where_zones_are_named_as_well(self, tmp_path: Path) -> None:
        both = cap("pdu", HALL, pdu="pdu-1")
        assert site_core.wiring(two_halls(tmp_path, both)) == {"pdu": {ANNEX: {M[4]}}}

    def test_a_cap_that_feeds_nobody_is_known_all_the_same(self, tmp_path: Path) -> None:
        assert site_core.wiring(two_halls(tmp_path, cap("spare", pdu="pdu-9"))) == {"spare": {}}

    def test_the_state_carries_it_from_the_start(self, tmp_path: Path) -> None:
        site = two_halls(tmp_path, cap("hall", HALL))
        assert site_core.start(site, {}).wiring == site_core.wiring(site)


class TestCaps:
    def test_a_cap_reaches_the_zones_behind_it_only(self, tmp_path: Path) -> None:
        bench = Bench(two_halls(tmp_path, cap("hall", HALL))).run(12)
        bench.feed("hall", 10_500.0).run(2)
        assert set(bench.inhibited(HALL).values()) == {"power cap hall (warn)"}
        assert bench.inhibited(ANNEX) == {}

    def test_two_caps_claim_side_by_side(self, tmp_path: Path) -> None:
        bench = Bench(two_halls(tmp_path, cap("hall", HALL), cap("all", HALL, ANNEX))).run(12)
        bench.feed("hall", 13_500.0).feed("all", 11_500.0).run(2)
        assert [trip.interlock for trip in bench.state.zones[HALL].trips] == ["cap/hall"]
        assert bench.state.zones[ANNEX].trips == ()
        assert bench.wanted(ANNEX, DemandKind.LOWER) == [M[3], M[4]]
        assert {name: state.standing.level for name, state in bench.state.caps.items()} == {
            "hall": Level.TRIP,
            "all": Level.SHED,
        }

    def test_a_meter_that_says_nothing_is_unknown(self, tmp_path: Path) -> None:
        bench = Bench(two_halls(tmp_path, cap("hall", HALL))).run(1)
        assert set(bench.inhibited(HALL).values()) == {"power cap hall: its meter is not known"}
        bench.run(30)
        assert [finding.key for finding in bench.found if finding.kind is EventKind.ALARM] == [
            "power-cap-meter/hall"
        ]

    def test_the_pdu_of_one_miner_inhibits_that_one(self, tmp_path: Path) -> None:
        bench = Bench(two_halls(tmp_path, cap("pdu", pdu="pdu-1"))).feed("pdu", None).run(12)
        assert (bench.inhibited(HALL), set(bench.inhibited(ANNEX))) == ({}, {M[4]})


class TestMains:
    def test_reach_every_zone(self, tmp_path: Path) -> None:
        bench = Bench(two_halls(tmp_path, mains=UPS)).run(12)
        assert bench.claim is MainsClaim.NONE
        bench.mains = BATTERY
        bench.run(2)
        assert bench.claim is MainsClaim.STOP
        assert bench.wanted(HALL, DemandKind.STOP) == [M[1], M[2]]
        assert bench.wanted(ANNEX, DemandKind.STOP) == [M[3], M[4]]
        assert {finding.key for finding in bench.found if finding.kind is EventKind.SHED} == {"mains"}
        assert bench.state.mains.lost

    def test_what_a_cap_tells_at_the_same_step_is_told_too(self, tmp_path: Path) -> None:
        bench = Bench(two_halls(tmp_path, cap("hall", HALL), mains=UPS)).feed("hall", 100.0).run(12)
        bench.found.clear()
        bench.mains = BATTERY
        bench.feed("hall", 10_500.0).run(0.5)
        assert bench.found == []
        bench.run(0.5)
        assert [finding.key for finding in bench.found] == ["power-cap/hall", "mains", "mains"]

    def test_a_site_without_a_ups_knows_no_mains(self, tmp_path: Path) -> None:
        bench = Bench(two_halls(tmp_path)).run(12)
        bench.mains = BATTERY
        bench.run(5)
        assert bench.claim is MainsClaim.NONE
        assert not bench.wanted(HALL, DemandKind.STOP)
        assert bench.state.mains == site_core.start(bench.site, {}).mains


class TestKept:
    def test_a_site_starts_safe_in_every_zone(self, tmp_path: Path) -> None:
        state = site_core.start(two_halls(tmp_path), {})
        assert {zone: (entry.mode, entry.safe_why) for zone, entry in state.zones.items()} == {
            HALL: (Mode.SAFE, SafeWhy.START),
            ANNEX: (Mode.SAFE, SafeWhy.START),
        }

    def test_what_was_kept_of_a_zone_comes_back_to_that_zone(self, tmp_path: Path) -> None:
        trip = Trip(id="t-1", interlock="cooling-lost", at_ms=1, first_out="fans 0 %")
        kept = Durable(mode=Mode.TRIPPED, trips=(trip,), pending=(M[3],))
        state = site_core.start(two_halls(tmp_path), {ANNEX: kept})
        assert state.zones[ANNEX].trips == (trip,)
        assert state.zones[HALL].trips == ()
        assert site_core.keep(state) == {HALL: Durable(), ANNEX: kept}

    def test_it_must_be_written_when_one_zone_changed(self, tmp_path: Path) -> None:
        bench = Bench(two_halls(tmp_path, cap("hall", HALL))).feed("hall", 100.0).run(12)
        assert bench.outputs is not None
        assert not bench.outputs.durable
        bench.feed("hall", 13_500.0).run(1)
        assert [bench.outputs.zones[zone].durable for zone in (HALL, ANNEX)] == [True, False]
        assert bench.outputs.durable

    @pytest.mark.parametrize("held", [True, False])
    def test_a_miner_that_an_order_holds_is_not_started(self, tmp_path: Path, held: bool) -> None:
        kept = Durable(mode=Mode.SAFE, safe_why=SafeWhy.RESET, pending=(M[3],))
        bench = Bench(two_halls(tmp_path))
        bench.state = site_core.start(bench.site, {ANNEX: kept})
        bench.seen[ANNEX] = MinerState.STOPPED
        bench.held = frozenset({M[3]}) if held else frozenset()
        bench.run(11)
        assert bench.wanted(ANNEX, DemandKind.START) == ([] if held else [M[3]])
