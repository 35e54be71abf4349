"""What one step of a zone tells, word for word, and what it remembers afterwards."""

from pathlib import Path

import pytest

from edge_agent.guardian.interlocks import asks
from edge_agent.guardian.interlocks.asks import Granted
from edge_agent.guardian.interlocks.cooling import Cooling
from edge_agent.guardian.interlocks.inputs import DemandKind, FeederClaim, Finding, MainsClaim, ModelClaim
from edge_agent.guardian.interlocks.state import SafeWhy
from edge_agent.ipc import Mode, TripInfo
from shared.alarms import EventKind, Severity
from support import zones
from support.guardian import ZONE, ZoneBench, make_site, miner_id

OVER = FeederClaim(cap="feed", trip="feed 9 A, trip limit 8 A", cause=True)
"""A cap that trips the whole zone at once."""


def restarting(zone: ZoneBench) -> ZoneBench:
    """m-1 to m-3 wait for the restart, m-4 runs; the starts of m-1 and m-2 are permitted, m-1's confirmed."""
    zone.auto().stopped(1, 2, 3).step()
    zone.state = asks.bring_back(zone.state, [miner_id(1), miner_id(2), miner_id(3)])
    zone.command(1, start=True).command(2, start=True).step().mining(1).step()
    assert zone.state.pending == (miner_id(2), miner_id(3))
    assert zone.state.starting == (miner_id(2),)
    assert zone.state.batch == 1
    return zone


class TestModes:
    def test_a_change_says_from_where_to_where_and_why(self, zone: ZoneBench) -> None:
        assert zone.auto().kinds(EventKind.MODE) == [
            Finding(
                kind=EventKind.MODE,
                severity=Severity.LOW,
                key="mode/hall-1",
                title="Zone hall-1: safe → local-auto (stable and cooling proven)",
                zone=ZONE,
                data={"from": "safe", "to": "local-auto", "cause": "stable and cooling proven"},
            )
        ]

    def test_a_trip_says_what_was_first(self, zone: ZoneBench) -> None:
        zone.auto().cool(5).run(4)
        [_, told] = zone.kinds(EventKind.MODE)
        assert told.title == (
            "Zone hall-1: local-auto → tripped (trip: cooling lost: wall-1 speed_pct is 5, must be above 20)"
        )

    def test_a_model_climbs_and_falls_step_by_step(self, zone: ZoneBench) -> None:
        zone.auto().findings.clear()
        for claim in (ModelClaim.SHADOW, ModelClaim.ACTIVE, ModelClaim.SHADOW, ModelClaim.NONE):
            zone.model = claim
            zone.run(2)
        assert zone.titles(EventKind.MODE) == [
            "Zone hall-1: local-auto → ml-shadow (verified assignment)",
            "Zone hall-1: ml-shadow → ml-active (stage active and swapped)",
            "Zone hall-1: ml-active → ml-shadow (demoted to shadow)",
            "Zone hall-1: ml-shadow → local-auto (assignment withdrawn)",
        ]

    def test_an_active_model_that_is_gone_leaves_no_shadow(self, zone: ZoneBench) -> None:
        zone.auto().model = ModelClaim.ACTIVE
        assert zone.step().mode is Mode.ML_ACTIVE
        zone.model = ModelClaim.NONE
        assert zone.step().mode is Mode.LOCAL_AUTO
        assert zone.titles(EventKind.MODE)[-1] == "Zone hall-1: ml-active → local-auto (model invalid)"

    def test_a_lost_lease_is_the_reason_at_once_and_batches_count_anew(self, zone: ZoneBench) -> None:
        restarting(zone).mining(2).step()
        assert zone.state.batches == 1
        zone.lease_overdue_s = 121.0
        zone.step()
        assert (zone.mode, zone.state.safe_why, zone.state.batches) == (Mode.SAFE, SafeWhy.LEASE, 0)

    def test_with_its_lease_a_start_stays_a_start(self, zone: ZoneBench) -> None:
        assert zone.run(5).state.safe_why is SafeWhy.START

    def test_a_lost_lease_does_not_end_a_safe_stop(self, zone: ZoneBench) -> None:
        zone.auto().state = asks.safe_stop(zone.state, ZONE, by="ada", reason="smoke").state
        zone.lease_overdue_s = 121.0
        assert zone.run(5).state.safe_why is SafeWhy.STOP


