"""Levels on both sides: high limits and low ones mirror each other; tightening; the delay of a trip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import HighLimits, LowLimits
from edge_agent.guardian.interlocks import levels
from edge_agent.guardian.interlocks.levels import CLEAR, Level, Limits, Standing

AIR = HighLimits(release=33, warn=35, shed=40, trip=45, on_delay_s=4, off_delay_s=10)
FLOW = LowLimits(release=18, warn=16, shed=12, trip=8, on_delay_s=4, off_delay_s=10)


def stood(
    limits: Limits, *pieces: tuple[float | None, int], tighten: float = 0.0, trip_after_s: float = 0.0
) -> Standing:
    standing = CLEAR
    for value, seconds in pieces:
        for _ in range(seconds):
            standing = levels.step(standing, value, limits, 1.0, tighten=tighten, trip_after_s=trip_after_s)
    return standing


class TestLow:
    @pytest.mark.parametrize(
        ("pieces", "level"),
        [
            ([(16.1, 60)], Level.NORMAL),
            ([(16, 3)], Level.NORMAL),
            ([(16, 4)], Level.WARN),
            ([(12, 4)], Level.SHED),
            ([(12.1, 4)], Level.WARN),
            ([(8.1, 4)], Level.SHED),
            ([(8, 1)], Level.TRIP),
            ([(0, 1)], Level.TRIP),
            ([(12, 4), (17.9, 60)], Level.SHED),
            ([(12, 4), (18, 9)], Level.SHED),
            ([(12, 4), (18, 10)], Level.NORMAL),
            ([(8, 1), (None, 60)], Level.TRIP),
        ],
    )
    def test_the_dangerous_side_is_below(self, pieces: list[tuple[float | None, int]], level: Level) -> None:
        assert stood(FLOW, *pieces).level is level

    def test_excess_counts_towards_the_danger(self) -> None:
        assert levels.excess(10.0, FLOW.shed, FLOW) == 2.0
        assert levels.excess(10.0, FLOW.shed, FLOW, 0.5) == 2.5
        assert levels.excess(41.0, AIR.shed, AIR) == 1.0
        assert levels.excess(39.0, AIR.shed, AIR) == -1.0

    @given(
        st.lists(st.one_of(st.none(), st.floats(-100, 100)), max_size=40),
        st.sampled_from([0.0, 1.0, 3.0]),
    )
    def test_low_limits_are_high_limits_seen_in_a_mirror(
        self, values: list[float | None], tighten: float
    ) -> None:
        mirror = HighLimits(release=-18, warn=-16, shed=-12, trip=-8, on_delay_s=4, off_delay_s=10)
        low, high = CLEAR, CLEAR
        for value in values:
            low = levels.step(low, value, FLOW, 1.0, tighten=tighten)
            negative = None if value is None else -value
            high = levels.step(high, negative, mirror, 1.0, tighten=tighten)
            assert low == high


class TestTighten:
    @pytest.mark.parametrize(
        ("limits", "value", "level"),
        [
            (AIR, 32.9, Level.NORMAL),
            (AIR, 33.0, Level.WARN),
            (AIR, 38.0, Level.SHED),
            (AIR, 43.0, Level.TRIP),
            (FLOW, 18.1, Level.NORMAL),
            (FLOW, 18.0, Level.WARN),
            (FLOW, 14.0, Level.SHED),
            (FLOW, 10.0, Level.TRIP),
        ],
    )
    def test_every_limit_stands_closer(self, limits: Limits, value: float, level: Level) -> None:
        assert stood(limits, (value, 4), tighten=2.0).level is level

    def test_release_too(self) -> None:
        assert stood(AIR, (36, 4), (31.1, 20), tighten=2.0).level is Level.WARN
        assert stood(AIR, (36, 4), (31.0, 10), tighten=2.0).level is Level.NORMAL

    def test_sheds_and_trips_look_at_the_closer_limit(self) -> None:
        hot = stood(AIR, (43, 4), tighten=2.0)
        assert hot.level is Level.TRIP
        assert levels.sheds(hot, 38.0, AIR, 2.0)
        assert not levels.sheds(hot, 37.9, AIR, 2.0)
        assert levels.trips(hot, 43.0, AIR, 2.0)
        assert not levels.trips(hot, 42.9, AIR, 2.0)


class TestTripDelay:
    def test_a_spike_of_a_zones_probe_is_no_trip(self) -> None:
        assert stood(AIR, (99, 3), (24, 1), (99, 3), trip_after_s=4).level is Level.NORMAL

    def test_beyond_trip_the_lower_levels_count_on(self) -> None:
        assert stood(AIR, (38, 2), (99, 2), trip_after_s=4).level is Level.WARN
        assert stood(AIR, (42, 2), (99, 2), trip_after_s=4).level is Level.SHED

    def test_it_trips_when_it_lasts(self) -> None:
        assert stood(AIR, (45, 4), trip_after_s=4).level is Level.TRIP

    def test_at_once_without_one(self) -> None:
        assert stood(AIR, (45, 1)).level is Level.TRIP


class TestDue:
    def test_a_trip_is_due_while_the_value_itself_is_beyond_the_limit(self) -> None:
        tripped = stood(AIR, (45, 1))
        assert levels.trips(tripped, 45.0, AIR)
        assert not levels.trips(tripped, 44.9, AIR)
        assert not levels.trips(tripped, None, AIR)
        assert not levels.trips(stood(AIR, (42, 4)), 50.0, AIR), "the level has to say so too"

    def test_words(self) -> None:
        assert [level.word for level in Level] == ["normal", "warn", "shed", "trip"]

    def test_nothing_is_remembered_of_a_calm_value(self) -> None:
        assert levels.step(CLEAR, 34.9, AIR, 1.0) is CLEAR
        assert levels.step(CLEAR, None, AIR, 1.0) is CLEAR
