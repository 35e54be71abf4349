"""What power caps, mains and power orders ask of a zone."""

import pytest

from edge_agent.guardian.interlocks import asks
from edge_agent.guardian.interlocks.asks import Denied, Granted
from edge_agent.guardian.interlocks.inputs import DemandKind, FeederClaim, MainsClaim
from edge_agent.ipc import Mode
from shared.alarms import EventKind
from shared.commands import Priority
from support.guardian import WALL, ZONE, ZoneBench, miner_id

M = {n: miner_id(n) for n in (1, 2, 3, 4)}
TRIP = FeederClaim(
    cap="feed", trip="feed 900 A, trip limit 800 A", cause=True, inhibit="power cap feed (trip)"
)


def reset(zone: ZoneBench) -> Granted | Denied:
    answer = asks.reset(zone.state, ZONE, by="ada", reason="x")
    if isinstance(answer, Granted):
        zone.state = answer.state
    return answer


class TestCaps:
    def test_an_inhibit_of_the_zone_holds_all_and_its_cooling(self, zone: ZoneBench) -> None:
        zone.auto().claim(FeederClaim(cap="feed", inhibit="power cap feed (warn)")).step()
        assert zone.inhibited == dict.fromkeys([*M.values(), WALL], "power cap feed (warn)")

    def test_an_inhibit_of_some_miners_holds_those(self, zone: ZoneBench) -> None:
        claim = FeederClaim(
            cap="pdu", miners=frozenset((M[2], M[4], miner_id(99))), inhibit="power cap pdu (warn)"
        )
        zone.auto().claim(claim).step()
        assert zone.inhibited == {M[2]: "power cap pdu (warn)", M[4]: "power cap pdu (warn)"}

    def test_a_claim_that_wants_nothing_does_nothing(self, zone: ZoneBench) -> None:
        some = FeederClaim(cap="pdu", miners=frozenset((M[1],)))
        zone.auto().claim(FeederClaim(cap="feed"), some).run(5)
        assert not zone.inhibited
        assert not zone.demands

    def test_lowers_who_it_names_in_that_order_one_step_each(self, zone: ZoneBench) -> None:
        zone.auto().claim(FeederClaim(cap="feed", lower=(M[3], M[1], miner_id(99)))).step()
        assert zone.lowered == ["m-3", "m-1"]
        assert zone.demands[0].why == "power cap feed is above its shed limit"
        assert zone.demands[0].priority is Priority.TRIP
        assert zone.command(3).step().lowered == ["m-1"]
        assert zone.stopped(1).run(1).lowered == []

    def test_a_trip_of_the_zone(self, zone: ZoneBench) -> None:
        zone.auto().claim(TRIP).step()
        assert zone.mode is Mode.TRIPPED
        [trip] = zone.state.trips
        assert (trip.interlock, trip.first_out) == ("cap/feed", "feed 900 A, trip limit 800 A")
        assert trip.id == f"cap-feed-{ZONE}-{trip.at_ms}"
        assert "breakers" in zone.kinds(EventKind.TRIPPED)[0].advice
        zone.run(5)
        assert len(zone.state.trips) == 1
        assert isinstance(reset(zone), Denied)
        zone.claim(FeederClaim(cap="feed"), FeederClaim(cap="other", cause=True)).step()
        assert isinstance(reset(zone), Granted)

    def test_a_cap_that_left_the_file_has_no_cause(self, zone: ZoneBench) -> None:
        zone.auto().claim(TRIP).step().claim().step()
        assert isinstance(reset(zone), Granted)

    def test_a_trip_of_some_miners_latches_those_that_run(self, zone: ZoneBench) -> None:
        claim = FeederClaim(
            cap="pdu", miners=frozenset((M[2], M[3], miner_id(99))), trip="pdu 40 A", cause=True
        )
        zone.auto().stopped(3).step().claim(claim).step()
        assert zone.mode is Mode.LOCAL_AUTO
        assert zone.stopping == ["m-2"]
        assert [(t.interlock, t.device) for t in zone.state.trips] == [("cap/pdu", "m-2")]
        zone.run(5)
        assert len(zone.state.trips) == 1
        assert isinstance(reset(zone), Denied)
        zone.claim(FeederClaim(cap="pdu", miners=frozenset((M[2],)))).stopped(2).step()
        assert isinstance(reset(zone), Granted)
        assert zone.step().wanted(DemandKind.START) == ["m-2"]


