"""One zone of the pure core, told as short scenes."""

from pathlib import Path

import pytest

from edge_agent.guardian.interlocks import asks
from edge_agent.guardian.interlocks.asks import Denied, Granted
from edge_agent.guardian.interlocks.inputs import DemandKind, FeederClaim, MainsClaim, ModelClaim
from edge_agent.guardian.interlocks.state import SafeWhy
from edge_agent.ipc import Mode
from shared.alarms import EventKind, Severity
from shared.commands import Priority, SetPoint
from shared.telemetry import MinerState
from support.guardian import WALL, ZONE, ZoneBench, make_site, miner_id


def reset(zone: ZoneBench) -> Granted | Denied:
    answer = asks.reset(zone.state, ZONE, by="ada", reason="repaired")
    if isinstance(answer, Granted):
        zone.state = answer.state
        zone.findings += answer.found
    return answer


def safe_stop(zone: ZoneBench) -> None:
    zone.state = asks.safe_stop(zone.state, ZONE, by="ada", reason="smoke").state


def set_mode(zone: ZoneBench, mode: Mode) -> Granted | Denied:
    answer = asks.set_mode(zone.state, ZONE, mode, by="ada", reason="work")
    if isinstance(answer, Granted):
        zone.state = answer.state
    return answer


class TestStart:
    def test_a_zone_starts_safe_and_goes_on_when_cooling_is_proven(self, zone: ZoneBench) -> None:
        assert zone.run(9.5).mode is Mode.SAFE
        assert not zone.demands, "a plain start changes nothing on the miners"
        assert zone.run(1).mode is Mode.LOCAL_AUTO

    def test_it_stays_safe_while_cooling_is_not_proven(self, zone: ZoneBench) -> None:
        assert zone.cool(30).run(60).mode is Mode.SAFE

    def test_a_zone_that_never_answers_alarms_but_does_not_trip(self, zone: ZoneBench) -> None:
        zone.silent().cool(None).run(60)
        assert zone.mode is Mode.SAFE
        urgent = [f for f in zone.kinds(EventKind.ALARM) if f.key == f"silent/{ZONE}"]
        assert [f.severity for f in urgent] == [Severity.URGENT]
        zone.put(age_s=0.5).run(1)
        assert f"silent/{ZONE}" in [f.key for f in zone.kinds(EventKind.ALARM_CLEARED)]


class TestHeat:
    def test_warn_inhibits_and_tells_after_its_delay(self, zone: ZoneBench) -> None:
        zone.auto().hot(2, 79).run(3.5)
        assert not zone.inhibited
        zone.run(1)
        assert zone.inhibited == {"m-2": "chip temperature (warn)"}
        assert not zone.demands

    def test_shed_lowers_worst_first_and_pauses_until_the_step_shows(self, zone: ZoneBench) -> None:
        zone.auto().hot(1, 84).hot(3, 86).run(5)
        assert zone.lowered == ["m-3", "m-1"]
        zone.command(3).step()
        assert zone.lowered == ["m-1"]
        zone.run(21)
        assert zone.lowered == ["m-3", "m-1"], "still above shed after the change settled: one more step"

    def test_between_shed_and_release_nothing_more_is_lowered_but_the_inhibit_stays(
        self, zone: ZoneBench
    ) -> None:
        zone.auto().hot(1, 84).run(5).hot(1, 80).run(5)
        assert not zone.lowered
        assert "m-1" in zone.inhibited
        zone.hot(1, 73).run(11)
        assert not zone.inhibited

    def test_one_miner_over_trip_is_latched_and_the_zone_goes_on(self, zone: ZoneBench) -> None:
        zone.auto().hot(1, 89).step()
        assert (zone.mode, zone.stopping) == (Mode.LOCAL_AUTO, ["m-1"])
        [trip] = zone.state.trips
        assert (trip.device, trip.interlock) == ("m-1", "chip-temp")
        assert trip.first_out == "chip-temp 89 °C, trip limit 88 °C"

    def test_a_latched_miner_stays_stopped_whatever_it_reads(self, zone: ZoneBench) -> None:
        zone.auto().hot(1, 89).step().stopped(1).run(60)
        assert not zone.stopping
        zone.mining(1).step()
        assert zone.stopping == ["m-1"], "a miner that mines again by itself is stopped again"

    def test_three_over_trip_trip_the_zone(self, tmp_path: Path) -> None:
        zone = ZoneBench(make_site(tmp_path, 40)).auto()
        zone.hot(1, 89).hot(2, 89).step()
        assert zone.mode is Mode.LOCAL_AUTO, "two of forty are 5 %"
        zone.hot(3, 89).step()
        assert zone.mode is Mode.TRIPPED
        assert len(zone.stopping) == 40

    def test_board_temperature_trips_too(self, zone: ZoneBench) -> None:
        zone.auto().put(2, board_c=76.0).step()
        assert [t.interlock for t in zone.state.trips] == ["board-temp"]


