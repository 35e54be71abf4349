"""Samples → roll-up rows."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.features.rollup import CLOCK_STEP_MS, GRACE_MS, RollupAggregator
from shared.telemetry import COLUMN_NAMES, MinerState, Quality, Reading
from support.training import T0_MS, roll, sample


def test_every_way_of_rolling_up() -> None:
    powers = (3000.0, 3010.0, 2990.0)
    samples = [
        sample("a", 2 * i, {"power_w": p, "hashrate_nominal_ths": 100.0 + i}) for i, p in enumerate(powers)
    ]
    (row,) = roll(10, *samples)
    assert row.value("power_w_mean") == pytest.approx(3000.0)
    assert row.value("power_w_max") == 3010.0
    assert row.value("power_w_std") == pytest.approx(math.sqrt(200 / 3))
    assert row.value("hashrate_nominal_ths_last") == 102.0
    assert (row.samples, row.failed, row.quality, row.at_ms) == (3, 0, Quality.GOOD, T0_MS)
    assert (row.state, row.preset) == (MinerState.MINING, "3000")


def test_what_was_not_read_is_none_and_never_zero() -> None:
    (row,) = roll(5, sample("a", 0, {"power_w": 1.0}))
    assert {name for name in COLUMN_NAMES if row.value(name) is not None} == {
        "power_w_mean",
        "power_w_max",
        "power_w_std",
    }


def test_indexed_points_are_pooled() -> None:
    fans = {f"fan_rpm.{i + 1}": rpm for i, rpm in enumerate((5000.0, 5100.0, 3000.0, 4900.0))}
    (row,) = roll(5, sample("a", 0, fans))
    assert (row.value("fan_rpm_min"), row.value("fan_rpm_max"), row.value("fan_rpm_mean")) == (
        3000.0,
        5100.0,
        4500.0,
    )


def test_last_is_the_newest_even_if_it_came_first() -> None:
    (row,) = roll(
        5,
        sample("a", 4, {"preset_w": 2000.0}, state=MinerState.STOPPED),
        sample("a", 1, {"preset_w": 3000.0}),
    )
    assert row.value("preset_w_last") == 2000.0
    assert row.state is MinerState.STOPPED


def test_all_failed_step_is_a_row_of_nulls() -> None:
    (row,) = roll(5, *(sample("a", s, {}, state=None, failure="timeout") for s in (0, 2, 4)))
    assert (row.samples, row.failed, row.quality, row.state) == (0, 3, Quality.MISSING, None)
    assert set(row.values) == {None}


def test_some_failed_polls_leave_the_rest() -> None:
    (row,) = roll(5, sample("a", 0, {"power_w": 5.0}), sample("a", 2, {}, failure="timeout", state=None))
    assert (row.samples, row.failed, row.value("power_w_mean")) == (1, 1, 5.0)
    assert row.state is MinerState.MINING


@pytest.mark.parametrize(
    ("bad", "quality"),
    [
        (Reading(95.0, Quality.STUCK), Quality.STUCK),
        (Reading(None, Quality.MISSING), Quality.MISSING),
        (Reading(math.nan), Quality.OUT_OF_RANGE),
    ],
)
def test_unusable_readings_only_worsen_the_quality(bad: Reading, quality: Quality) -> None:
    (row,) = roll(5, sample("a", 0, {"chip_temp_max_c": bad}), sample("a", 2, {"chip_temp_max_c": 70.0}))
    assert row.value("chip_temp_max_c_max") == 70.0
    assert row.quality is quality


def test_estimated_values_count() -> None:
    (row,) = roll(5, sample("a", 0, {"power_w": Reading(7.0, Quality.ESTIMATED)}))
    assert (row.value("power_w_mean"), row.quality) == (7.0, Quality.ESTIMATED)


def test_counters_lose_nothing_between_steps() -> None:
    samples = [sample("a", 2 * i, {"shares_accepted": 10.0 * i}) for i in range(10)]
    rows = roll(5, *samples)
    assert [r.value("shares_accepted_delta") for r in rows] == [20.0, 20.0, 30.0, 20.0]
    assert sum(r.value("shares_accepted_delta") or 0.0 for r in rows) == 90.0


def test_a_counter_after_a_reset_is_none_and_then_goes_on() -> None:
    counts = (100.0, 110.0, 5.0, 15.0, 25.0, 35.0)
    rows = roll(4, *(sample("a", 2 * i, {"hw_errors": c}) for i, c in enumerate(counts)))
    assert [r.value("hw_errors_delta") for r in rows] == [10.0, None, 20.0]


def test_one_counter_value_without_an_earlier_one_is_none() -> None:
    (row,) = roll(5, sample("a", 0, {"hw_errors": 3.0}))
    assert row.value("hw_errors_delta") is None


def test_a_counter_does_not_reach_over_a_gap() -> None:
    rows = roll(5, sample("a", 0, {"hw_errors": 3.0}), sample("a", 50, {"hw_errors": 100.0}))
    assert [r.value("hw_errors_delta") for r in rows] == [None, None]


def test_counters_of_parts_are_added_and_one_reset_spoils_the_sum() -> None:
    good = roll(
        5,
        sample("a", 0, {"hw_errors.1": 0.0, "hw_errors.2": 0.0}),
        sample("a", 2, {"hw_errors.1": 3.0, "hw_errors.2": 4.0}),
    )
    assert good[0].value("hw_errors_delta") == 7.0
    reset = roll(
        5,
        sample("a", 0, {"hw_errors.1": 9.0, "hw_errors.2": 0.0}),
        sample("a", 2, {"hw_errors.1": 1.0, "hw_errors.2": 4.0}),
    )
    assert reset[0].value("hw_errors_delta") is None


def test_a_step_closes_after_the_grace_only() -> None:
    aggregator = RollupAggregator(5)
    aggregator.add(sample("a", 4, {"power_w": 1.0}))
    assert aggregator.close_before(T0_MS + 5_000 + GRACE_MS - 1) == []
    aggregator.add(sample("a", 4.5, {"power_w": 3.0}))
    (row,) = aggregator.close_before(T0_MS + 5_000 + GRACE_MS)
    assert row.value("power_w_mean") == 2.0
    aggregator.add(sample("a", 4.9, {"power_w": 1.0}))
    assert aggregator.late == 1
    assert aggregator.close_before(T0_MS + 100_000) == []


def test_samples_of_a_ring_after_a_reconnect_are_not_late() -> None:
    aggregator = RollupAggregator(5)
    aggregator.add(sample("a", 0, {"power_w": 1.0}))
    assert len(aggregator.close_before(T0_MS + 90_000)) == 1
    for second in range(5, 85, 5):
        aggregator.add(sample("a", second, {"power_w": 1.0}))
    assert len(aggregator.close_before(T0_MS + 90_000)) == 16
    assert aggregator.late == 0


def test_a_wall_clock_set_back_does_not_silence_a_device() -> None:
    aggregator = RollupAggregator(5)
    aggregator.add(sample("a", 7200, {"power_w": 1.0}))
    aggregator.close_before(T0_MS + 8_000_000)
    back = 7200 - CLOCK_STEP_MS / 1000 - 10
    aggregator.add(sample("a", back, {"power_w": 2.0}))
    assert [r.value("power_w_mean") for r in aggregator.close_before(T0_MS + 8_000_000)] == [2.0]


def test_open_steps_are_bounded() -> None:
    aggregator = RollupAggregator(1)
    for second in range(1000):
        aggregator.add(sample("a", second, {"power_w": 1.0}))
    assert len(aggregator.close_before(T0_MS + 10_000_000)) + aggregator.late == 1000
    assert aggregator.late > 0


def test_rows_come_by_time_and_device() -> None:
    rows = roll(5, *(sample(d, s, {"power_w": 1.0}) for d in ("b", "a") for s in (7, 1)))
    assert [(r.at_ms - T0_MS, r.device) for r in rows] == [(0, "a"), (0, "b"), (5000, "a"), (5000, "b")]


@pytest.mark.parametrize(("step_s", "grace_ms"), [(0, 0), (5, -1)])
def test_nonsense_is_refused(step_s: int, grace_ms: int) -> None:
    with pytest.raises(ValueError, match="step"):
        RollupAggregator(step_s, grace_ms=grace_ms)


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1e6)), min_size=1, max_size=40), st.randoms())
def test_no_sample_is_lost_and_order_does_not_matter(polls: list[tuple[int, float]], rng: object) -> None:
    polls = list({second: (second, value) for second, value in polls}.values())
    ordered = [sample("a", s, {"power_w": v}) for s, v in polls]
    shuffled = list(ordered)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands a random.Random
    one, two = roll(5, *ordered), roll(5, *shuffled)
    assert sum(r.samples for r in one) == len(polls)
    for a, b in zip(one, two, strict=True):
        assert (a.samples, a.value("power_w_max")) == (b.samples, b.value("power_w_max"))
        assert a.value("power_w_mean") == pytest.approx(b.value("power_w_mean"))
        low, high = min(v for _, v in polls), max(v for _, v in polls)
        assert low - 1e-6 <= (a.value("power_w_mean") or 0.0) <= high + 1e-6
