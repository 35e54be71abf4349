"""Probes of a zone, told as short scenes: they vote, warn, shed, trip, and fall out."""

from pathlib import Path

import msgspec
import pytest

from edge_agent.config import SensorRole
from edge_agent.guardian.interlocks import asks, probes
from edge_agent.guardian.interlocks.asks import Denied, Granted
from edge_agent.guardian.interlocks.inputs import DemandKind
from edge_agent.guardian.interlocks.state import durable, restored
from edge_agent.ipc import Mode
from shared.alarms import EventKind, Severity
from shared.commands import Priority
from support import zones
from support.guardian import WALL, ZONE, ZoneBench, make_site, miner_id

AIR, FLOW, WATER, DEW = "inlet_air_c", "flow_m3h", "water_c", "dew_margin_c"
ALL = [miner_id(n) for n in (1, 2, 3, 4)]


@pytest.fixture
def three(tmp_path: Path) -> ZoneBench:
    return ZoneBench(make_site(tmp_path, edit=zones.probes(3))).auto()


@pytest.fixture
def hydro(tmp_path: Path) -> ZoneBench:
    return ZoneBench(make_site(tmp_path, edit=zones.hydro)).auto()


def all_read(zone: ZoneBench, role: str, value: float | None) -> ZoneBench:
    for number in range(1, len(zone.probes[role]) + 1):
        zone.probe(role, number, value)
    return zone


class TestWarn:
    def test_inhibits_every_miner_and_less_cooling_after_its_delay(self, zone: ZoneBench) -> None:
        zone.auto().probe(AIR, 1, 35.0).run(3.5)
        assert not zone.inhibited
        zone.run(0.5)
        assert zone.inhibited == dict.fromkeys([*ALL, WALL], "inlet air (warn)")
        assert zone.status.levels == {AIR: "warn"}
        assert not zone.demands

    def test_is_told_once_with_value_and_limit(self, zone: ZoneBench) -> None:
        zone.auto().probe(AIR, 1, 36.5).run(20)
        [told] = zone.kinds(EventKind.ALARM)
        assert told.title == "Zone hall-1: inlet air 36.5 °C is above 35 °C; nothing is raised there"
        assert (told.severity, told.key) == (Severity.LOW, f"{AIR}/{ZONE}")
        assert told.data == {"value": 36.5, "limit": 35.0}

    def test_goes_after_its_delay_below_release(self, zone: ZoneBench) -> None:
        zone.auto().probe(AIR, 1, 36.0).run(5).probe(AIR, 1, 33.1).run(60)
        assert zone.inhibited
        zone.probe(AIR, 1, 33.0).run(10)
        assert not zone.inhibited
        assert not zone.status.levels
        [told] = zone.kinds(EventKind.ALARM_CLEARED)
        assert told.title == "Zone hall-1: inlet air is back within limits (33 °C)"
        assert told.data == {"value": 33.0, "limit": 33.0}

    def test_a_miners_own_reason_comes_first(self, zone: ZoneBench) -> None:
        zone.auto().probe(AIR, 1, 36.0).silent(2, age_s=7.0).run(5)
        assert zone.inhibited[miner_id(2)] == "no data (stale)"
        assert zone.inhibited[miner_id(1)] == "inlet air (warn)"


