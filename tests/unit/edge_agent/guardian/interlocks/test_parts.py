"""Each interlock by itself: limits, delays, hysteresis; the mode table; quality of readings."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import CoolingProof, HighLimits
from edge_agent.guardian.interlocks import cooling, levels, modes, quality
from edge_agent.guardian.interlocks.cooling import UNPROVEN
from edge_agent.guardian.interlocks.levels import CLEAR, Level, Standing
from edge_agent.guardian.interlocks.modes import Cause
from edge_agent.ipc import Mode
from shared.telemetry import METRICS, MinerState, Quality, Reading

LIMITS = HighLimits(release=74, warn=78, shed=83, trip=88, on_delay_s=4, off_delay_s=10)
PROOF = CoolingProof(
    device="w", point="speed_pct", lost_below=20, proven_above=40, lost_after_s=4, proven_for_s=10
)


def heated(*pieces: tuple[float | None, int]) -> Standing:
    heat = CLEAR
    for value, seconds in pieces:
        for _ in range(seconds):
            heat = levels.step(heat, value, LIMITS, 1.0)
    return heat


class TestTemperature:
    @pytest.mark.parametrize(
        ("pieces", "level"),
        [
            ([(77.9, 60)], Level.NORMAL),
            ([(78, 3)], Level.NORMAL),
            ([(78, 4)], Level.WARN),
            ([(83, 3)], Level.NORMAL),
            ([(83, 4)], Level.SHED),
            ([(88, 1)], Level.TRIP),
            ([(79, 3), (77, 1), (79, 3)], Level.NORMAL),
            ([(84, 4), (80, 60)], Level.SHED),
            ([(84, 4), (74, 9)], Level.SHED),
            ([(84, 4), (74, 10)], Level.NORMAL),
            ([(84, 4), (74, 9), (75, 1), (74, 9)], Level.SHED),
            ([(90, 1), (None, 600)], Level.TRIP),
            ([(None, 600)], Level.NORMAL),
            ([(90, 1), (70, 10)], Level.NORMAL),
        ],
    )
    def test_levels(self, pieces: list[tuple[float | None, int]], level: Level) -> None:
        assert heated(*pieces).level is level

    def test_sheds_only_while_above_shed(self) -> None:
        hot = heated((84, 5))
        assert levels.sheds(hot, 83.0, LIMITS)
        assert not levels.sheds(hot, 82.9, LIMITS)
        assert not levels.sheds(hot, None, LIMITS)
        assert not levels.sheds(CLEAR, 99.0, LIMITS)

    @given(st.lists(st.one_of(st.none(), st.floats(0, 120)), max_size=60))
    def test_never_above_what_was_seen(self, values: list[float | None]) -> None:
        heat = CLEAR
        for value in values:
            heat = levels.step(heat, value, LIMITS, 1.0)
        top = max((v for v in values if v is not None), default=0.0)
        if top < LIMITS.trip:
            assert heat.level < Level.TRIP
        if top < LIMITS.warn:
            assert heat == CLEAR


class TestCooling:
    def run(self, *pieces: tuple[float | None, int]) -> cooling.Cooling:
        state = UNPROVEN
        for value, seconds in pieces:
            for _ in range(seconds):
                state = cooling.step(state, value, PROOF, 1.0)
        return state

    @pytest.mark.parametrize(
        ("pieces", "proven", "lost"),
        [
            ([(40, 9)], False, False),
            ([(40, 10)], True, False),
            ([(40, 10), (30, 60)], True, False),
            ([(40, 10), (19.9, 1)], False, False),
            ([(40, 10), (19.9, 4)], False, True),
            ([(40, 10), (None, 4)], False, True),
            ([(0, 4), (30, 60)], False, True),
            ([(0, 4), (41, 1)], False, False),
            ([(40, 9), (39, 1), (40, 9)], False, False),
        ],
    )
    def test_proof(self, pieces: list[tuple[float | None, int]], proven: bool, lost: bool) -> None:
        state = self.run(*pieces)
        assert (state.proven, state.lost) == (proven, lost)


class TestModes:
    ALLOWED = {
        (Mode.MANUAL, Mode.LOCAL_AUTO),
        (Mode.MANUAL, Mode.SAFE),
        (Mode.MANUAL, Mode.TRIPPED),
        (Mode.LOCAL_AUTO, Mode.MANUAL),
        (Mode.LOCAL_AUTO, Mode.ML_SHADOW),
        (Mode.LOCAL_AUTO, Mode.SAFE),
        (Mode.LOCAL_AUTO, Mode.TRIPPED),
        (Mode.ML_SHADOW, Mode.MANUAL),
        (Mode.ML_SHADOW, Mode.LOCAL_AUTO),
        (Mode.ML_SHADOW, Mode.ML_ACTIVE),
        (Mode.ML_SHADOW, Mode.SAFE),
        (Mode.ML_SHADOW, Mode.TRIPPED),
        (Mode.ML_ACTIVE, Mode.MANUAL),
        (Mode.ML_ACTIVE, Mode.LOCAL_AUTO),
        (Mode.ML_ACTIVE, Mode.ML_SHADOW),
        (Mode.ML_ACTIVE, Mode.SAFE),
        (Mode.ML_ACTIVE, Mode.TRIPPED),
        (Mode.SAFE, Mode.MANUAL),
        (Mode.SAFE, Mode.LOCAL_AUTO),
        (Mode.SAFE, Mode.TRIPPED),
        (Mode.TRIPPED, Mode.SAFE),
    }
    """The table of the contracts, cell by cell."""

    def test_the_listed_transitions_and_no_others(self) -> None:
        found = {(mode, after) for mode in Mode for cause in Cause if (after := modes.next_mode(mode, cause))}
        assert found == self.ALLOWED

    def test_every_mode_trips_and_only_a_reset_leads_out(self) -> None:
        for mode in Mode:
            if mode is not Mode.TRIPPED:
                assert modes.next_mode(mode, Cause.TRIP) is Mode.TRIPPED
        assert dict(modes.TABLE[Mode.TRIPPED]) == {Cause.RESET: Mode.SAFE}


class TestQuality:
    def judge(self, **readings: Reading) -> dict[str, Reading]:
        return quality.judge({}, readings, 100.0, MinerState.MINING)[1]

    @pytest.mark.parametrize(
        ("value", "flag"),
        [
            (math.nan, Quality.SENSOR_ERROR),
            (math.inf, Quality.SENSOR_ERROR),
            (255.0, Quality.OUT_OF_RANGE),
            (150.0, Quality.OUT_OF_RANGE),
            (-40.0, Quality.OUT_OF_RANGE),
        ],
    )
    def test_bad_values_lose_their_value_and_keep_a_flag(self, value: float, flag: Quality) -> None:
        assert self.judge(chip_temp_max_c=Reading(value)) == {"chip_temp_max_c": Reading(None, flag)}

    def test_a_zero_pair_is_no_data(self) -> None:
        judged = self.judge(chip_temp_max_c=Reading(0.0), chip_temp_min_c=Reading(0.0))
        assert {r.quality for r in judged.values()} == {Quality.MISSING}

    def test_a_cold_but_true_pair_stays(self) -> None:
        judged = self.judge(chip_temp_max_c=Reading(4.0), chip_temp_min_c=Reading(0.0))
        assert judged["chip_temp_max_c"].usable == 4.0

    def test_unknown_points_are_dropped(self) -> None:
        assert self.judge(moon_phase=Reading(1.0)) == {}

    def test_a_value_that_stands_still_while_power_moves_is_stuck(self) -> None:
        still: quality.Stillness = {}
        flags = []
        for second in range(0, 700, 10):
            watts = 3000.0 if second % 20 else 2500.0
            readings = {"chip_temp_max_c": Reading(65.0), "power_w": Reading(watts)}
            still, judged = quality.judge(still, readings, float(second), MinerState.MINING)
            flags.append(judged["chip_temp_max_c"].quality)
        assert flags[59] is Quality.GOOD
        assert flags[60] is Quality.STUCK

    @pytest.mark.parametrize("power_w", [3000.0, None])
    def test_a_value_that_stands_still_with_steady_or_unknown_power_is_not(
        self, power_w: float | None
    ) -> None:
        still: quality.Stillness = {}
        for second in range(0, 2000, 10):
            readings = {"chip_temp_max_c": Reading(65.0)}
            if power_w is not None:
                readings["power_w"] = Reading(power_w)
            still, judged = quality.judge(still, readings, float(second), MinerState.MINING)
            assert judged["chip_temp_max_c"].usable == 65.0

    @given(
        st.dictionaries(
            st.sampled_from([*METRICS, "fan_rpm.3", "nonsense"]),
            st.builds(
                Reading, st.one_of(st.none(), st.floats(allow_nan=True)), st.sampled_from(list(Quality))
            ),
        )
    )
    def test_whatever_comes_in_usable_means_finite_and_in_range(self, readings: dict[str, Reading]) -> None:
        _, judged = quality.judge({}, readings, 0.0)
        for point, reading in judged.items():
            if reading.quality.usable:
                metric = METRICS[point.split(".")[0]]
                assert reading.value is not None
                assert metric.low <= reading.value <= metric.high
            else:
                assert reading.value is None
