"""Synthetic faults on held-out windows, for the gate. They are NOT real failures and are labelled as such.

A minute of telemetry has no failures to learn from, so each held-out window is copied and bent in its raw
columns as the physics would bend it, at graded strength. The weakest grades are near the noise on purpose:
a detector that scores 1.0 everywhere cannot be compared. Real lead times come from `evaluate.py`.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from shared.features.spec import FeatureSpec

Floats = NDArray[np.float64]
Columns = dict[str, Floats]

GRADES = (0.15, 0.3, 0.5, 1.0)
"""Strength as a share of the full fault named below."""


def _fan_sag(c: Columns, grade: float) -> None:
    """One of four fans loses up to 40 % of its speed; the others keep what the duty asks for."""
    lost = 0.4 * grade * c["fan_rpm_mean"]
    c["fan_rpm_min"] = np.minimum(c["fan_rpm_min"], c["fan_rpm_mean"] - lost)
    c["fan_rpm_mean"] = c["fan_rpm_mean"] - lost / 4.0


def _fan_set_worn(c: Columns, grade: float) -> None:
    """All fans turn up to 30 % slower than their duty asks for."""
    for name in ("fan_rpm_mean", "fan_rpm_min", "fan_rpm_max"):
        c[name] = c[name] * (1.0 - 0.3 * grade)


def _hash_loss(c: Columns, grade: float) -> None:
    """Up to a third of the hashrate is gone (one board of three), power falls a little less."""
    for name in ("hashrate_ths_mean", "hashrate_ths_min"):
        c[name] = c[name] * (1.0 - grade / 3.0)
    c["power_w_mean"] = c["power_w_mean"] * (1.0 - 0.3 * grade)


def _hotter(c: Columns, grade: float) -> None:
    """Chip and board up to 12 K hotter, at the same duty."""
    for name in ("chip_temp_max_c_mean", "chip_temp_max_c_max", "board_temp_max_c_mean"):
        c[name] = c[name] + 12.0 * grade


def _less_efficient(c: Columns, grade: float) -> None:
    """Up to 15 % more power for the same work."""
    c["power_w_mean"] = c["power_w_mean"] * (1.0 + 0.15 * grade)


FAULTS: Mapping[str, Callable[[Columns, float], None]] = {
    "fan_sag": _fan_sag,
    "fan_set_worn": _fan_set_worn,
    "hash_loss": _hash_loss,
    "hotter": _hotter,
    "less_efficient": _less_efficient,
}


def perturbed(spec: FeatureSpec, matrix: Floats, fault: str, grade: float) -> Floats:
    """Windows [N, window, C] with a synthetic fault at `grade` in every step; KeyError for an unknown one."""
    columns = {name: matrix[:, :, i].copy() for i, name in enumerate(spec.columns)}
    FAULTS[fault](columns, grade)
    return np.stack([columns[name] for name in spec.columns], axis=2)
