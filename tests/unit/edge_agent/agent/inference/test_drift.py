"""Drift: loud when the data moved, silent on noisy, autocorrelated data that did not."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.agent.inference.drift import CYCLES, LEAST_MINERS, Drift

NAMES = ("chip_hot_c", "fan_effort", "reject_ratio")


def fleet(
    cycles: int, *, miners: int = 48, memory: float = 0.95, seed: int = 1, shift_from: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Miners with characters of their own, a common daily wave, and noise with a memory."""
    chance = np.random.default_rng(seed)
    character = chance.normal(0, 1.0, size=(miners, 2))
    noise = np.zeros((miners, 2))
    for cycle in range(cycles):
        noise = memory * noise + np.sqrt(1 - memory**2) * chance.normal(size=noise.shape)
        wave = 8.0 * np.sin(cycle / 140)
        moved = shift_from is not None and cycle >= shift_from
        values = character + noise + wave
        if moved:
            values[: miners // 3, 0] += 6.0
        yield np.column_stack([values, np.zeros(miners)]).astype(np.float32)


def run(rows: Iterator[NDArray[np.float32]]) -> tuple[Drift, list[int]]:
    drift, alarms = Drift(NAMES), []
    for cycle, newest in enumerate(rows):
        drift.add(newest, np.zeros(len(newest), dtype=np.int64))
        if drift.alarm:
            alarms.append(cycle)
    return drift, alarms


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("memory", [0.0, 0.9, 0.99])
def test_data_that_did_not_drift_is_left_alone(seed: int, memory: float) -> None:
    """1,000 cycles each; a plain PSI above 0.2 would have alarmed at once on the last of these."""
    _drift, alarms = run(fleet(1_000, memory=memory, seed=seed))
    assert not alarms


def test_a_third_of_the_site_moving_is_found_and_named() -> None:
    drift, alarms = run(fleet(900, shift_from=500))
    assert alarms
    assert 500 < alarms[0] < 500 + 2 * CYCLES
    assert "chip_hot_c" in drift.alarm
    assert drift.figures()["drift_feature"] == "chip_hot_c"


def test_a_feature_that_stood_still_does_not_alarm_at_its_first_move() -> None:
    def rows() -> Iterator[NDArray[np.float32]]:
        for cycle, values in enumerate(fleet(600)):
            if cycle > 300:
                values[:, 2] = np.linspace(0, 1e-3, len(values))
            yield values

    _drift, alarms = run(rows())
    assert not alarms


def test_weather_moves_all_miners_and_is_no_drift() -> None:
    _drift, alarms = run(values + np.float32(0.05 * n) for n, values in enumerate(fleet(800)))
    assert not alarms


def test_two_algorithms_are_compared_each_with_its_own() -> None:
    drift = Drift(NAMES)
    groups = np.array([0] * 24 + [1] * 24, dtype=np.int64)
    for cycle, values in enumerate(fleet(600)):
        values[24:] += np.float32(40.0 + (10.0 if cycle > 300 else 0.0))
        drift.add(values, groups)
        assert not drift.alarm


def test_a_few_miners_say_nothing() -> None:
    drift, alarms = run(fleet(400, miners=LEAST_MINERS - 1, shift_from=200))
    assert not alarms
    assert drift.worst is None
    assert drift.figures() == {}
