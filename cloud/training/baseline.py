"""The baseline that a model must beat: the largest deviation of any number from its normal value."""

from cloud.training.detector import Floats, Inputs, Scaling, Scored, fit_scaling
from shared.features.spec import FeatureSpec


class MaxAbsZ:
    """Max |z| over window and features, on the same scaled inputs as the models (models.md §4.1)."""

    algorithm = "max-abs-z"

    def __init__(self, spec: FeatureSpec, scaling: Scaling) -> None:
        self._spec = spec
        self._scaling = scaling

    @classmethod
    def fit(cls, spec: FeatureSpec, x: Inputs) -> "MaxAbsZ":
        """Learn centre and scale from features [N, window * F]."""
        return cls(spec, fit_scaling(spec, x))

    def score(self, x: Inputs) -> Scored:
        """Score features [N, window * F]."""
        z: Floats = abs(self._scaling.apply(self._spec, x))
        residual = z.max(axis=1)
        return Scored(score=residual.max(axis=1), residual=residual)
