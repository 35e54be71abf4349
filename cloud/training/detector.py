"""What every anomaly model does: scale, reconstruct, and say how far off and where.

`score` is the largest of the per-feature residuals, so the residuals always explain the score. A residual is
the root mean square over the window of the reconstruction error, in units of what was normal in training.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.features.spec import FeatureSpec

Floats = NDArray[np.float64]
Inputs = NDArray[np.float32]

Z_LIMIT = 10.0
"""Scaled inputs are cut here: beyond it, further is not worse, and float32 stays exact enough for parity."""
LEVEL_FLOOR = 0.33
"""Smallest normal residual, in scaled units, so that a feature without any noise in training does not turn
its first digit of noise into an alarm."""
TRIM_MAX = 0.10
TRIM_SIGMA = 8.0


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """`score` [N] and `residual` [N, F]; both at least 0, larger is stranger."""

    score: Floats
    residual: Floats


class Detector(Protocol):
    """A fitted model in its training framework."""

    algorithm: str

    def score(self, x: Inputs) -> Scored:
        """Score features [N, window * F]."""
        ...


class Exportable(Detector, Protocol):
    """A detector that can leave as one ONNX file."""

    def to_onnx(self) -> bytes:
        """The graph: input `x` float32 [N, window * F], outputs `score` [N] and `residual` [N, F]."""
        ...


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """Centre and scale per feature [F]."""

    centre: Floats
    scale: Floats

    def apply(self, spec: FeatureSpec, x: Inputs) -> Floats:
        """Features [N, window * F] → scaled and cut [N, window, F]."""
        steps = x.astype(np.float64).reshape(-1, spec.window, len(spec.features))
        return np.clip((steps - self.centre) / self.scale, -Z_LIMIT, Z_LIMIT)


def fit_scaling(spec: FeatureSpec, x: Inputs) -> Scaling:
    """Median and interquartile range over all steps; the scale is at least the feature's tolerance.

    Robust, because training data is what a site happened to send, faults included.
    """
    steps = x.astype(np.float64).reshape(-1, len(spec.features))
    low, centre, high = np.percentile(steps, [25.0, 50.0, 75.0], axis=0)
    tolerance = np.array([feature.tolerance for feature in spec.features])
    return Scaling(centre=centre, scale=np.maximum((high - low) / 1.349, tolerance))


def residual_of(error: Floats) -> Floats:
    """Reconstruction error [N, window, F] → root mean square over the window [N, F]."""
    root: Floats = np.sqrt((error * error).mean(axis=1))
    return root


def normal_level(error: Floats) -> Floats:
    """Normal size of the residual per feature [F], from errors [N, window, F] on training data."""
    residual = residual_of(error)
    level: Floats = np.maximum(np.sqrt((residual * residual).mean(axis=0)), LEVEL_FLOOR)
    return level


def scored(error: Floats, level: Floats) -> Scored:
    """Errors [N, window, F] and normal level [F] → score and residual."""
    residual = residual_of(error) / level
    return Scored(score=residual.max(axis=1, initial=0.0), residual=residual)


def outlying(score: Floats, *, share: float = TRIM_MAX) -> NDArray[np.bool_]:
    """Windows [N] that stand far out of the bulk (median + 8 robust sigmas), at most `share` of them."""
    centre = float(np.median(score))
    sigma = 1.4826 * float(np.median(np.abs(score - centre)))
    limit = max(centre + TRIM_SIGMA * max(sigma, 0.05), float(np.quantile(score, 1.0 - share)))
    return score > limit


Fitted = TypeVar("Fitted", bound=Detector)


def fit_trimmed(spec: FeatureSpec, fit: Callable[[Inputs], Fitted], x: Inputs) -> Fitted:
    """Fit on what is normal: drop the few windows that stand out, before the fit and once more after it.

    Before, by their plain distance, because a model that was fitted on an ill machine finds it normal; after,
    by their score, because only the model sees that numbers do not belong together.
    """
    distance = residual_of(fit_scaling(spec, x).apply(spec, x)).max(axis=1, initial=0.0)
    kept = x[~outlying(distance)]
    first = fit(kept)
    out = outlying(first.score(kept).score)
    return fit(kept[~out]) if out.any() else first
