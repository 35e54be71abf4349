"""Minutes out of seconds: what can be told is right, and what cannot be told is unknown."""

import math
import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.store.thinning import MINUTE_MS, thin
from shared.features.rollup import RollupAggregator
from shared.ids import DeviceId
from shared.telemetry import (
    COLUMN_INDEX,
    ROLLUP_COLUMNS,
    DeviceKind,
    MinerState,
    Quality,
    Reading,
    RollupRow,
    Sample,
)
from support.agent import T0

START = T0 - T0 % MINUTE_MS


def row(
    at_s: int, *, device: str = "m1", samples: int = 2, step_s: int = 5, **values: float | None
) -> RollupRow:
    numbers: list[float | None] = [None] * len(ROLLUP_COLUMNS)
    for name, value in values.items():
        numbers[COLUMN_INDEX[name]] = value
    return RollupRow(
        device=DeviceId(device),
        at_ms=START + at_s * 1000,
        step_s=step_s,
        samples=samples,
        failed=0,
        quality=Quality.GOOD if samples else Quality.MISSING,
        values=tuple(numbers),
    )


def test_each_column_is_made_in_its_way() -> None:
    [minute] = thin(
        [
            row(0, power_w_mean=100, power_w_max=110, hashrate_ths_min=4, uptime_s_last=5, hw_errors_delta=1),
            row(5, samples=6, power_w_mean=200, power_w_max=210, hashrate_ths_min=3, hw_errors_delta=2),
        ]
    )
    assert (minute.at_ms, minute.step_s, minute.samples) == (START, 60, 8)
    assert minute.value("power_w_mean") == 175, "weighted by the samples behind it"
    assert minute.value("power_w_max") == 210
    assert minute.value("hashrate_ths_min") == 3
    assert minute.value("uptime_s_last") == 5
    assert minute.value("hw_errors_delta") == 3
    assert minute.value("chip_temp_max_c_max") is None


def test_an_increase_that_is_unknown_somewhere_is_unknown() -> None:
    [minute] = thin([row(0, hw_errors_delta=1), row(5)])
    assert minute.value("hw_errors_delta") is None


def test_rows_without_a_sample_make_no_minute_bad() -> None:
    [minute] = thin([row(0, samples=0), row(5, power_w_mean=7)])
    assert (minute.quality, minute.samples, minute.value("power_w_mean")) == (Quality.GOOD, 2, 7)
    [nothing] = thin([row(0, samples=0)])
    assert nothing.quality is Quality.MISSING


def test_devices_and_minutes_stay_apart_and_whole_minutes_stay_as_they_are() -> None:
    whole = row(0, step_s=60, power_w_mean=1)
    made = thin([row(59), row(60), row(0, device="m2"), whole])
    assert [(r.device, (r.at_ms - START) // 1000, r.step_s) for r in made] == [
        ("m1", 0, 60),
        ("m1", 0, 60),
        ("m2", 0, 60),
        ("m1", 60, 60),
    ]
    assert whole in made


def test_what_a_device_last_said_is_the_newest_that_is_known() -> None:
    rows = [row(0), row(5), row(10)]
    rows[0] = msgspec.structs.replace(rows[0], state=MinerState.STOPPED, preset="a")
    rows[1] = msgspec.structs.replace(rows[1], state=MinerState.MINING)
    [minute] = thin(reversed(rows))
    assert (minute.state, minute.preset) == (MinerState.MINING, "a")


@given(
    st.lists(st.floats(0, 4_000, allow_nan=False), min_size=24, max_size=24),
    st.sampled_from([5, 10, 20, 30]),
)
def test_minutes_of_seconds_are_the_minutes_of_the_samples(values: list[float], step_s: int) -> None:
    """Thinned 5-s rows say what a roll-up of one minute would have said of the same samples."""
    fine, coarse = RollupAggregator(step_s), RollupAggregator(60)
    for n, value in enumerate(values):
        sample = Sample(
            device=DeviceId("m1"),
            kind=DeviceKind.MINER,
            at_s=n * 2.5,
            at_ms=START + n * 2_500,
            boot="b",
            seq=n + 1,
            readings={"power_w": Reading(value), "hw_errors": Reading(float(n))},
        )
        fine.add(sample)
        coarse.add(sample)
    [minute] = thin(fine.close_before(START + 10**6))
    [direct] = coarse.close_before(START + 10**6)
    assert minute.samples == direct.samples == 24
    for name in ("power_w_mean", "power_w_max", "power_w_std"):
        assert minute.value(name) == pytest.approx(direct.value(name), abs=1e-6)
    deviation = minute.value("power_w_std")
    assert deviation is not None
    assert math.isclose(deviation, statistics.pstdev(values), abs_tol=1e-6)