class TestLostAfterAStop:
    """Who was seen stopped and is lost since may have rebooted and mine: it is load, where it was heard."""

    def test_cooling_that_is_lost_trips_for_it(self, zone: ZoneBench) -> None:
        zone.auto().stopped().run(5)
        assert zone.silent().run(20).cool(0.0).run(30).mode is Mode.TRIPPED
        assert zone.state.trips[0].interlock == "cooling-lost"
        assert zone.state.pending == (), "nobody of the guardian's stopped them, and it starts none"

    def test_a_hot_inlet_trips_for_it(self, zone: ZoneBench) -> None:
        zone.auto().stopped().run(5)
        zone.silent().run(20).probe("inlet_air_c", 1, 50.0).run(30)
        assert zone.state.trips[0].interlock == "inlet_air_c"

    def test_stale_is_not_lost(self, zone: ZoneBench) -> None:
        zone.auto().stopped().run(5)
        assert zone.silent(age_s=7.0).cool(0.0).run(60).mode is not Mode.TRIPPED

    def test_who_was_never_heard_is_no_load(self, zone: ZoneBench) -> None:
        assert zone.silent().cool(0.0).run(120).mode is not Mode.TRIPPED

    @pytest.mark.parametrize("mains", [MainsClaim.STOP, MainsClaim.HOLD])
    def test_a_power_cut_takes_miners_fans_and_switches_and_is_no_trip(
        self, zone: ZoneBench, mains: MainsClaim
    ) -> None:
        zone.auto()
        zone.mains = MainsClaim.STOP
        zone.run(2).stopped().run(5)
        zone.mains = mains
        assert zone.silent().cool(None).run(120).mode is not Mode.TRIPPED
        zone.mains = MainsClaim.NONE
        assert zone.step().mode is Mode.TRIPPED

    def test_a_pdus_cap_latches_it_too(self, zone: ZoneBench) -> None:
        rack = frozenset({miner_id(1), miner_id(2)})
        over = FeederClaim(cap="rack-1", miners=rack, trip="rack-1 20 A, trip limit 18 A", cause=True)
        zone.auto().stopped(1, 2).run(5).silent(1).run(20).claim(over).step()
        assert [trip.device for trip in zone.state.trips] == ["m-1"]


class TestStoppedByAShed:
    def shed(self, zone: ZoneBench) -> ZoneBench:
        zone.auto().hot(1, 84).run(6).command(1, settle_s=0.0, shed_stop=True).step()
        return zone.stopped(1).step()

    def test_it_waits_for_the_zones_restart(self, zone: ZoneBench) -> None:
        assert self.shed(zone).state.pending == (miner_id(1),)
        zone.run(30)
        assert zone.wanted(DemandKind.START) == [miner_id(1)]

    def test_a_stop_that_came_much_later_is_not_the_sheds(self, zone: ZoneBench) -> None:
        zone.auto().command(1, settle_s=0.0, shed_stop=True).run(120)
        assert zone.stopped(1).step().state.pending == ()

    def test_a_latched_one_is_a_persons_business(self, zone: ZoneBench) -> None:
        zone.auto().hot(1, 89).command(1, settle_s=0.0, shed_stop=True).step()
        assert zone.stopped(1).run(5).state.pending == ()

    def test_what_a_person_stops_then_stays_stopped(self, zone: ZoneBench) -> None:
        self.shed(zone)
        zone.state = asks.take_over(zone.state, [miner_id(1)])
        assert zone.run(60).state.pending == ()


class TestStoppedByAPerson:
    def left(self, zone: ZoneBench) -> ZoneBench:
        zone.auto()
        zone.state = asks.take_over(zone.state, [miner_id(1)])
        return zone

    def test_neither_trip_nor_reset_nor_a_curtailments_end_brings_it_back(self, zone: ZoneBench) -> None:
        self.left(zone).cool(0.0).run(6)
        assert zone.mode is Mode.TRIPPED
        assert miner_id(1) not in zone.state.pending
        zone.stopped().cool(80.0).run(30)
        assert isinstance(reset(zone), Granted)
        zone.state = asks.bring_back(zone.state, [miner_id(1), miner_id(2)])
        assert miner_id(1) not in zone.state.pending
        assert miner_id(2) in zone.state.pending

    def test_nor_a_reset_of_its_own_latch(self, zone: ZoneBench) -> None:
        self.left(zone).hot(1, 89).step()
        zone.stopped(1).run(30)
        assert isinstance(reset(zone), Granted)
        assert zone.state.pending == ()

    def test_who_was_started_is_the_guardians_again(self, zone: ZoneBench) -> None:
        self.left(zone).stopped(1).run(2)
        zone.mining(1).run(2).cool(0.0).run(6)
        assert miner_id(1) in zone.state.pending

    def test_a_start_on_its_way_counts(self, zone: ZoneBench) -> None:
        self.left(zone).command(1, start=True).step()
        assert not zone.state.miners[miner_id(1)].left


