"""The draft manifest of a trained model: all but version, times and signatures, which the registry sets."""

import hashlib

import msgspec
import numpy as np

from cloud.training.datasets import Dataset, Windows
from cloud.training.export import Session, graph_facts
from cloud.training.gates import Calibration, golden_inputs
from shared.artifacts.manifest import Family, Manifest, Scope, SelfTest, TensorSpec
from shared.features.spec import FeatureSpec
from shared.units import Algorithm

NAME = "miner-anomaly"
MIN_AGENT = "0.1.0"
SELF_TEST_ATOL = 1e-3
"""Scores run from 0 to about 30 in float32; other processors order their sums differently."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model comes from: its data, the algorithms in it, and what the gate measured."""

    dataset: Dataset
    algorithms: tuple[Algorithm, ...]
    metrics: dict[str, float]


def draft(
    model: bytes,
    *,
    algorithm: str,
    spec: FeatureSpec,
    test: Windows,
    calibration: Calibration,
    provenance: Provenance,
) -> Manifest:
    """A `Manifest` with `version`, `issued_ms` and `expires_ms` 0, to be replaced before it is signed."""
    rows = [row for row in provenance.dataset.rows if row.algorithm in provenance.algorithms]
    used = {row.device for row in rows}
    models = {name for device, name in provenance.dataset.models.items() if device in used}
    return Manifest(
        name=NAME,
        version=0,
        family=Family.MINER_ANOMALY,
        algorithm=algorithm,
        sha256=hashlib.sha256(model).hexdigest(),
        size=len(model),
        opset=graph_facts(model).opset,
        inputs=(TensorSpec(name="x", dtype="float32", shape=(None, spec.width)),),
        outputs=(
            TensorSpec(name="score", dtype="float32", shape=(None,)),
            TensorSpec(name="residual", dtype="float32", shape=(None, len(spec.features))),
        ),
        feature_spec=spec.id,
        feature_spec_hash=spec.hash(),
        step_s=spec.step_s,
        window=spec.window,
        thresholds=calibration.thresholds,
        calibration={
            "quantile": calibration.quantile,
            "margin": calibration.margin,
            "windows": float(calibration.windows),
        },
        data_sha256=provenance.dataset.sha256,
        data_from_ms=rows[0].at_ms,
        data_to_ms=rows[-1].at_ms + spec.step_s * 1000,
        metrics=provenance.metrics,
        min_agent=MIN_AGENT,
        scope=Scope(
            algorithms=tuple(algorithm.value for algorithm in provenance.algorithms),
            models=tuple(sorted(models)),
        ),
        self_test=self_test(model, test),
        issued_ms=0,
        expires_ms=0,
    )


def self_test(model: bytes, test: Windows) -> SelfTest:
    """Golden vectors for the gateway: real windows, all-zero and cut extremes; `output` is the `score`."""
    golden = golden_inputs(test)
    x = np.concatenate([golden[name] for name in ("7", "zero", "low", "high")]).astype("<f4")
    score = Session(model).score(x).score.astype("<f4")
    return SelfTest(
        shape=x.shape,
        input=x.tobytes(),
        output=score.tobytes(),
        output_shape=score.shape,
        atol=SELF_TEST_ATOL,
    )