class TestOfWhichZone:
    def test_heat_of_a_miner(self, zone: ZoneBench) -> None:
        zone.auto().hot(2, 79).run(5)
        assert [(told.key, told.zone) for told in zone.kinds(EventKind.ALARM)] == [("chip-temp/m-2", ZONE)]

    def test_a_batch(self, zone: ZoneBench) -> None:
        restarting(zone).mining(2).step()
        assert zone.kinds(EventKind.SYSTEM) == [
            Finding(
                kind=EventKind.SYSTEM,
                severity=Severity.LOW,
                key="restart/hall-1",
                title="restart batch confirmed: 2 miners of zone hall-1 run again, 1 to go",
                zone=ZONE,
                data={"confirmed": 2, "left": 1},
            )
        ]


class TestNeverHeard:
    def test_the_alarm_comes_once_after_its_delay_and_ends_once(self, zone: ZoneBench) -> None:
        zone.silent().run(zone.site.timing.lost_after_s)
        assert not zone.titles(EventKind.ALARM)
        silent = "No miner of zone hall-1 has answered since the guardian started"
        assert zone.step().titles(EventKind.ALARM) == [silent]
        zone.run(10)
        assert zone.titles(EventKind.ALARM).count(silent) == 1
        assert not zone.titles(EventKind.ALARM_CLEARED)
        zone.put(age_s=0.5).step()
        assert "Zone hall-1 answers" in zone.titles(EventKind.ALARM_CLEARED)
        assert zone.run(5).titles(EventKind.ALARM_CLEARED).count("Zone hall-1 answers") == 1

    def test_who_was_heard_is_silent_for_no_time(self, zone: ZoneBench) -> None:
        assert zone.silent().run(3).state.silent_for_s == 3.0
        assert zone.put(age_s=0.5).step().state.silent_for_s == 0.0

    def test_lost_cooling_counts_from_the_first_answer(self, zone: ZoneBench) -> None:
        assert zone.silent().cool(None).run(60).state.cooling == Cooling()
        zone.put(age_s=0.5).run(3.5)
        assert (zone.mode, zone.state.cooling) == (Mode.SAFE, Cooling(low_for_s=3.5))
        assert zone.step().mode is Mode.TRIPPED

    def test_good_cooling_is_proven_all_the_same(self, zone: ZoneBench) -> None:
        assert zone.silent().run(10).state.cooling == Cooling(good_for_s=10.0, proven=True)


class TestLatch:
    def test_who_is_latched_with_its_zone_waits_for_no_restart(self, zone: ZoneBench) -> None:
        zone.auto().hot(1, 89).hot(2, 89).hot(3, 89).step()
        assert zone.mode is Mode.TRIPPED
        assert zone.state.pending == (miner_id(4),)

    def test_a_latch_of_one_miner_brings_nobody_back(self, zone: ZoneBench) -> None:
        """Not even one that is not heard now: it was not stopped."""
        assert zone.auto().silent(2, age_s=7.0).hot(1, 89).step().state.pending == ()

    def test_a_trip_calls_back_a_start_that_is_under_way(self, zone: ZoneBench) -> None:
        zone.auto().stopped(2).command(2, start=True).step().step()
        assert zone.state.miners[miner_id(2)].stopped
        zone.claim(OVER).step()
        assert zone.mode is Mode.TRIPPED
        assert zone.stopping == ["m-1", "m-2", "m-3", "m-4"], "it is not known to be stopped"
        assert zone.state.miners[miner_id(2)].starts == 0

    def test_a_latch_of_another_miner_does_not(self, zone: ZoneBench) -> None:
        zone.auto().stopped(2).command(2, start=True).step().step()
        zone.hot(1, 89).step()
        assert zone.stopping == ["m-1"]
        track = zone.state.miners[miner_id(2)]
        assert (track.stopped, track.starts) == (True, 1)

    def test_a_latch_forgets_the_open_batch(self, zone: ZoneBench) -> None:
        """Whoever of it is still stopped is asked for anew, with the rest."""
        restarting(zone).hot(4, 89).step()
        assert zone.mode is Mode.LOCAL_AUTO
        assert (zone.state.starting, zone.state.batch, zone.state.batches) == ((), 0, 0)
        assert zone.wanted(DemandKind.START) == ["m-2", "m-3"]
        assert not zone.kinds(EventKind.SYSTEM), "no batch is told as confirmed"

    def test_mains_that_are_gone_forget_it_too(self, zone: ZoneBench) -> None:
        restarting(zone).mains = MainsClaim.STOP
        zone.step()
        assert (zone.state.starting, zone.state.batch) == ((), 0)
        assert zone.state.pending == (miner_id(2), miner_id(3), miner_id(1), miner_id(4))