class TestSettling:
    def test_missing_temperatures_are_expected_after_a_change(self, zone: ZoneBench) -> None:
        zone.auto().command(1).put(1, chip_c=None, board_c=None).run(15)
        assert zone.inhibited == {"m-1": "settling after a change"}
        zone.run(10)
        assert zone.inhibited == {"m-1": "no usable temperature"}
        assert not zone.kinds(EventKind.ALARM)
        zone.run(31)
        assert [f.key for f in zone.kinds(EventKind.ALARM)] == ["no-data/m-1"]

    def test_a_window_hides_nothing_else_that_stands_against_a_raise(self, zone: ZoneBench) -> None:
        zone.auto().command(1).command(2).step()
        assert zone.inhibited == {"m-1": "settling after a change", "m-2": "settling after a change"}
        zone.claim(
            FeederClaim(cap="rack-1", miners=frozenset({miner_id(2)}), inhibit="power cap rack-1 (warn)")
        )
        assert zone.step().inhibited == {
            "m-1": "settling after a change",
            "m-2": "power cap rack-1 (warn)",
        }
        zone.mains = MainsClaim.HOLD
        zone.step()
        assert (
            zone.inhibited["m-1"] == zone.inhibited["m-3"] == "on battery, or mains not back for long enough"
        )

    def test_nor_does_it_hide_heat_that_is_not_released(self, zone: ZoneBench) -> None:
        zone.auto().hot(1, 79).run(5)
        zone.hot(1, 76).command(1).step()
        assert zone.inhibited == {"m-1": "chip temperature (warn)"}

    def test_hot_evidence_ends_the_window_early(self, zone: ZoneBench) -> None:
        zone.auto().command(1).run(2).hot(1, 79).run(5)
        assert zone.inhibited == {"m-1": "chip temperature (warn)"}

    def test_a_firmware_that_restarts_itself_opens_one_bounded_window(self, zone: ZoneBench) -> None:
        zone.auto().put(1, state=MinerState.INITIALIZING, chip_c=None, board_c=None).run(5)
        assert zone.inhibited == {"m-1": "settling after a change"}
        zone.run(20)
        assert zone.inhibited == {"m-1": "no usable temperature"}


class TestStale:
    def test_one_silent_miner_is_an_inhibit_with_an_alarm_after_30_s(self, zone: ZoneBench) -> None:
        zone.auto().silent(2, age_s=7.0).run(29)
        assert zone.inhibited == {"m-2": "no data (stale)"}
        assert not zone.kinds(EventKind.ALARM)
        zone.run(2)
        assert [f.key for f in zone.kinds(EventKind.ALARM)] == ["no-data/m-2"]
        zone.put(2, age_s=0.5).step()
        assert not zone.inhibited
        assert [f.key for f in zone.kinds(EventKind.ALARM_CLEARED)] == ["no-data/m-2"]
        assert zone.mode is Mode.LOCAL_AUTO

    def test_all_sensors_bad_trip_the_zone(self, zone: ZoneBench) -> None:
        zone.auto().silent(age_s=7.0).run(11.5)
        assert zone.mode is Mode.LOCAL_AUTO
        zone.run(1)
        assert zone.mode is Mode.TRIPPED
        assert [t.interlock for t in zone.state.trips] == ["all-sensors-bad"]

    def test_blind_counts_like_silent(self, zone: ZoneBench) -> None:
        assert zone.auto().put(chip_c=None, board_c=None).run(13).mode is Mode.TRIPPED

    def test_stopped_miners_need_no_temperature(self, zone: ZoneBench) -> None:
        zone.auto().stopped().run(120)
        assert zone.mode is Mode.LOCAL_AUTO
        assert not zone.inhibited


