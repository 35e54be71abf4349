"""A site runs only what a release key blessed and an assignment key chose for it, in time."""

from collections.abc import Callable

import msgspec
import pytest

from shared.artifacts.manifest import (
    Assignment,
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
from support.manifests import draft

RELEASE, ASSIGN = SigningKey.generate("rel"), SigningKey.generate("asg")
RING = Keyring(
    (
        PublicKeyEntry(id="rel", role=Role.RELEASE, public=RELEASE.public_text),
        PublicKeyEntry(id="asg", role=Role.ASSIGNMENT, public=ASSIGN.public_text),
    )
)
SITE, NOW = SiteId("demo"), 1_000_000
DATA = b"onnx bytes"
MANIFEST = draft(
    DATA,
    version=3,
    scope=Scope(sites=("demo",)),
    self_test=SelfTest(shape=(1, 1), input=b"", output=b"", output_shape=(1,), atol=1e-5),
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
        check_bytes(MANIFEST, b"onnx bytez")
    with pytest.raises(ArtifactError, match="bytes, the manifest says"):
        check_bytes(MANIFEST, DATA + b"!")
