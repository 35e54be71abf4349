"""The model manifest and the assignment: what a model is, and which site should run it.

A `release` key blesses a manifest, an `assignment` key chooses a blessed one for a site. Both are signed
bytes; decoding happens only after verification.
"""

import hashlib
from enum import StrEnum

import msgspec

from shared.artifacts.signing import Keyring, Purpose, Role, Signed, SigningKey
from shared.errors import ArtifactError, SecurityError
from shared.ids import SiteId

MAX_MODEL_BYTES = 32 * 1024 * 1024

ALLOWED_OPS = frozenset(
    [
        "Abs",
        "Add",
        "ArrayFeatureExtractor",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "Conv",
        "Div",
        "Exp",
        "Expand",
        "Flatten",
        "Gather",
        "Gemm",
        "Identity",
        "LSTM",
        "MatMul",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Normalizer",
        "Pow",
        "ReduceMax",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "Scaler",
        "Shape",
        "Sigmoid",
        "Slice",
        "Softplus",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "TreeEnsembleClassifier",
        "TreeEnsembleRegressor",
        "Unsqueeze",
        "Where",
    ]
)
"""Operators that the gateway accepts: nothing that loops, branches or allocates by data (edge.md §6)."""


class Family(StrEnum):
    """What a model is for."""

    MINER_ANOMALY = "miner-anomaly"


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output: name, dtype word (`float32`), shape with None for the batch."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class SelfTest(msgspec.Struct, frozen=True, kw_only=True):
    """Golden vectors: little-endian float32 input of `shape`, and the expected output within `atol`."""

    shape: tuple[int, ...]
    input: bytes
    output: bytes
    output_shape: tuple[int, ...]
    atol: float


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model may run; an empty tuple means anywhere."""

    sites: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    """Miner models that were in the training data."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the gateway must know about one model file."""

    name: str
    version: int
    family: Family
    algorithm: str
    """How it was made: `pca`, `lstm-ae`."""
    sha256: str
    size: int
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    feature_spec: str
    feature_spec_hash: str
    step_s: int
    window: int
    thresholds: dict[str, float]
    """Alarm threshold of the score per device class (`<model>` or `*`)."""
    calibration: dict[str, float]
    data_sha256: str
    data_from_ms: int
    data_to_ms: int
    metrics: dict[str, float]
    min_agent: str
    scope: Scope
    self_test: SelfTest
    issued_ms: int
    expires_ms: int


class Stage(StrEnum):
    """How far a site may take a model."""

    SHADOW = "shadow"
    ACTIVE = "active"
    WITHDRAWN = "withdrawn"


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Which manifest this site should run, and how far. `counter` rises per site (no replay)."""

    site: SiteId
    counter: int
    issued_ms: int
    expires_ms: int
    stage: Stage
    manifest: Signed
    """The blessed manifest, untouched."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment and its manifest after both signatures were checked."""

    assignment: Assignment
    manifest: Manifest


def bless(manifest: Manifest, key: SigningKey) -> Signed:
    """Sign a manifest with a release key."""
    return key.sign(Purpose.MANIFEST, msgspec.msgpack.encode(manifest))


def assign(assignment: Assignment, key: SigningKey) -> Signed:
    """Sign an assignment with an assignment key."""
    return key.sign(Purpose.ASSIGNMENT, msgspec.msgpack.encode(assignment))


def verify_assignment(
    signed: Signed, keyring: Keyring, *, site: SiteId, now_ms: int, until_ms: int = 0
) -> Verified:
    """Check both signatures, site, scope and both expiries; raises `SecurityError`.

    `until_ms` is for one that was accepted in time before: the latest end of all that were (see `ends_ms`).
    The caller checks `counter` and `version` against what it stored, because only it knows them.
    """
    keyring.verify(Purpose.ASSIGNMENT, signed, Role.ASSIGNMENT)
    try:
        assignment = msgspec.msgpack.decode(signed.payload, type=Assignment)
        keyring.verify(Purpose.MANIFEST, assignment.manifest, Role.RELEASE)
        manifest = msgspec.msgpack.decode(assignment.manifest.payload, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SecurityError(f"signed assignment does not decode: {error}") from error
    if assignment.site != site:
        raise SecurityError(f"assignment is for site {assignment.site!r}, not {site!r}")
    if manifest.scope.sites and site not in manifest.scope.sites:
        raise SecurityError(f"model {manifest.name} v{manifest.version} is not meant for site {site!r}")
    verified = Verified(assignment=assignment, manifest=manifest)
    if now_ms >= ends_ms(verified, until_ms):
        raise SecurityError(f"assignment of {manifest.name} v{manifest.version} has expired")
    return verified


def ends_ms(verified: Verified, until_ms: int = 0) -> int:
    """When a site must give an assigned model up.

    An assignment ends so that a cloud which was taken over or forgotten is not obeyed for ever. The cloud
    signs anew what acts and nothing else; so a model that the site goes back to, perhaps without a network,
    may run until `until_ms`: the latest end of all assignments that the site accepted in time.
    """
    return min(max(verified.assignment.expires_ms, until_ms), verified.manifest.expires_ms)


def check_bytes(manifest: Manifest, data: bytes) -> None:
    """Size and hash of a model file against its manifest; raises `ArtifactError`."""
    if len(data) != manifest.size or len(data) > MAX_MODEL_BYTES:
        raise ArtifactError(f"model file has {len(data)} bytes, the manifest says {manifest.size}")
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise ArtifactError("model file's hash is not the manifest's")
