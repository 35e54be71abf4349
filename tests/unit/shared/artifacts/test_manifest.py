"""A site runs only what a release key blessed and an assignment key chose for it, in time."""

from collections.abc import Callable

import msgspec
import pytest

from shared.artifacts.manifest import (
    Assignment,
    Family,
    Manifest,
    Scope,
    SelfTest,
    Stage,
    assign,
    bless,
    check_bytes,
    verify_assignment,
)
from shared.artifacts.signing import Keyring, PublicKeyEntry, Role, Signed, SigningKey
from shared.errors import ArtifactError, SecurityError
from shared.ids import SiteId

RELEASE, ASSIGN = SigningKey.generate("rel"), SigningKey.generate("asg")
RING = Keyring(
    (
        PublicKeyEntry(id="rel", role=Role.RELEASE, public=RELEASE.public_text),
        PublicKeyEntry(id="asg", role=Role.ASSIGNMENT, public=ASSIGN.public_text),
    )
)
SITE, NOW = SiteId("demo"), 1_000_000
DATA = b"onnx bytes"
MANIFEST = Manifest(
    name="miner-anomaly",
    version=3,
    family=Family.MINER_ANOMALY,
    algorithm="pca",
    sha256="b5dd2d4dff4fcb3eae8f51ea7b9efbf38e1d5d5c1ec6dc6a3e2ad7d2b3f1e1aa",
    size=len(DATA),
    opset=17,
    inputs=(),
    outputs=(),
    feature_spec="miner",
    feature_spec_hash="00",
    step_s=60,
    window=6,
    thresholds={"*": 1.0},
    calibration={},
    data_sha256="00",
    data_from_ms=0,
    data_to_ms=1,
    metrics={},
    min_agent="0.1.0",
    scope=Scope(sites=("demo",)),
    self_test=SelfTest(shape=(1, 1), input=b"", output=b"", output_shape=(1,), atol=1e-5),
    issued_ms=0,
    expires_ms=NOW + 10,
)


def _assignment(**changes: object) -> Assignment:
    fields: dict[str, object] = {
        "site": SITE,
        "counter": 1,
        "issued_ms": 0,
        "expires_ms": NOW + 10,
        "stage": Stage.ACTIVE,
        "manifest": bless(MANIFEST, RELEASE),
    }
    return Assignment(**{**fields, **changes})  # type: ignore[arg-type]  # a builder for tests


def _verify(signed: Signed) -> Manifest:
    return verify_assignment(signed, RING, site=SITE, now_ms=NOW).manifest


def test_a_blessed_and_assigned_model_is_accepted() -> None:
    assert _verify(assign(_assignment(), ASSIGN)) == MANIFEST


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: assign(_assignment(site=SiteId("else")), ASSIGN), "for site 'else'"),
        (lambda: assign(_assignment(expires_ms=NOW), ASSIGN), "expired"),
        (lambda: assign(_assignment(), RELEASE), "role 'assignment'"),
        (lambda: assign(_assignment(manifest=bless(MANIFEST, ASSIGN)), ASSIGN), "role 'release'"),
        (
            lambda: assign(
                _assignment(manifest=bless(msgspec.structs.replace(MANIFEST, expires_ms=NOW), RELEASE)),
                ASSIGN,
            ),
            "expired",
        ),
        (
            lambda: assign(
                _assignment(
                    manifest=bless(msgspec.structs.replace(MANIFEST, scope=Scope(sites=("south",))), RELEASE)
                ),
                ASSIGN,
            ),
            "not meant for site",
        ),
    ],
)
def test_refusals(make: Callable[[], Signed], why: str) -> None:
    with pytest.raises(SecurityError, match=why):
        _verify(make())


def test_the_file_must_be_the_manifests() -> None:
    with pytest.raises(ArtifactError, match="hash"):
        check_bytes(MANIFEST, DATA)
    with pytest.raises(ArtifactError, match="bytes, the manifest says"):
        check_bytes(MANIFEST, DATA + b"!")
