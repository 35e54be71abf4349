"""Features: golden vector, meaning, and properties for any input."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from shared.features.compute import LIMIT, features
from shared.features.spec import miner_spec
from support.training import HEALTHY

SPEC = miner_spec(5)
COUNT = len(SPEC.features)


def matrix(n: int = 1, **changes: float) -> NDArray[np.float64]:
    values = {**HEALTHY, **changes}
    return np.tile(np.array([values[c] for c in SPEC.columns]), (n, SPEC.window, 1))


def named(x: NDArray[np.float32], device: int = 0, step: int = -1) -> dict[str, float]:
    return dict(zip(SPEC.names, x.reshape(len(x), SPEC.window, COUNT)[device, step].tolist(), strict=True))


def test_golden_vector() -> None:
    # Bit for bit on every machine: only + - * / sqrt, min and max. A new hash means a new spec version.
    raw = np.arange(3 * SPEC.window * len(SPEC.columns), dtype=np.float64).reshape(3, SPEC.window, -1)
    varied = matrix(3) * (1.0 + ((raw * 7.0) % 13.0 - 6.0) / 97.0)
    varied[1, 2] = np.nan
    varied[2, :, SPEC.columns.index("fan_rpm_mean")] = np.nan
    x = features(SPEC, varied)
    assert (
        hashlib.sha256(x.astype("<f4").tobytes()).hexdigest()
        == "055be38b1b8a854f88981cf9d5b05a3d02964666d18a271a314ca1c19fb7882b"
    )


def test_a_healthy_machine() -> None:
    seen = named(features(SPEC, matrix()))
    assert seen["hash_ratio"] == 1.0
    assert seen["hash_dip"] == pytest.approx(0.02)
    assert seen["power_ratio"] == pytest.approx(2900 / 3000)
    assert seen["efficiency_ratio"] == pytest.approx(2900 / 3000)
    assert seen["chip_over_board_c"] == 15.0
    assert seen["fan_response"] == pytest.approx(1.0, abs=0.01)
    assert seen["fan_spread"] == pytest.approx(0.02)


def test_one_worn_fan_shows_while_the_chip_is_still_cool() -> None:
    well = named(features(SPEC, matrix()))
    worn = named(features(SPEC, matrix(fan_rpm_min=3500.0, fan_rpm_mean=4640.0)))
    assert worn["chip_hot_c"] == well["chip_hot_c"]
    assert worn["fan_min_ratio"] < well["fan_min_ratio"] - 0.2
    assert worn["fan_weakest"] < well["fan_weakest"] - 0.2
    assert worn["fan_spread"] > well["fan_spread"] + 0.2


def test_a_worn_set_of_fans_shows_against_its_duty() -> None:
    slow = {name: HEALTHY[name] * 0.8 for name in ("fan_rpm_mean", "fan_rpm_min", "fan_rpm_max")}
    worn = named(features(SPEC, matrix(**slow)))
    assert worn["fan_response"] == pytest.approx(0.8, abs=0.01)
    assert worn["fan_min_ratio"] == pytest.approx(0.99)


def test_healthy_fans_that_speed_up_after_a_cold_start_are_not_weak() -> None:
    """A simulated machine warming up in a cold hall: the fans follow their duty by seconds."""
    trace = matrix()
    for step, (duty, low, mean, high) in enumerate(
        [
            (17.0, 1740.0, 1781.0, 1830.0),
            (22.0, 1890.0, 2045.0, 2190.0),
            (28.0, 2280.0, 2355.0, 2460.0),
            (32.0, 2490.0, 2612.0, 2790.0),
        ]
    ):
        for name, value in (
            ("fan_duty_pct_mean", duty),
            ("fan_rpm_min", low),
            ("fan_rpm_mean", mean),
            ("fan_rpm_max", high),
        ):
            trace[0, step, SPEC.columns.index(name)] = value
    for step in range(1, SPEC.window):
        seen = named(features(SPEC, trace), step=step)
        assert seen["fan_weakest"] == pytest.approx(1.0, abs=0.08)
        assert seen["fan_min_ratio"] == pytest.approx(1.0, abs=0.02)
        assert seen["fan_spread"] < 0.03


def test_standing_fans_are_not_neutral() -> None:
    still = dict.fromkeys(("fan_rpm_mean", "fan_rpm_min", "fan_rpm_max"), 0.0)
    seen = named(features(SPEC, matrix(**still)))
    assert (seen["fan_response"], seen["fan_weakest"], seen["fan_min_ratio"]) == (0.0, 0.0, 0.0)


def test_a_machine_of_another_size_and_preset_looks_the_same() -> None:
    small = features(SPEC, matrix())
    big = features(
        SPEC,
        matrix(
            hashrate_ths_mean=234.0,
            hashrate_ths_min=229.32,
            hashrate_ths_std=2.34,
            hashrate_nominal_ths_last=234.0,
            power_w_mean=3383.3333333333335,
            power_w_std=5.833333333333333,
            preset_w_last=3500.0,
        ),
    )
    np.testing.assert_allclose(big, small, rtol=1e-5, atol=1e-7)


def test_cooler_is_not_stranger() -> None:
    cold = named(features(SPEC, matrix(chip_temp_max_c_mean=35.0, fan_duty_pct_mean=12.0)))
    assert (cold["chip_hot_c"], cold["fan_effort"]) == (60.0, 0.5)


def test_a_hydro_machine_has_neutral_fans() -> None:
    no_fans = matrix()
    for name in ("fan_rpm_mean", "fan_rpm_min", "fan_rpm_max", "fan_duty_pct_mean"):
        no_fans[:, :, SPEC.columns.index(name)] = np.nan
    seen = named(features(SPEC, no_fans))
    assert {name: seen[name] for name in SPEC.names if name.startswith("fan")} == {
        feature.name: feature.neutral for feature in SPEC.features if feature.name.startswith("fan")
    }


def test_a_gap_takes_the_mean_of_the_other_steps() -> None:
    steps = matrix()
    power = SPEC.columns.index("power_w_mean")
    steps[0, :, power] = (3000.0, 3300.0, np.nan, 3000.0)
    filled = features(SPEC, steps).reshape(SPEC.window, COUNT)[:, SPEC.names.index("power_ratio")]
    assert filled.tolist() == pytest.approx([1.0, 1.1, 3.1 / 3, 1.0])


def test_one_reject_in_a_quiet_step_is_not_a_full_reject_ratio() -> None:
    seen = named(features(SPEC, matrix(shares_accepted_delta=0.0, shares_rejected_delta=1.0)))
    assert seen["reject_ratio"] == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    "shape", [(1, SPEC.window), (1, SPEC.window + 1, len(SPEC.columns)), (1, SPEC.window, 1)]
)
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected windows"):
        features(SPEC, np.zeros(shape))


def test_no_devices_give_no_rows() -> None:
    assert features(SPEC, matrix(0)).shape == (0, SPEC.width)


anything = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.just(SPEC.window), st.just(len(SPEC.columns))),
    elements=st.one_of(st.just(np.nan), st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1e4)),
)


@settings(max_examples=60)
@given(anything)
def test_output_is_finite_and_bounded_for_anything(values: NDArray[np.float64]) -> None:
    x = features(SPEC, values)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert np.abs(x).max() <= LIMIT


@settings(max_examples=60)
@given(anything, st.randoms())
def test_devices_do_not_see_each_other(values: NDArray[np.float64], rng: object) -> None:
    order = list(range(len(values)))
    rng.shuffle(order)  # type: ignore[attr-defined]  # hypothesis hands a random.Random
    whole = features(SPEC, values)
    assert features(SPEC, values[order]).tobytes() == whole[order].tobytes()
    assert features(SPEC, values[:1]).tobytes() == whole[:1].tobytes()
