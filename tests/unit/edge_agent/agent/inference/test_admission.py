"""Who may bring a model in: every way to be refused, and the few to be let in."""

import msgspec
import pytest

from edge_agent.agent.inference.admission import Seen, admit, check_structure
from edge_agent.agent.inference.structure import inspect
from shared.artifacts.manifest import Manifest, Scope, Stage
from shared.artifacts.signing import Signed
from shared.errors import ArtifactError, SecurityError
from shared.ids import SiteId
from support.agent import (
    KEYS,
    SITE,
    STEP_S,
    T0,
    load_onnx,
    make_assignment,
    make_manifest,
    small_spec,
    tiny_onnx,
)

SPEC = small_spec()
DATA = tiny_onnx(SPEC)
MANIFEST = make_manifest(DATA, SPEC, version=5)


def ask(
    signed: Signed, *, seen: Seen | None = None, known: set[str] | None = None, now_ms: int = T0
) -> Manifest:
    verified = admit(
        signed,
        KEYS.ring,
        site=SITE,
        now_ms=T0,
        step_s=STEP_S,
        seen=seen or Seen(),
        known=known or set(),
    )
    return verified.manifest


def test_a_blessed_and_assigned_model_may_in() -> None:
    assert ask(make_assignment(MANIFEST)) == MANIFEST


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        (make_assignment(MANIFEST, release=KEYS.stranger), "does not match"),
        (make_assignment(MANIFEST, release=KEYS.assignment), "role 'release'"),
        (make_assignment(MANIFEST, site=SiteId("other")), "for site"),
        (make_assignment(MANIFEST, expires_ms=T0), "expired"),
        (make_assignment(msgspec.structs.replace(MANIFEST, expires_ms=T0 - 1)), "expired"),
        (make_assignment(msgspec.structs.replace(MANIFEST, scope=Scope(sites=("other",)))), "not meant"),
        (Signed(payload=b"junk", signatures=()), "signed by nobody"),
    ],
)
def test_papers_that_are_not_in_order(signed: Signed, why: str) -> None:
    with pytest.raises(SecurityError, match=why):
        ask(signed)


def test_a_payload_changed_after_signing() -> None:
    good = make_assignment(MANIFEST)
    with pytest.raises(SecurityError):
        ask(Signed(payload=good.payload[:-1] + bytes([good.payload[-1] ^ 1]), signatures=good.signatures))


@pytest.mark.parametrize("counter", [6, 7])
def test_a_replayed_counter(counter: int) -> None:
    with pytest.raises(SecurityError, match="replayed"):
        ask(make_assignment(MANIFEST, counter=counter), seen=Seen(counter=7))


class TestVersions:
    SEEN = Seen(counter=1, versions={"miner-anomaly": 5}, hashes={"miner-anomaly": MANIFEST.sha256})

    def test_an_older_version_is_refused(self) -> None:
        older = msgspec.structs.replace(MANIFEST, version=4, sha256="4" * 64)
        with pytest.raises(SecurityError, match="not newer"):
            ask(make_assignment(older, counter=2), seen=self.SEEN)

    def test_going_back_to_a_model_in_a_slot_is_a_signed_rollback(self) -> None:
        older = msgspec.structs.replace(MANIFEST, version=4, sha256="4" * 64)
        assert ask(make_assignment(older, counter=2), seen=self.SEEN, known={"4" * 64}).version == 4

    def test_the_same_version_with_another_file_is_refused(self) -> None:
        twin = msgspec.structs.replace(MANIFEST, sha256="5" * 64)
        with pytest.raises(SecurityError, match="not newer"):
            ask(make_assignment(twin, counter=2), seen=self.SEEN)

    def test_the_same_file_again_may_in(self) -> None:
        assert ask(make_assignment(MANIFEST, counter=2), seen=self.SEEN) == MANIFEST

    def test_withdrawing_an_old_version_is_always_heard(self) -> None:
        older = msgspec.structs.replace(MANIFEST, version=1, sha256="1" * 64)
        assert ask(make_assignment(older, counter=2, stage=Stage.WITHDRAWN), seen=self.SEEN).version == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sha256": "../../etc/passwd"}, "not a hash"),
        ({"feature_spec": "miner-99"}, "unknown"),
        ({"feature_spec_hash": "0" * 64}, "another definition"),
        ({"window": 10_000}, "outside"),
        ({"step_s": 60}, "60 s"),
        ({"thresholds": {}}, "thresholds"),
        ({"thresholds": {"*": float("nan")}}, "thresholds"),
        ({"thresholds": {"*": 0.0}}, "thresholds"),
        ({"min_agent": "99.0.0"}, "or newer"),
    ],
)
def test_a_manifest_that_this_agent_cannot_serve(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        ask(make_assignment(msgspec.structs.replace(MANIFEST, **changes)))


def test_a_file_without_the_outputs_of_the_contract() -> None:
    model = load_onnx(DATA)
    del model.graph.output[1]
    with pytest.raises(ArtifactError, match="residual"):
        check_structure(inspect(model.SerializeToString()))
    check_structure(inspect(DATA))