class TestShed:
    def test_lowers_every_miner_hottest_first_one_step_each(self, zone: ZoneBench) -> None:
        zone.auto().hot(3, 75).hot(1, 70).put(4, chip_c=None).probe(AIR, 1, 41.0).run(4)
        assert zone.lowered == ["m-4", "m-3", "m-1", "m-2"], "what is not known counts as hottest"
        [demand, *_] = [d for d in zone.demands if d.kind is DemandKind.LOWER]
        assert (demand.priority, demand.why) == (
            Priority.TRIP,
            "inlet air of the zone is above its shed limit",
        )
        for number in (1, 2, 3, 4):
            zone.command(number, settle_s=20.0)
        assert not zone.step().lowered, "each waits until its step shows"
        assert zone.run(20).lowered == ["m-4", "m-3", "m-1", "m-2"]

    def test_leaves_out_who_is_stopped_or_not_heard(self, zone: ZoneBench) -> None:
        zone.auto().stopped(1).silent(2, age_s=7.0).probe(AIR, 1, 41.0).run(5)
        assert zone.lowered == ["m-3", "m-4"]

    def test_a_hot_miner_keeps_its_own_reason_and_place(self, zone: ZoneBench) -> None:
        zone.auto().hot(2, 84).probe(AIR, 1, 41.0).run(5)
        assert zone.lowered == ["m-2", "m-1", "m-3", "m-4"]
        assert zone.demands[0].why == "1.0 °C above its shed limit"

    def test_stops_below_the_limit_while_the_inhibit_stays(self, zone: ZoneBench) -> None:
        zone.auto().probe(AIR, 1, 41.0).run(5).probe(AIR, 1, 39.9).step()
        assert not zone.lowered
        assert zone.status.levels == {AIR: "shed"}
        [told] = zone.kinds(EventKind.SHED)
        assert told.severity is Severity.HIGH
        assert told.title == "Zone hall-1: inlet air 41 °C is above 40 °C; every preset is being lowered"
        assert told.data == {"value": 41.0, "limit": 40.0}

    def test_low_flow_sheds_too(self, hydro: ZoneBench) -> None:
        all_read(hydro, FLOW, 11.0).run(5)
        assert hydro.lowered == ["m-1", "m-2", "m-3", "m-4"]
        assert hydro.demands[0].why == "water flow of the zone is below its shed limit"
        assert "water flow 11 m³/h is below 12 m³/h" in hydro.titles(EventKind.SHED)[0]

    def test_a_step_back_to_warn_is_not_told_as_news(self, hydro: ZoneBench) -> None:
        all_read(hydro, FLOW, 11.0).run(5)
        before = len(hydro.findings)
        all_read(hydro, FLOW, 15.0).run(60)
        assert len(hydro.findings) == before


class TestTrip:
    def test_latches_after_its_delay_and_stops_the_zone(self, three: ZoneBench) -> None:
        three.probe(AIR, 1, 46.0).probe(AIR, 2, 45.5).run(3.5)
        assert three.mode is Mode.LOCAL_AUTO
        three.run(0.5)
        assert (three.mode, three.stopping) == (Mode.TRIPPED, ["m-1", "m-2", "m-3", "m-4"])
        [trip] = three.state.trips
        assert trip.interlock == AIR
        assert trip.first_out == (
            "inlet air 45.5 °C, trip limit 45 °C (probe-1 46, probe-2 45.5, probe-3 24)"
        )
        assert trip.id == f"{AIR}-{ZONE}-{trip.at_ms}"
        [told] = three.kinds(EventKind.TRIPPED)
        assert told.severity is Severity.URGENT
        assert "--zone hall-1" in told.advice
        assert not three.kinds(EventKind.ALARM, EventKind.SHED), "a trip speaks for itself"

    def test_cooling_is_driven_on(self, three: ZoneBench) -> None:
        assert all_read(three, AIR, 50.0).run(5).wanted(DemandKind.COOLING) == [WALL]

    def test_without_load_it_only_inhibits(self, zone: ZoneBench) -> None:
        zone.auto().stopped().step().probe(AIR, 1, 50.0).run(60)
        assert zone.mode is Mode.LOCAL_AUTO
        assert zone.status.levels == {AIR: "trip"}
        assert zone.inhibited
        assert zone.mining(1).step().mode is Mode.TRIPPED

    def test_load_that_comes_after_the_danger_passed_is_no_trip(self, zone: ZoneBench) -> None:
        zone.auto().stopped().step().probe(AIR, 1, 50.0).run(10).probe(AIR, 1, 44.0).mining().run(1)
        assert zone.mode is Mode.LOCAL_AUTO

    def test_fires_once(self, zone: ZoneBench) -> None:
        zone.auto().probe(AIR, 1, 50.0).run(60)
        assert len(zone.state.trips) == 1

    @pytest.mark.parametrize(
        ("role", "value", "name", "words"),
        [
            (FLOW, 7.9, FLOW, "water flow 7.9 m³/h, trip limit 8 m³/h (loop-1 7.9, loop-2 7.9, loop-3 7.9)"),
            (WATER, 45.0, WATER, "water temperature 45 °C, trip limit 45 °C (loop-1 45)"),
            (WATER, 20.0, "water_min_c", "water temperature 20 °C, trip limit 20 °C (loop-1 20)"),
            (DEW, 1.9, DEW, "margin to the dew point 1.9 K, trip limit 2 K (probe-1 1.9)"),
        ],
    )
    def test_every_quantity_of_a_hydro_zone(
        self, hydro: ZoneBench, role: str, value: float, name: str, words: str
    ) -> None:
        all_read(hydro, role, value).run(4)
        assert [(trip.interlock, trip.first_out) for trip in hydro.state.trips] == [(name, words)]


