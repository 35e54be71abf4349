"""Each limit at its very edge: on it, and next to it."""

import pytest

from edge_agent.config import CoolingProof, HighLimits
from edge_agent.guardian.interlocks import cooling, levels
from edge_agent.guardian.interlocks.cooling import UNPROVEN
from edge_agent.guardian.interlocks.levels import CLEAR, Level, Standing
from edge_agent.ipc import Mode
from shared.alarms import EventKind
from support.guardian import ZoneBench

PROOF = CoolingProof(
    device="w", point="speed_pct", lost_below=20, proven_above=40, lost_after_s=4, proven_for_s=10
)


def limits(*, on_delay_s: float = 4.0, off_delay_s: float = 10.0) -> HighLimits:
    return HighLimits(release=74, warn=78, shed=83, trip=88, on_delay_s=on_delay_s, off_delay_s=off_delay_s)


def heated(limits: HighLimits, *values: float | None) -> Standing:
    heat = CLEAR
    for value in values:
        heat = levels.step(heat, value, limits, 1.0)
    return heat


class TestTemperature:
    def test_the_delay_of_shed_counts_only_time_above_shed(self) -> None:
        assert heated(limits(), 80, 80, 80, 80, 84, 84, 84).level is Level.WARN
        assert heated(limits(), 80, 80, 80, 80, 84, 84, 84, 84).level is Level.SHED
        assert heated(limits(), 84, 84, 84, 80, 84).level is Level.WARN

    def test_without_an_on_delay_a_limit_counts_at_once(self) -> None:
        assert heated(limits(on_delay_s=0), 83).level is Level.SHED
        assert heated(limits(on_delay_s=0), 78).level is Level.WARN

    def test_without_an_off_delay_the_first_value_at_release_is_enough(self) -> None:
        assert heated(limits(off_delay_s=0), 90, 74.1).level is Level.TRIP
        assert heated(limits(off_delay_s=0), 90, 74) == CLEAR

    def test_an_off_delay_below_one_second_counts(self) -> None:
        hot = heated(limits(), 90)
        soon = levels.step(hot, 70, limits(off_delay_s=0.5), 0.25)
        assert soon.level is Level.TRIP
        assert levels.step(soon, 70, limits(off_delay_s=0.5), 0.25) == CLEAR

    def test_a_level_never_falls_but_by_release(self) -> None:
        assert heated(limits(), 90, 84, 84, 84, 84, 79, 79, 79, 79).level is Level.TRIP

    def test_the_levels_are_in_order_of_urgency(self) -> None:
        assert list(Level) == [Level.NORMAL, Level.WARN, Level.SHED, Level.TRIP]
        assert [int(level) for level in Level] == [0, 1, 2, 3]


class TestCoolingProof:
    def test_on_the_lower_limit_it_is_not_low(self) -> None:
        good = cooling.step(UNPROVEN, 40.0, PROOF, 10.0)
        assert cooling.step(good, 20.0, PROOF, 60.0).proven
        assert cooling.step(good, 19.9, PROOF, 4.0).lost
        assert not cooling.step(good, 19.9, PROOF, 3.9).lost

    def test_on_the_upper_limit_it_is_good(self) -> None:
        assert cooling.step(UNPROVEN, 40.0, PROOF, 10.0).proven
        assert not cooling.step(UNPROVEN, 39.9, PROOF, 60.0).proven

    def test_a_low_moment_starts_the_proof_anew(self) -> None:
        short = cooling.step(cooling.step(UNPROVEN, 50.0, PROOF, 9.0), 10.0, PROOF, 0.1)
        assert not cooling.step(short, 50.0, PROOF, 9.9).proven


class TestSightAtItsEdges:
    """Site: stale above 6 s, lost above 12 s; alarm after 30 s without data."""

    def test_a_sample_that_is_just_old_enough_is_fresh(self, zone: ZoneBench) -> None:
        assert not zone.auto().put(1, age_s=6.0).run(60).inhibited
        assert zone.put(1, age_s=6.1).step().inhibited == {"m-1": "no data (stale)"}

    def test_so_it_is_of_a_miner_that_was_just_changed(self, zone: ZoneBench) -> None:
        assert not zone.auto().put(1, age_s=6.0).command(1).run(60).inhibited

    def test_stale_becomes_lost(self, zone: ZoneBench) -> None:
        assert zone.auto().put(1, age_s=12.0).step().inhibited == {"m-1": "no data (stale)"}
        assert zone.put(1, age_s=12.1).step().inhibited == {"m-1": "no data (lost)"}

    def test_the_alarm_comes_in_the_thirtieth_second(self, zone: ZoneBench) -> None:
        zone.auto().silent(1).run(29.5)
        assert not zone.kinds(EventKind.ALARM)
        zone.step()
        assert [finding.key for finding in zone.kinds(EventKind.ALARM)] == ["no-data/m-1"]

    def test_the_zone_trips_when_blind_for_the_whole_of_lost_after(self, zone: ZoneBench) -> None:
        zone.auto().put(chip_c=None, board_c=None).run(11.5)
        assert zone.mode is Mode.LOCAL_AUTO
        assert zone.step().mode is Mode.TRIPPED

    @pytest.mark.parametrize(("age_s", "seen"), [(6.0, True), (6.1, False)])
    def test_of_an_old_sample_no_temperature_is_believed(
        self, zone: ZoneBench, age_s: float, seen: bool
    ) -> None:
        zone.auto().put(1, age_s=age_s, chip_c=90.0).step()
        assert bool(zone.state.trips) is seen
