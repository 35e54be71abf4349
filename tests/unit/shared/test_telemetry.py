"""Samples and roll-up rows: unknown stays unknown."""

from shared.ids import DeviceId
from shared.telemetry import (
    COLUMN_NAMES,
    METRICS,
    ROLLUP_COLUMNS,
    DeviceKind,
    MinerState,
    Quality,
    Reading,
    Sample,
    metric_of,
)


def _sample(**readings: Reading) -> Sample:
    named = {name.replace("__", "."): reading for name, reading in readings.items()}
    return Sample(
        device=DeviceId("m-1"), kind=DeviceKind.MINER, at_s=1, at_ms=1, boot="b", seq=1, readings=named
    )


def test_a_bad_reading_is_not_usable_even_if_it_carries_a_number() -> None:
    sample = _sample(power_w=Reading(3000.0, Quality.STUCK), hashrate_ths=Reading(100.0, Quality.ESTIMATED))
    assert sample.usable("power_w") is None
    assert sample.usable("hashrate_ths") == 100.0
    assert sample.usable("chip_temp_max_c") is None


def test_values_of_a_metric_over_its_indexes_leave_out_the_bad_ones() -> None:
    sample = _sample(
        fan_rpm__1=Reading(5900.0),
        fan_rpm__2=Reading(None, Quality.SENSOR_ERROR),
        fan_rpm__3=Reading(0.0),
        fan_rpm_total=Reading(1.0),
    )
    assert sample.values("fan_rpm") == [5900.0, 0.0]


def test_tuning_hashes_at_full_power_and_unknown_counts_as_running() -> None:
    assert MinerState.AUTO_TUNING.draws_power
    assert MinerState.INITIALIZING.draws_power
    assert MinerState.UNKNOWN.draws_power
    assert not MinerState.STOPPED.draws_power


def test_every_roll_up_column_names_a_known_metric_once() -> None:
    assert len(ROLLUP_COLUMNS) <= 40
    assert len(set(COLUMN_NAMES)) == len(COLUMN_NAMES)
    assert all(column.metric in METRICS for column in ROLLUP_COLUMNS)
    assert metric_of("fan_rpm.3") is METRICS["fan_rpm"]