class TestReset:
    def test_waits_for_release(self, three: ZoneBench) -> None:
        all_read(three, AIR, 46.0).run(5)
        all_read(three, AIR, 34.0).stopped().run(60)
        assert three.state.trips[0].cause_present
        all_read(three, AIR, 33.0).run(9.5)
        assert three.state.trips[0].cause_present
        three.run(0.5)
        assert not three.state.trips[0].cause_present
        assert isinstance(asks.reset(three.state, ZONE, by="ada", reason="filters"), Granted)

    def test_is_refused_while_no_probe_is_known(self, three: ZoneBench) -> None:
        all_read(three, AIR, 46.0).run(5)
        all_read(three, AIR, 30.0).run(10)
        all_read(three, AIR, None).step()
        assert isinstance(asks.reset(three.state, ZONE, by="ada", reason="x"), Denied)

    def test_after_a_restart_waits_until_the_probes_are_heard(self, three: ZoneBench) -> None:
        all_read(three, AIR, 46.0).run(5)
        again = ZoneBench(three.site, restored(durable(three.state)))
        all_read(again, AIR, None).run(5)
        assert again.mode is Mode.TRIPPED
        assert again.state.trips[0].cause_present
        all_read(again, AIR, 24.0).step()
        assert not again.state.trips[0].cause_present

    def test_a_trip_of_limits_that_were_taken_out_of_the_file_can_be_reset(
        self, hydro: ZoneBench, tmp_path: Path
    ) -> None:
        all_read(hydro, FLOW, 0.0).run(5)
        other = ZoneBench(make_site(tmp_path), restored(durable(hydro.state))).step()
        assert [trip.cause_present for trip in other.state.trips] == [False]

    def test_one_of_several_by_its_id(self, hydro: ZoneBench) -> None:
        all_read(hydro, FLOW, 7.0).probe(WATER, 1, 46.0).run(5)
        assert [t.interlock for t in hydro.state.trips] == [WATER, FLOW]
        hydro.stopped().probe(WATER, 1, 30.0).run(11)
        water, flow = hydro.state.trips
        denied = asks.reset(hydro.state, ZONE, by="ada", reason="x", trip=flow.id)
        assert isinstance(denied, Denied)
        assert WATER not in denied.why
        unknown = asks.reset(hydro.state, ZONE, by="ada", reason="x", trip="nonsense")
        assert unknown == Denied(f"zone {ZONE} has no latched trip nonsense")
        granted = asks.reset(hydro.state, ZONE, by="ada", reason="x", trip=water.id)
        assert isinstance(granted, Granted)
        assert granted.cleared == (water,)
        assert granted.state.trips == (flow,)
        assert granted.state.mode is Mode.TRIPPED

    def test_by_id_leaves_others_whose_cause_is_gone(self, hydro: ZoneBench) -> None:
        all_read(hydro, FLOW, 7.0).probe(WATER, 1, 46.0).run(5)
        all_read(hydro, FLOW, 20.0).stopped().probe(WATER, 1, 30.0).run(11)
        water, flow = hydro.state.trips
        granted = asks.reset(hydro.state, ZONE, by="ada", reason="x", trip=water.id)
        assert isinstance(granted, Granted)
        assert granted.state.trips == (flow,)


