"""What a model's input is: which roll-up columns, which features, how many steps of which length.

The spec is data and its hash stands in every manifest, so an edge that computes something else refuses the
model instead of scoring nonsense. Change anything here → raise `version`.
"""

import hashlib
import math
from types import MappingProxyType
from typing import Protocol

import msgspec

from shared.errors import ArtifactError
from shared.telemetry import COLUMN_INDEX

SETTLE_S = 20.0
"""How long after a restart or a preset change a miner's numbers still move by themselves: hashrate and power
settle at once; boards take 40-90 s (plant.md §1.4), but cooling down is not scored."""
WARM_S = 90.0
"""How long after a start from cold: the boards' time constant is 40-90 s (plant.md §1.4), and until then
chips, power and fans of a healthy machine are far from where they were."""

MAX_WINDOW = 240
"""Steps; bounds the memory that a manifest can ask a gateway for."""


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One output per step.

    `neutral` stands in where a machine never reports what the feature needs (a hydro miner has no fans).
    `tolerance` is the smallest deviation worth noticing, in the feature's unit: the scaler never divides by
    less, so a minute of very quiet training data does not make sensor resolution look like a fault.
    """

    name: str
    neutral: float
    tolerance: float


class FeatureSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A window of `window` steps of `step_s`, each turned from `columns` (roll-up) into `features`.

    A step without all of the `required` columns is a gap: a machine of which nothing is known must not look
    healthy. `max_gaps` steps of a window may be gaps, the newest never. `settle_steps` steps after a restart
    or a preset change are not used.
    """

    name: str
    version: int
    step_s: int
    window: int
    max_gaps: int
    settle_steps: int
    warm_steps: int
    """As `settle_steps`, after the machine was off: boards, fans and leakage come from cold."""
    columns: tuple[str, ...]
    required: tuple[str, ...]
    features: tuple[Feature, ...]

    @property
    def id(self) -> str:
        """Name and version as manifests carry them (`miner-1`)."""
        return f"{self.name}-{self.version}"

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in output order."""
        return tuple(feature.name for feature in self.features)

    @property
    def width(self) -> int:
        """Numbers per device: `window * len(features)`."""
        return self.window * len(self.features)

    def hash(self) -> str:
        """SHA-256 over every field; equal specs have equal hashes in every process."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def indexes(self) -> tuple[int, ...]:
        """Where `columns` stand in a roll-up row; KeyError for a column that does not exist."""
        return tuple(COLUMN_INDEX[column] for column in self.columns)


_MINER_COLUMNS = (
    "hashrate_ths_mean",
    "hashrate_ths_min",
    "hashrate_ths_std",
    "hashrate_nominal_ths_last",
    "power_w_mean",
    "power_w_std",
    "chip_temp_max_c_mean",
    "chip_temp_max_c_max",
    "board_temp_max_c_mean",
    "fan_rpm_mean",
    "fan_rpm_min",
    "fan_rpm_max",
    "fan_duty_pct_mean",
    "hw_errors_delta",
    "shares_accepted_delta",
    "shares_rejected_delta",
    "preset_w_last",
)


def miner_spec(step_s: int, *, window: int = 4) -> FeatureSpec:
    """The miner features for roll-ups of `step_s` seconds (site 60, demo 5).

    All but the two temperatures are ratios to the machine's own rating or set-point, so one model serves
    every preset and model. Tolerances of counts grow on short steps, where one event weighs more.
    """
    per_minute = math.sqrt(60.0 / step_s)
    return FeatureSpec(
        name="miner",
        version=1,
        step_s=step_s,
        window=window,
        max_gaps=1,
        settle_steps=max(1, math.ceil(SETTLE_S / step_s)),
        warm_steps=max(1, math.ceil(WARM_S / step_s)),
        columns=_MINER_COLUMNS,
        required=(
            "hashrate_ths_mean",
            "hashrate_nominal_ths_last",
            "power_w_mean",
            "preset_w_last",
            "chip_temp_max_c_mean",
        ),
        features=(
            Feature(name="hash_ratio", neutral=1.0, tolerance=0.02),
            Feature(name="hash_dip", neutral=0.0, tolerance=0.03),
            Feature(name="hash_noise", neutral=0.0, tolerance=0.02),
            Feature(name="power_ratio", neutral=1.0, tolerance=0.03),
            Feature(name="power_noise", neutral=0.0, tolerance=0.01),
            Feature(name="efficiency_ratio", neutral=1.0, tolerance=0.04),
            Feature(name="chip_hot_c", neutral=60.0, tolerance=3.0),
            Feature(name="chip_rise_c", neutral=0.0, tolerance=2.0),
            Feature(name="chip_over_board_c", neutral=15.0, tolerance=2.0),
            Feature(name="fan_effort", neutral=0.5, tolerance=0.10),
            Feature(name="fan_response", neutral=1.0, tolerance=0.03),
            Feature(name="fan_weakest", neutral=1.0, tolerance=0.03),
            Feature(name="fan_min_ratio", neutral=1.0, tolerance=0.03),
            Feature(name="fan_spread", neutral=0.0, tolerance=0.03),
            Feature(name="hw_error_root", neutral=0.0, tolerance=2.0 * per_minute),
            Feature(name="reject_ratio", neutral=0.0, tolerance=0.20),
        ),
    )


class SpecBuilder(Protocol):
    """Makes a spec for roll-ups of one step length."""

    def __call__(self, step_s: int, *, window: int = ...) -> FeatureSpec: ...


SPECS: MappingProxyType[str, SpecBuilder] = MappingProxyType({"miner-1": miner_spec})
"""Every spec that this version computes, by id."""


def resolve(spec_id: str, *, step_s: int, window: int, spec_hash: str) -> FeatureSpec:
    """The spec that a manifest names; raises `ArtifactError` if this version computes something else."""
    build = SPECS.get(spec_id)
    if build is None:
        raise ArtifactError(f"feature spec {spec_id!r} is unknown here; known: {', '.join(SPECS)}")
    if step_s < 1 or not 1 <= window <= MAX_WINDOW:
        raise ArtifactError(f"step {step_s} s and window {window} are outside what the gateway computes")
    spec = build(step_s, window=window)
    if spec.hash() != spec_hash:
        raise ArtifactError(f"feature spec {spec_id!r} at step {step_s} s has another definition here")
    return spec
