"""One manifest to start from: each test says what is different about its own."""

import hashlib

import msgspec

from shared.artifacts.manifest import Family, Manifest, Scope, SelfTest

_EMPTY = b""
_DRAFT = Manifest(
    name="miner-anomaly",
    version=0,
    family=Family.MINER_ANOMALY,
    algorithm="pca",
    sha256=hashlib.sha256(_EMPTY).hexdigest(),
    size=0,
    opset=17,
    inputs=(),
    outputs=(),
    feature_spec="f",
    feature_spec_hash="h",
    step_s=60,
    window=3,
    thresholds={"*": 4.0},
    calibration={},
    data_sha256="d",
    data_from_ms=1,
    data_to_ms=2,
    metrics={},
    min_agent="0.1.0",
    scope=Scope(),
    self_test=SelfTest(shape=(1,), input=_EMPTY, output=_EMPTY, output_shape=(1,), atol=0.1),
    issued_ms=0,
    expires_ms=0,
)


def draft(data: bytes = _EMPTY, **changes: object) -> Manifest:
    """A manifest of `data` as a training run leaves it: no version, no times, no tensors; then `changes`."""
    of_data = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return msgspec.structs.replace(_DRAFT, **{**of_data, **changes})