class TestVotes:
    def test_one_liar_of_three_changes_nothing(self, three: ZoneBench) -> None:
        assert three.probe(AIR, 2, 99.0).run(60).mode is Mode.LOCAL_AUTO
        assert not three.inhibited

    def test_of_two_the_worse_counts(self, three: ZoneBench) -> None:
        three.probe(AIR, 1, None).probe(AIR, 2, 36.0).run(5)
        assert three.status.levels == {AIR: "warn"}

    def test_of_two_flows_the_lower_counts(self, hydro: ZoneBench) -> None:
        hydro.probe(FLOW, 1, None).probe(FLOW, 2, 7.0).run(5)
        assert hydro.mode is Mode.TRIPPED

    def test_one_left_tightens_inhibits_and_alarms(self, three: ZoneBench) -> None:
        three.probe(AIR, 1, None).probe(AIR, 2, None).step()
        assert set(three.inhibited.values()) == {"only one probe of inlet air is left"}
        three.probe(AIR, 3, 33.0).run(5)
        assert three.status.levels == {AIR: "warn"}, "2 K below its limit"
        three.run(30)
        alarm = three.kinds(EventKind.ALARM)[-1]
        assert alarm.key == f"probes/{ZONE}/{AIR}"
        assert alarm.severity is Severity.HIGH
        assert alarm.title == (
            "Zone hall-1: 1 of 3 probes of inlet air are good; its limits stand closer and nothing is "
            "raised in the zone"
        )
        assert alarm.data == {"good": 1, "of": 3}

    def test_one_left_trips_closer_and_says_so(self, three: ZoneBench) -> None:
        three.probe(AIR, 1, None).probe(AIR, 2, None).probe(AIR, 3, 43.0).run(5)
        [trip] = three.state.trips
        assert trip.first_out == (
            "inlet air 43 °C, trip limit 45 °C, 2 closer with one probe left "
            "(probe-1 unknown, probe-2 unknown, probe-3 43)"
        )

    def test_one_left_sheds_closer(self, three: ZoneBench) -> None:
        three.probe(AIR, 1, None).probe(AIR, 2, None).probe(AIR, 3, 38.0).run(5)
        assert three.lowered

    def test_one_of_one_is_plain(self, zone: ZoneBench) -> None:
        assert not zone.auto().probe(AIR, 1, 34.9).run(60).inhibited

    def test_two_left_is_a_quiet_alarm_and_all_back_clears_it(self, three: ZoneBench) -> None:
        three.probe(AIR, 1, None).run(31)
        assert not three.inhibited
        [alarm] = three.kinds(EventKind.ALARM)
        assert (alarm.severity, alarm.title) == (
            Severity.LOW,
            "Zone hall-1: 2 of 3 probes of inlet air are good",
        )
        three.probe(AIR, 1, 24.0).step()
        assert three.titles(EventKind.ALARM_CLEARED) == [
            "Zone hall-1: all 3 probes of inlet air are good again"
        ]


