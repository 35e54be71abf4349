"""Graded quality at its edges: what is believed, and what is not (S04)."""

import pytest

from edge_agent.guardian.interlocks import quality
from shared.telemetry import METRICS, MinerState, Quality, Reading

PAIRS = [("chip_temp_max_c", "chip_temp_min_c"), ("board_temp_max_c", "board_temp_min_c")]
MAY_STICK = ["chip_temp_max_c", "board_temp_max_c", "air_temp_c", "water_temp_c"]


def judged(readings: dict[str, Reading]) -> dict[str, Reading]:
    return quality.judge({}, readings, 100.0, MinerState.MINING)[1]


def flags_after(
    seconds: int,
    points: dict[str, float],
    *,
    state: MinerState | None = MinerState.MINING,
    watts: tuple[float | None, ...] = (3000.0, 2500.0),
    start_s: int = 0,
) -> dict[str, Quality]:
    """Quality of each point after it stood still for `seconds` while power went through `watts`."""
    still: quality.Stillness = {}
    after: dict[str, Reading] = {}
    for turn, second in enumerate(range(start_s, start_s + seconds + 1, 10)):
        power_w = watts[turn % len(watts)]
        power = {} if power_w is None else {"power_w": Reading(power_w)}
        still, after = quality.judge(
            still,
            {**{point: Reading(value) for point, value in points.items()}, **power},
            float(second),
            state,
        )
    return {point: after[point].quality for point in points}


class TestRange:
    @pytest.mark.parametrize("name", ["chip_temp_max_c", "air_temp_c", "power_w"])
    def test_both_ends_of_the_range_still_count(self, name: str) -> None:
        metric = METRICS[name]
        for value in (metric.low, metric.high):
            assert judged({name: Reading(value)})[name].usable == value

    def test_an_index_has_the_range_of_its_metric(self) -> None:
        high = METRICS["fan_rpm"].high
        assert judged({"fan_rpm.2": Reading(high + 1)})["fan_rpm.2"].quality is Quality.OUT_OF_RANGE
        assert judged({"fan_rpm.2.left": Reading(high)})["fan_rpm.2.left"].usable == high

    def test_what_was_bad_stays_as_bad_as_it_was(self) -> None:
        for flag in (Quality.STALE, Quality.SENSOR_ERROR):
            assert judged({"power_w": Reading(3000.0, flag)})["power_w"] == Reading(None, flag)
            before = Reading(None, flag)
            assert judged({"power_w": before})["power_w"] is before

    def test_good_without_a_value_is_missing(self) -> None:
        assert judged({"power_w": Reading(None)})["power_w"] == Reading(None, Quality.MISSING)


class TestZeroPairs:
    @pytest.mark.parametrize(("high", "low"), PAIRS)
    def test_two_zeros_are_no_data(self, high: str, low: str) -> None:
        after = judged({high: Reading(0.0), low: Reading(0.0)})
        assert [after[point].quality for point in (high, low)] == [Quality.MISSING] * 2

    @pytest.mark.parametrize(("high", "low"), PAIRS)
    def test_a_lone_zero_is_no_data_and_invents_no_point(self, high: str, low: str) -> None:
        after = judged({high: Reading(0.0)})
        assert after[high].quality is Quality.MISSING
        assert low not in after

    @pytest.mark.parametrize(("high", "low"), PAIRS)
    def test_one_zero_beside_a_value_is_a_value(self, high: str, low: str) -> None:
        assert judged({high: Reading(0.0), low: Reading(-1.0)})[high].usable == 0.0
        assert judged({high: Reading(0.0), low: Reading(None)})[high].usable == 0.0


class TestStuck:
    @pytest.mark.parametrize("point", MAY_STICK)
    def test_after_ten_minutes_and_not_before(self, point: str) -> None:
        assert flags_after(590, {point: 30.0}) == {point: Quality.GOOD}
        assert flags_after(600, {point: 30.0}) == {point: Quality.STUCK}

    def test_ten_minutes_are_counted_from_when_it_stood_still(self) -> None:
        assert flags_after(590, {"air_temp_c": 30.0}, start_s=5000) == {"air_temp_c": Quality.GOOD}

    @pytest.mark.parametrize("point", ["air_temp_c.2", "air_temp_c.2.left"])
    def test_each_index_by_itself(self, point: str) -> None:
        assert flags_after(600, {point: 30.0}) == {point: Quality.STUCK}

    def test_a_point_that_may_stand_still_hides_no_other(self) -> None:
        points = {"hashrate_ths": 100.0, "chip_temp_max_c": 65.0, "air_temp_c": 30.0}
        flags = flags_after(600, points)
        assert flags == {**dict.fromkeys(points, Quality.STUCK), "hashrate_ths": Quality.GOOD}

    def test_a_stopped_miner_may_stand_still(self) -> None:
        calm = flags_after(1200, {"chip_temp_max_c": 30.0}, state=MinerState.STOPPED)
        assert calm == {"chip_temp_max_c": Quality.GOOD}
        assert flags_after(1200, {"chip_temp_max_c": 30.0}, state=None) == {"chip_temp_max_c": Quality.STUCK}

    @pytest.mark.parametrize(
        ("watts", "flag"),
        [
            ((3000.0, 2850.0), Quality.GOOD),
            ((3000.0, 2840.0), Quality.STUCK),
            ((2840.0, 2900.0, 3000.0), Quality.STUCK),
            ((3000.0, None, 2500.0), Quality.GOOD),
        ],
    )
    def test_power_moves_when_it_spans_more_than_a_twentieth(
        self, watts: tuple[float | None, ...], flag: Quality
    ) -> None:
        """A sample without power starts anew: nobody knows what it did meanwhile."""
        assert flags_after(1200, {"air_temp_c": 30.0}, watts=watts) == {"air_temp_c": flag}

    def test_a_value_that_moves_starts_anew(self) -> None:
        still: quality.Stillness = {}
        for second in range(0, 1200, 10):
            readings = {
                "air_temp_c": Reading(30.0 if second < 590 else 31.0),
                "power_w": Reading(3000.0 if second % 20 else 2500.0),
            }
            still, after = quality.judge(still, readings, float(second))
            assert after["air_temp_c"].quality is (Quality.STUCK if second >= 1190 else Quality.GOOD)

    def test_an_unusable_reading_is_neither_stuck_nor_remembered(self) -> None:
        readings = {
            "air_temp_c": Reading(None, Quality.STALE),
            "water_temp_c": Reading(20.0),
            "power_w": Reading(1.0),
        }
        still, _ = quality.judge({}, readings, 0.0)
        assert list(still) == ["water_temp_c"]