class TestCooling:
    def test_lost_for_its_delay_trips_stops_all_and_drives_the_fans_on(self, zone: ZoneBench) -> None:
        zone.auto().cool(5).run(3.5)
        assert zone.mode is Mode.LOCAL_AUTO
        zone.run(1)
        assert zone.mode is Mode.TRIPPED
        assert zone.stopping == ["m-1", "m-2", "m-3", "m-4"]
        assert {d.priority for d in zone.demands} == {Priority.TRIP}
        [fan] = [d for d in zone.demands if d.kind is DemandKind.COOLING]
        assert fan.action == SetPoint(device=WALL, point="speed_setpoint_pct", value=100.0)
        assert [d.kind for d in zone.demands][:4] == [DemandKind.STOP] * 4, "load drops first"

    def test_unknown_is_lost(self, zone: ZoneBench) -> None:
        assert zone.auto().cool(None).run(5).mode is Mode.TRIPPED

    def test_a_short_dip_only_unproves(self, zone: ZoneBench) -> None:
        zone.auto().cool(5).run(2).cool(80).run(1)
        assert zone.mode is Mode.LOCAL_AUTO
        assert not zone.state.cooling.proven
        assert zone.run(10).state.cooling.proven

    def test_without_load_lost_cooling_is_no_trip(self, zone: ZoneBench) -> None:
        assert zone.auto().stopped().run(1).cool(0).run(30).mode is Mode.LOCAL_AUTO
        assert zone.mining(1).run(1).mode is Mode.TRIPPED, "load without cooling is"

    def test_fans_that_read_fail_safe_are_not_written_again(self, zone: ZoneBench) -> None:
        zone.auto().cool(5).run(5)
        zone.at_fail_safe = True
        assert not zone.step().wanted(DemandKind.COOLING)


class TestReset:
    def tripped(self, zone: ZoneBench) -> ZoneBench:
        zone.auto().stopped(4).step().cool(5).run(5).stopped().run(1)
        assert zone.mode is Mode.TRIPPED
        return zone

    def test_is_refused_while_the_cause_is_present(self, zone: ZoneBench) -> None:
        self.tripped(zone)
        assert isinstance(reset(zone), Denied)
        assert zone.mode is Mode.TRIPPED

    def test_needs_a_reason(self, zone: ZoneBench) -> None:
        self.tripped(zone).cool(100).run(1)
        assert isinstance(asks.reset(zone.state, ZONE, by="ada", reason="  "), Denied)

    def test_leads_over_safe_and_proven_cooling_to_a_restart_of_what_ran(self, zone: ZoneBench) -> None:
        self.tripped(zone).cool(100).run(1)
        assert isinstance(reset(zone), Granted)
        assert zone.run(8).mode is Mode.SAFE
        assert not zone.wanted(DemandKind.START)
        zone.run(2)
        assert zone.wanted(DemandKind.START) == ["m-1", "m-2", "m-3"], "m-4 did not run before"
        zone.command(1, start=True).command(2, start=True).step().step()
        assert zone.wanted(DemandKind.START) == ["m-1", "m-2"], "the open batch, and nobody else"
        zone.mining(1).step()
        assert zone.mode is Mode.SAFE
        zone.mining(2).step()
        told = [f for f in zone.kinds(EventKind.SYSTEM) if "restart batch confirmed" in f.title]
        assert [f.data for f in told] == [{"confirmed": 2, "left": 1}]
        zone.step()
        assert zone.mode is Mode.LOCAL_AUTO
        assert zone.wanted(DemandKind.START) == ["m-3"]
        zone.command(3, start=True).step().mining(3).step()
        assert not zone.state.pending
        assert zone.outputs is not None
        assert not zone.outputs.status.restarting

    def test_a_miner_that_never_comes_back_is_left_with_an_alarm(self, zone: ZoneBench) -> None:
        self.tripped(zone).cool(100).run(1)
        reset(zone)
        zone.run(11).mining(1, 2).step()
        for _ in range(4):
            zone.command(3, start=True).run(5)
        assert not zone.state.pending
        assert [f.device for f in zone.kinds(EventKind.ALARM)][-1] == "m-3"

    def test_a_miner_that_falls_silent_while_it_starts_does_not_hold_up_the_others(
        self, zone: ZoneBench
    ) -> None:
        self.tripped(zone).cool(100).run(1)
        reset(zone)
        zone.run(11)
        zone.command(1, start=True).command(2, start=True).step().mining(2).silent(1).run(20)
        assert zone.wanted(DemandKind.START) == [], "it may be booting"
        zone.run(40)
        assert zone.wanted(DemandKind.START) == ["m-3"]
        zone.command(3, start=True).step().mining(3).step()
        assert zone.state.pending == ("m-1",), "it still comes back when it is heard"
        zone.put(1, age_s=0.5).stopped(1).run(1)
        assert zone.wanted(DemandKind.START) == ["m-1"]

    def test_of_one_miner_starts_only_that_one(self, zone: ZoneBench) -> None:
        zone.auto().hot(1, 89).step().stopped(1).run(12)
        assert isinstance(reset(zone), Granted)
        assert zone.step().wanted(DemandKind.START) == ["m-1"]
        assert zone.mode is Mode.LOCAL_AUTO

    def test_keeps_what_still_has_its_cause(self, zone: ZoneBench) -> None:
        self.tripped(zone).cool(100).mining(1).hot(1, 90).run(1)
        answer = reset(zone)
        assert isinstance(answer, Granted)
        assert [t.interlock for t in answer.cleared] == ["cooling-lost"]
        assert [t.device for t in zone.state.trips] == ["m-1"]

    def test_without_a_trip_is_refused(self, zone: ZoneBench) -> None:
        assert isinstance(reset(zone.auto()), Denied)