class TestStoppedByAShed:
    WINDOW_S = 42.0
    """`timing.stop_confirm_s` and `timing.lost_after_s` of the small site."""

    @pytest.mark.parametrize(("after_s", "pending"), [(41.5, (miner_id(1),)), (42.0, ())])
    def test_a_stop_counts_as_the_sheds_until_its_time_is_over(
        self, zone: ZoneBench, after_s: float, pending: tuple[str, ...]
    ) -> None:
        assert zone.site.timing.stop_confirm_s + zone.site.timing.lost_after_s == self.WINDOW_S
        zone.auto().command(1, settle_s=0.0, shed_stop=True).step()
        assert zone.run(after_s - zone.STEP_S).stopped(1).step().state.pending == pending

    def test_one_shed_explains_one_stop(self, zone: ZoneBench) -> None:
        zone.auto().command(1, settle_s=0.0, shed_stop=True).step().stopped(1).step()
        assert zone.state.pending == (miner_id(1),)
        assert zone.state.miners[miner_id(1)].shed_stop_s == 0.0
        assert zone.mining(1).step().state.pending == ()
        assert zone.stopped(1).step().state.pending == (), "the second stop is somebody else's"


class TestStatus:
    def test_of_a_plain_start(self, zone: ZoneBench) -> None:
        told = zone.step().status
        assert (told.mode, told.cooling_proven, told.trips, told.restarting) == (Mode.SAFE, False, (), False)
        assert told.bypass_asked == {}
        assert told.why == "the guardian has started; goes on by itself once cooling is proven"

    def test_of_a_zone_that_runs(self, zone: ZoneBench) -> None:
        told = zone.auto().status
        assert (told.mode, told.cooling_proven, told.trips) == (Mode.LOCAL_AUTO, True, ())
        assert told.why == "", "only SAFE has to be explained"

    def test_of_a_trip(self, zone: ZoneBench) -> None:
        zone.auto().claim(OVER).step()
        assert (zone.status.mode, zone.status.why, zone.status.restarting) == (Mode.TRIPPED, "", False)
        assert zone.status.trips == (
            TripInfo(
                id=f"cap-feed-hall-1-{zone.at_ms}",
                zone=ZONE,
                interlock="cap/feed",
                at_ms=zone.at_ms,
                first_out="feed 9 A, trip limit 8 A",
                cause_present=True,
                device=None,
            ),
        )

    def test_of_a_restart(self, zone: ZoneBench) -> None:
        assert restarting(zone).status.restarting is True
        zone.mining(2, 3).step()
        assert zone.status.restarting is False

    def test_of_a_trip_with_miners_that_wait(self, zone: ZoneBench) -> None:
        restarting(zone).claim(OVER).step()
        assert zone.state.pending
        assert zone.status.restarting is False

    @pytest.mark.parametrize(
        ("edit", "words"),
        [
            (zones.edits(zones.CONTACTED, zones.KEY), "asked by ada: turn the key switch"),
            (zones.CONTACTED, "asked by ada: another person has to confirm it"),
        ],
    )
    def test_of_a_bypass_that_waits(self, tmp_path: Path, edit: zones.Edit, words: str) -> None:
        zone = ZoneBench(make_site(tmp_path, edit=edit)).auto()
        answer = asks.open_bypass(
            zone.state,
            zone.zone,
            zone.site.timing,
            interlock="inlet_air_c",
            seconds=900.0,
            by="ada",
            reason="probe swap",
        )
        assert isinstance(answer, Granted)
        zone.state = answer.state
        assert zone.step().status.bypass_asked == {"inlet_air_c": words}