class TestMains:
    def test_hold_inhibits_and_moves_nothing(self, zone: ZoneBench) -> None:
        zone.auto().mains = MainsClaim.HOLD
        zone.step()
        assert set(zone.inhibited.values()) == {"on battery, or mains not back for long enough"}
        assert not zone.demands

    def test_safe_preset_asks_it_of_all_that_run(self, zone: ZoneBench) -> None:
        zone.auto().stopped(2).step().mains = MainsClaim.SAFE_PRESET
        zone.step()
        assert zone.wanted(DemandKind.SAFE_PRESET) == ["m-1", "m-3", "m-4"]
        assert {(d.priority, d.why) for d in zone.demands} == {(Priority.SAFE, "on battery: safe presets")}
        assert not zone.wanted(DemandKind.COOLING), "fans draw from the same battery"

    def test_safe_preset_leaves_a_zone_in_manual_alone(self, zone: ZoneBench) -> None:
        answer = asks.set_mode(zone.auto().state, ZONE, Mode.MANUAL, by="ada", reason="x")
        assert isinstance(answer, Granted)
        zone.state, zone.mains = answer.state, MainsClaim.SAFE_PRESET
        assert not zone.step().demands
        zone.mains = MainsClaim.STOP
        assert len(zone.step().stopping) == 4, "an empty battery does not"

    def test_stop_latches_nothing_and_what_ran_comes_back(self, zone: ZoneBench) -> None:
        zone.auto().stopped(4).step().mains = MainsClaim.STOP
        zone.step()
        assert zone.stopping == ["m-1", "m-2", "m-3"]
        assert {(d.priority, d.why) for d in zone.demands} == {(Priority.TRIP, "mains are gone")}
        assert zone.outputs is not None
        assert zone.outputs.durable
        assert not zone.state.trips
        zone.run(5).stopped().run(5)
        assert (zone.mode, zone.state.pending) == (Mode.LOCAL_AUTO, (M[1], M[2], M[3]))
        for mains in (MainsClaim.STOP, MainsClaim.SAFE_PRESET, MainsClaim.HOLD):
            zone.mains = mains
            assert not zone.run(1).wanted(DemandKind.START)
        zone.mains = MainsClaim.NONE
        assert zone.step().wanted(DemandKind.START) == ["m-1", "m-2", "m-3"]

    def test_stop_calls_back_a_start_that_is_under_way(self, zone: ZoneBench) -> None:
        zone.auto().stopped().step()
        zone.state = asks.bring_back(zone.state, (M[1],))
        zone.step().command(1, start=True).step().step()
        zone.mains = MainsClaim.STOP
        assert zone.step().stopping == ["m-1"]
        assert zone.state.starting == ()
        assert M[1] in zone.state.pending

    def test_a_latched_miner_does_not_come_back(self, zone: ZoneBench) -> None:
        zone.auto().hot(1, 89).step().mains = MainsClaim.STOP
        zone.run(2)
        assert M[1] not in zone.state.pending

    def test_a_tripped_zone_stays_tripped(self, zone: ZoneBench) -> None:
        zone.auto().claim(TRIP).step().mains = MainsClaim.STOP
        zone.step()
        assert {d.why for d in zone.demands if d.kind is DemandKind.STOP} == {"trip"}
        zone.mains = MainsClaim.SAFE_PRESET
        assert not zone.step().wanted(DemandKind.SAFE_PRESET)


class TestHeld:
    def pending(self, zone: ZoneBench) -> ZoneBench:
        zone.auto().stopped().step()
        zone.state = asks.bring_back(zone.state, (M[1], M[2], M[1]))
        return zone

    def test_who_is_brought_back_starts(self, zone: ZoneBench) -> None:
        assert self.pending(zone).state.pending == (M[1], M[2])
        assert zone.step().wanted(DemandKind.START) == ["m-1", "m-2"]

    def test_who_is_held_does_not_and_keeps_his_place(self, zone: ZoneBench) -> None:
        self.pending(zone).held = frozenset((M[1],))
        assert zone.step().wanted(DemandKind.START) == ["m-2"]
        zone.mining(1).run(1)
        assert M[1] in zone.state.pending, "it may still be on its way down"
        zone.held = frozenset()
        assert zone.stopped(1).step().wanted(DemandKind.START) == ["m-1", "m-2"]

    def test_who_is_held_leaves_the_open_batch(self, zone: ZoneBench) -> None:
        self.pending(zone).step().command(1, start=True).command(2, start=True).step()
        assert zone.state.starting == (M[1], M[2])
        zone.held = frozenset((M[1],))
        assert zone.step().state.starting == (M[2],)

    def test_a_latched_miner_is_not_brought_back(self, zone: ZoneBench) -> None:
        zone.auto().hot(1, 89).step().stopped(1).step()
        assert asks.bring_back(zone.state, (M[1], M[2])).pending == (M[2],)

    def test_taken_over_leaves_the_restart(self, zone: ZoneBench) -> None:
        self.pending(zone).step().command(1, start=True).step()
        taken = asks.take_over(zone.state, (M[1],))
        assert (taken.pending, taken.starting) == ((M[2],), ())

    def test_safe_does_not_wait_for_who_is_held(self, zone: ZoneBench) -> None:
        zone.stopped().step()
        zone.state = asks.bring_back(zone.state, (M[1],))
        zone.held = frozenset((M[1],))
        assert zone.run(11).mode is Mode.LOCAL_AUTO

    @pytest.mark.parametrize("held", [True, False])
    def test_safe_waits_for_who_is_to_start(self, zone: ZoneBench, held: bool) -> None:
        zone.stopped().step()
        zone.state = asks.bring_back(zone.state, (M[1],))
        zone.held = frozenset((M[2],)) if held else frozenset()
        assert zone.run(30).mode is Mode.SAFE