class TestNoneLeft:
    def test_trips_after_lost_after_s(self, three: ZoneBench) -> None:
        all_read(three, AIR, None).run(11.5)
        assert three.mode is Mode.LOCAL_AUTO
        assert three.status.levels == {AIR: "unknown"}
        assert set(three.inhibited.values()) == {"inlet air is not known"}
        three.run(0.5)
        assert three.mode is Mode.TRIPPED
        [trip] = three.state.trips
        assert trip.interlock == AIR
        assert trip.first_out == (
            "no probe of inlet air is known any more (probe-1 unknown, probe-2 unknown, probe-3 unknown)"
        )

    def test_a_word_in_between_starts_the_count_anew(self, three: ZoneBench) -> None:
        all_read(three, AIR, None).run(11)
        three.probe(AIR, 2, 24.0).step()
        all_read(three, AIR, None).run(11.5)
        assert three.mode is Mode.LOCAL_AUTO

    def test_without_load_it_is_no_trip(self, three: ZoneBench) -> None:
        all_read(three.stopped().step(), AIR, None).run(60)
        assert three.mode is Mode.LOCAL_AUTO

    def test_never_heard_is_safe_with_an_alarm_and_no_trip(self, tmp_path: Path) -> None:
        zone = ZoneBench(make_site(tmp_path, edit=zones.probes(3)))
        all_read(zone, AIR, None).run(120)
        assert (zone.mode, zone.state.trips) == (Mode.SAFE, ())
        assert set(zone.inhibited.values()) == {"inlet air is not known"}
        [alarm] = zone.kinds(EventKind.ALARM)
        assert alarm.severity is Severity.URGENT
        assert alarm.title == (
            "Zone hall-1: 0 of 3 probes of inlet air are good; nothing is raised in the zone, and it trips "
            "where this lasts"
        )
        zone.probe(AIR, 1, 24.0).probe(AIR, 2, 24.0).run(1)
        assert zone.mode is Mode.LOCAL_AUTO

    def test_an_input_that_names_no_probe_is_unknown(
        self, zone: ZoneBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(zone.auto(), "_sensors", dict)
        assert zone.step().status.levels == {AIR: "unknown"}


class TestSafe:
    def test_waits_for_a_probe_that_stands_high(self, zone: ZoneBench) -> None:
        assert zone.probe(AIR, 1, 41.0).run(60).mode is Mode.SAFE
        assert zone.probe(AIR, 1, 39.0).run(20).mode is Mode.SAFE, "released only below release"
        assert zone.probe(AIR, 1, 30.0).run(11).mode is Mode.LOCAL_AUTO

    def test_a_warning_does_not_hold_it(self, zone: ZoneBench) -> None:
        assert zone.probe(AIR, 1, 36.0).run(11).mode is Mode.LOCAL_AUTO


class TestOneProbe:
    """A zone's only probe: one good one is all there is, and nothing stands closer for that."""

    def test_that_falls_silent_trips_the_zone(self, zone: ZoneBench) -> None:
        zone.auto().probe(AIR, 1, None).run(11.5)
        assert (zone.mode, zone.state.probes[SensorRole.INLET_AIR].heard) == (Mode.LOCAL_AUTO, True)
        assert zone.step().mode is Mode.TRIPPED
        assert [trip.interlock for trip in zone.state.trips] == [AIR]

    def test_limits_that_say_nothing_of_one_left_stay_where_they_are(self, zone: ZoneBench) -> None:
        limits = zone.zone.limits.inlet_air_c
        assert limits is not None
        assert limits.tighten is None
        assert probes.tightened(limits, alone=True) == 0.0
        closer = msgspec.structs.replace(limits, tighten=2.0)
        assert [probes.tightened(closer, alone=alone) for alone in (True, False)] == [2.0, 0.0]

    def test_what_it_does_not_feed_has_no_cause_there(self, zone: ZoneBench) -> None:
        group = zone.auto().state.probes[SensorRole.INLET_AIR]
        assert not probes.cause(group, WATER)
        assert probes.cause(zone.probe(AIR, 1, None).step().state.probes[SensorRole.INLET_AIR], AIR)


class TestStuckProbe:
    def test_does_not_count_and_is_named(self, three: ZoneBench) -> None:
        for _ in range(8):
            for value in (24.0, 26.0):
                three.probe(AIR, 2, value).probe(AIR, 3, value + 0.1).run(40)
        assert [still.stuck for still in three.state.probes[AIR].stills] == [True, False, False]
        [named] = [f for f in three.kinds(EventKind.ALARM) if f.key == "stuck/probe-1"]
        assert named.title == (
            "probe-1: air_temp_c has not moved although its siblings moved; it does not count any more"
        )
        three.probe(AIR, 3, 36.0).run(5)
        assert three.status.levels == {AIR: "warn"}, "of the two that are left the worse"
        three.probe(AIR, 1, 24.3).step()
        [cleared] = [f for f in three.kinds(EventKind.ALARM_CLEARED) if f.key == "stuck/probe-1"]
        assert cleared.title == "probe-1: air_temp_c moves again and counts again"
