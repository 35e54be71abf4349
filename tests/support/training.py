"""Builders for features and training: samples, roll-up rows, and a small recorded site."""

from functools import cache
from pathlib import Path

from cloud.training.datasets import write
from cloud.training.simulated import Recording, record
from shared.features.rollup import RollupAggregator
from shared.ids import DeviceId
from shared.plant import SitePlant, demo_site
from shared.telemetry import (
    COLUMN_INDEX,
    COLUMN_NAMES,
    DeviceKind,
    MinerState,
    Quality,
    Reading,
    RollupRow,
    Sample,
)
from shared.units import Algorithm

T0_MS = 1_780_000_000_000

HEALTHY: dict[str, float] = {
    "hashrate_ths_mean": 100.0,
    "hashrate_ths_min": 98.0,
    "hashrate_ths_std": 1.0,
    "hashrate_nominal_ths_last": 100.0,
    "power_w_mean": 2900.0,
    "power_w_std": 5.0,
    "chip_temp_max_c_mean": 70.0,
    "chip_temp_max_c_max": 70.0,
    "board_temp_max_c_mean": 55.0,
    "fan_rpm_mean": 5000.0,
    "fan_rpm_min": 4950.0,
    "fan_rpm_max": 5050.0,
    "fan_duty_pct_mean": 73.5,
    "hw_errors_delta": 0.0,
    "shares_accepted_delta": 5.0,
    "shares_rejected_delta": 0.0,
    "preset_w_last": 3000.0,
}


def sample(
    device: str,
    second: float,
    readings: dict[str, float | Reading | None],
    *,
    state: MinerState | None = MinerState.MINING,
    failure: str | None = None,
    preset: str | None = "3000",
) -> Sample:
    """One poll at `second` after T0; None becomes a missing reading."""
    as_readings = {
        name: value
        if isinstance(value, Reading)
        else Reading(value, Quality.MISSING)
        if value is None
        else Reading(value)
        for name, value in readings.items()
    }
    return Sample(
        device=DeviceId(device),
        kind=DeviceKind.MINER,
        at_s=second,
        at_ms=T0_MS + round(second * 1000),
        boot="b",
        seq=round(second * 1000),
        state=state,
        algorithm=Algorithm.SHA256D,
        readings=as_readings,
        preset=preset,
        failure=failure,
    )


def roll(step_s: int, *samples: Sample) -> list[RollupRow]:
    """All rows of some samples."""
    aggregator = RollupAggregator(step_s)
    for one in samples:
        aggregator.add(one)
    return aggregator.close_before(T0_MS + 10_000_000)


def row(
    device: str,
    step: int,
    *,
    step_s: int = 5,
    state: MinerState | None = MinerState.MINING,
    samples: int = 2,
    kind: DeviceKind = DeviceKind.MINER,
    preset: str | None = "3000",
    algorithm: Algorithm = Algorithm.SHA256D,
    **changes: float | None,
) -> RollupRow:
    """A healthy row at step number `step`, with columns changed by name."""
    values: list[float | None] = [None] * len(COLUMN_NAMES)
    for name, value in {**HEALTHY, **changes}.items():
        values[COLUMN_INDEX[name]] = value
    return RollupRow(
        device=DeviceId(device),
        at_ms=T0_MS + step * step_s * 1000,
        step_s=step_s,
        samples=samples,
        failed=0 if samples else 2,
        quality=Quality.GOOD if samples else Quality.MISSING,
        values=tuple(values) if samples else (None,) * len(COLUMN_NAMES),
        kind=kind,
        algorithm=algorithm,
        state=state,
        preset=preset,
    )


@cache
def demo_minute(seed: int = 1, seconds: int = 60) -> Recording:
    """The 48-miner demo site, healthy, as the demo's first training sees it (5 s steps, 2 s polls)."""
    plant = SitePlant(demo_site(), seed=seed)
    plant.settle(120)
    return record(plant, seconds, poll_s=2.0, step_s=5)


def dataset_file(folder: Path, recording: Recording | None = None, name: str = "data.bin") -> Path:
    """The demo minute (or another recording) as a data set file."""

    chosen = recording or demo_minute()
    path = folder / name
    write(chosen.rows, path, models=chosen.models)
    return path