class TestSafeStop:
    def test_stops_everything_and_stays_stopped(self, zone: ZoneBench) -> None:
        safe_stop(zone.auto())
        zone.step()
        assert (zone.mode, len(zone.stopping)) == (Mode.SAFE, 4)
        zone.stopped().run(600)
        assert zone.mode is Mode.SAFE
        assert not zone.wanted(DemandKind.START)

    def test_is_ended_by_the_operator_who_hands_back(self, zone: ZoneBench) -> None:
        safe_stop(zone.auto())
        zone.step().stopped().run(5)
        assert isinstance(set_mode(zone, Mode.LOCAL_AUTO), Granted)
        zone.run(1)
        assert len(zone.wanted(DemandKind.START)) == 4

    def test_during_a_trip_outlives_the_reset(self, zone: ZoneBench) -> None:
        zone.auto().cool(5).run(5)
        safe_stop(zone)
        zone.stopped().cool(100).run(12)
        assert isinstance(reset(zone), Granted)
        zone.run(60)
        assert (zone.mode, zone.state.safe_why) == (Mode.SAFE, SafeWhy.STOP)
        assert not zone.wanted(DemandKind.START)


class TestModes:
    def test_models_climb_with_assignment_and_swap_and_fall_without(self, zone: ZoneBench) -> None:
        zone.auto().model = ModelClaim.SHADOW
        assert zone.step().mode is Mode.ML_SHADOW
        zone.model = ModelClaim.ACTIVE
        assert zone.step().mode is Mode.ML_ACTIVE
        zone.model = ModelClaim.SHADOW
        assert zone.step().mode is Mode.ML_SHADOW
        zone.model = ModelClaim.NONE
        assert zone.step().mode is Mode.LOCAL_AUTO

    def test_manual_is_left_alone_by_leases_and_models_but_not_by_trips(self, zone: ZoneBench) -> None:
        assert isinstance(set_mode(zone.auto(), Mode.MANUAL), Granted)
        zone.model, zone.lease_overdue_s = ModelClaim.ACTIVE, 1e6
        assert zone.run(5).mode is Mode.MANUAL
        assert zone.cool(0).run(5).mode is Mode.TRIPPED

    @pytest.mark.parametrize("mode", [Mode.ML_ACTIVE, Mode.SAFE, Mode.TRIPPED, Mode.ML_SHADOW])
    def test_an_operator_chooses_manual_or_auto_only(self, zone: ZoneBench, mode: Mode) -> None:
        assert isinstance(set_mode(zone.auto(), mode), Denied)

    def test_nobody_leaves_tripped_by_choosing_a_mode(self, zone: ZoneBench) -> None:
        zone.auto().cool(0).run(5)
        assert isinstance(set_mode(zone, Mode.LOCAL_AUTO), Denied)
        assert isinstance(set_mode(zone, Mode.MANUAL), Denied)

    def test_lost_lease_leads_to_safe_set_points_and_back(self, zone: ZoneBench) -> None:
        zone.auto().lease_overdue_s = 121.0
        zone.run(1)
        assert zone.mode is Mode.SAFE
        assert zone.wanted(DemandKind.SAFE_PRESET) == [miner_id(n) for n in (1, 2, 3, 4)]
        assert zone.wanted(DemandKind.COOLING) == [WALL]
        zone.lease_overdue_s = 0.0
        assert zone.run(1).mode is Mode.LOCAL_AUTO

    def test_a_start_without_an_agent_turns_into_safe_set_points(self, zone: ZoneBench) -> None:
        zone.lease_overdue_s = 121.0
        zone.run(30)
        assert (zone.mode, zone.state.safe_why) == (Mode.SAFE, SafeWhy.LEASE)
        assert zone.wanted(DemandKind.COOLING) == [WALL]
