"""Roll-up windows → model input. The only place where features are computed, for training and for the edge.

Only + - * / sqrt, min and max in float64: IEEE 754 fixes their results to the last bit, so the same rows
give the same features on every machine (a logarithm would not). The sums over a window run step by step, so
that a device's features do not depend on which others are in the batch.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.features.spec import FeatureSpec

Floats = NDArray[np.float64]

FAN_RPM_IDLE = 1_010.0
FAN_RPM_PER_PCT = 54.3
"""Speed of a healthy 12038 fan against duty: a line through 20 % = 2,100 rpm and 90 % = 5,900 rpm, as
recorded on an S19k Pro and an S21 Pro (plant.md §1.2, §1.4)."""
CHIP_WARM_C = 60.0
"""Below this a chip is not hot, whatever it was before: VNish regulates to 65 °C by default (miners.md §5.3),
and a machine that runs cooler after a lower preset or a cold night is not ill."""
FEW_SHARES = 5.0
"""Added to the share count, so that one rejected share in a quiet step is not a reject ratio of 1."""
LIMIT = 1e6
"""Features beyond this are cut: a lying counter must not leave the float32 range."""


def features(spec: FeatureSpec, matrix: Floats) -> NDArray[np.float32]:
    """Windows [N, window, columns] → features float32 [N, window * F], step by step, oldest first.

    A missing feature takes the mean of the window's other steps, or the feature's neutral value where the
    window has none (the buffers see to it that the required columns are there). Always finite.
    Raises `ValueError` for another shape than the spec's.
    """
    if matrix.ndim != 3 or matrix.shape[1:] != (spec.window, len(spec.columns)):
        raise ValueError(f"expected windows [N, {spec.window}, {len(spec.columns)}], got {matrix.shape}")
    columns = {name: matrix[:, :, i] for i, name in enumerate(spec.columns)}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        known = _miner(columns, spec.step_s)
    stack = np.stack([known[name] for name in spec.names], axis=2)
    neutral = np.array([feature.neutral for feature in spec.features])
    filled = _fill(np.clip(stack, -LIMIT, LIMIT), ~np.isfinite(stack), neutral)
    return filled.astype(np.float32).reshape(len(matrix), spec.width)


def _miner(c: Mapping[str, Floats], step_s: int) -> dict[str, Floats]:
    """Every miner feature as [N, window]; not finite where a column is missing or a ratio has no meaning."""
    nominal, hashrate = c["hashrate_nominal_ths_last"], c["hashrate_ths_mean"]
    power, chip = c["power_w_mean"], c["chip_temp_max_c_mean"]
    rpm, duty = c["fan_rpm_mean"], c["fan_duty_pct_mean"]
    # Fans follow their duty by seconds: right after a start a rising duty must not make them look weak, and
    # a step in which all of them speed up must not look like a difference between them.
    expected_rpm = FAN_RPM_IDLE + FAN_RPM_PER_PCT * np.minimum(duty, _before(duty))
    ramp_rpm = np.abs(rpm - _before(rpm))
    weakest_rpm = np.minimum(c["fan_rpm_min"] + ramp_rpm, rpm)
    rejected = c["shares_rejected_delta"]
    hash_ratio = hashrate / nominal
    power_ratio = power / c["preset_w_last"]
    return {
        "hash_ratio": hash_ratio,
        "hash_dip": (hashrate - c["hashrate_ths_min"]) / nominal,
        "hash_noise": c["hashrate_ths_std"] / nominal,
        "power_ratio": power_ratio,
        "power_noise": c["power_w_std"] / power,
        "efficiency_ratio": np.minimum(power_ratio / hash_ratio, 10.0),
        "chip_hot_c": np.maximum(chip, CHIP_WARM_C),
        "chip_rise_c": c["chip_temp_max_c_max"] - chip,
        "chip_over_board_c": chip - c["board_temp_max_c_mean"],
        "fan_effort": np.maximum(duty / 100.0, 0.5),
        "fan_response": rpm / expected_rpm,
        "fan_weakest": weakest_rpm / expected_rpm,
        "fan_min_ratio": weakest_rpm / np.maximum(rpm, 1.0),
        "fan_spread": np.maximum(c["fan_rpm_max"] - c["fan_rpm_min"] - ramp_rpm, 0.0) / np.maximum(rpm, 1.0),
        "hw_error_root": np.sqrt(np.maximum(c["hw_errors_delta"], 0.0) * (60.0 / step_s)),
        "reject_ratio": rejected / (c["shares_accepted_delta"] + rejected + FEW_SHARES),
    }


def _before(values: Floats) -> Floats:
    """Each step's predecessor in the window [N, window]; the oldest step, which has none, gets the next."""
    if values.shape[1] < 2:
        return values
    return np.concatenate([values[:, 1:2], values[:, :-1]], axis=1)


def _fill(stack: Floats, absent: NDArray[np.bool_], neutral: Floats) -> Floats:
    """Missing values [N, window, F] → mean over the window's present steps, else the neutral value."""
    total = np.zeros((stack.shape[0], stack.shape[2]))
    count = np.zeros_like(total)
    for step in range(stack.shape[1]):
        total += np.where(absent[:, step], 0.0, stack[:, step])
        count += ~absent[:, step]
    with np.errstate(invalid="ignore"):
        mean = np.where(count > 0, total / count, neutral)
    return np.where(absent, mean[:, None, :], stack)
