"""Specs are data with a hash."""

import msgspec
import pytest

from shared.errors import ArtifactError
from shared.features.spec import SPECS, miner_spec, resolve
from shared.telemetry import COLUMN_NAMES


def test_equal_specs_have_equal_hashes_and_every_field_counts() -> None:
    spec = miner_spec(5)
    assert spec.hash() == miner_spec(5).hash()
    others = [
        miner_spec(60),
        miner_spec(5, window=6),
        msgspec.structs.replace(spec, version=2),
        msgspec.structs.replace(spec, max_gaps=2),
        msgspec.structs.replace(spec, features=spec.features[::-1]),
        msgspec.structs.replace(spec, required=()),
    ]
    assert len({spec.hash(), *(other.hash() for other in others)}) == 1 + len(others)


def test_the_published_definition_does_not_change_by_accident() -> None:
    # A new hash here means that every published model is refused: raise the spec's version first.
    assert miner_spec(60).hash() == "84542012f1018ecc61b495dfe3960402cf47550cb706efd2d84935069a731f49"
    assert miner_spec(5).hash() == "0b9b71228df84daef39027abcba911c7c8ccf4bebf0821f65583c05a5f868c80"


def test_specs_are_consistent() -> None:
    for build in SPECS.values():
        spec = build(60)
        assert set(spec.columns) <= set(COLUMN_NAMES)
        assert set(spec.required) <= set(spec.columns)
        assert len(set(spec.names)) == len(spec.names)
        assert spec.width == spec.window * len(spec.features)
        assert all(feature.tolerance > 0 for feature in spec.features)


def test_settling_covers_the_same_time_on_every_step() -> None:
    assert (miner_spec(5).settle_steps, miner_spec(60).settle_steps) == (4, 1)
    assert (miner_spec(5).warm_steps, miner_spec(60).warm_steps) == (18, 2)


def test_resolve_finds_what_a_manifest_names() -> None:
    spec = miner_spec(5, window=8)
    assert resolve("miner-1", step_s=5, window=8, spec_hash=spec.hash()) == spec


@pytest.mark.parametrize(
    ("spec_id", "step_s", "window", "text"),
    [
        ("miner-9", 5, 4, "unknown"),
        ("miner-1", 60, 4, "another definition"),
        ("miner-1", 0, 4, "outside"),
        ("miner-1", 5, 1_000_000, "outside"),
    ],
)
def test_resolve_refuses_what_it_cannot_compute(spec_id: str, step_s: int, window: int, text: str) -> None:
    with pytest.raises(ArtifactError, match=text):
        resolve(spec_id, step_s=step_s, window=window, spec_hash=miner_spec(5).hash())
