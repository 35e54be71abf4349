"""Models: what they score, and that ONNX scores the same."""

from collections.abc import Iterator

import numpy as np
import pytest
from onnx import TensorProto, helper

from cloud.training import lstm_ae
from cloud.training.baseline import MaxAbsZ
from cloud.training.datasets import read, split, trainable, windows
from cloud.training.detector import Exportable, fit_scaling, fit_trimmed, outlying
from cloud.training.export import Session, graph_facts
from cloud.training.gates import golden_inputs
from cloud.training.lstm_ae import LstmAutoencoder
from cloud.training.pca import PcaDetector
from cloud.training.perturb import FAULTS, perturbed
from shared.artifacts.manifest import ALLOWED_OPS
from shared.features.compute import features
from shared.features.spec import miner_spec
from support.training import dataset_file, demo_minute

SPEC = miner_spec(5)
ROWS = [row for row in demo_minute().rows if row.algorithm == "sha256d"]


@pytest.fixture(scope="module")
def parts():
    return split(SPEC, ROWS)


@pytest.fixture(scope="module", autouse=True)
def short_training() -> Iterator[None]:
    """A third of the steps: enough for what is asserted here; `test_run` trains in full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lstm_ae, "STEPS", 150)
        yield


@pytest.fixture(scope="module", params=[PcaDetector, LstmAutoencoder])
def detector(request, parts) -> Exportable:
    return request.param.fit(SPEC, parts.train.x)


@pytest.fixture(scope="module")
def model(detector: Exportable) -> bytes:
    return detector.to_onnx()


def test_onnx_scores_what_the_framework_scores(detector: Exportable, model: bytes, parts) -> None:
    session = Session(model)
    for name, x in golden_inputs(parts.test).items():
        here, there = detector.score(x), session.score(x)
        assert there.score.shape == (len(x),), name
        assert there.residual.shape == (len(x), len(SPEC.features)), name
        np.testing.assert_allclose(there.score, here.score, atol=1e-5, rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(there.residual, here.residual, atol=1e-5, rtol=1e-4, err_msg=name)


def test_the_graph_is_one_the_gateway_accepts(model: bytes) -> None:
    facts = graph_facts(model)
    assert facts.ops <= ALLOWED_OPS
    assert not facts.external_data
    assert facts.opset == 17
    assert len(model) < 200_000


def test_the_score_is_its_largest_residual(detector: Exportable, parts) -> None:
    scored = detector.score(parts.test.x)
    np.testing.assert_allclose(scored.score, scored.residual.max(axis=1))
    assert (scored.residual >= 0).all()


def test_the_batch_does_not_change_a_score(model: bytes, parts) -> None:
    session = Session(model)
    whole = session.score(parts.test.x).score
    alone = np.concatenate([session.score(parts.test.x[i : i + 1]).score for i in range(len(whole))])
    np.testing.assert_allclose(alone, whole, atol=1e-6)


def test_training_twice_gives_the_same_bytes(detector: Exportable, model: bytes, parts) -> None:
    again = type(detector).fit(SPEC, parts.train.x).to_onnx()
    np.testing.assert_array_equal(
        Session(again).score(parts.test.x).score, Session(model).score(parts.test.x).score
    )
    assert again == model


@pytest.mark.parametrize(
    ("fault", "explained_by"),
    [
        ("fan_sag", {"fan_min_ratio", "fan_weakest", "fan_spread"}),
        ("fan_set_worn", {"fan_response", "fan_weakest"}),
        ("hash_loss", {"hash_ratio", "power_ratio", "efficiency_ratio"}),
        ("hotter", {"chip_hot_c"}),
    ],
)
def test_a_clear_fault_scores_high_and_is_named(
    detector: Exportable, parts, fault: str, explained_by: set[str]
) -> None:
    assert fault in FAULTS
    normal = detector.score(parts.test.x).score.max()
    bent = detector.score(features(SPEC, perturbed(SPEC, parts.test.matrix, fault, 1.0)))
    assert bent.score.min() > normal
    assert {SPEC.names[i] for i in bent.residual.argmax(axis=1)} <= explained_by


def test_a_few_ill_machines_in_training_do_not_become_normal(parts) -> None:
    bent = features(SPEC, perturbed(SPEC, parts.train.matrix[:8], "fan_sag", 1.0))
    clean, dirty = (PcaDetector.fit(SPEC, x) for x in (parts.train.x, np.concatenate([parts.train.x, bent])))
    assert dirty.score(bent).score.min() > 0.8 * clean.score(bent).score.min()
    np.testing.assert_allclose(dirty.score(parts.test.x).score, clean.score(parts.test.x).score, rtol=0.2)


def test_trimming_drops_a_few_outliers_and_nothing_from_clean_data() -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(2.0, 0.3, 500)
    assert not outlying(clean).any()
    assert outlying(np.append(clean, 50.0)).tolist().index(True) == 500
    assert outlying(np.concatenate([clean, np.full(400, 50.0)])).mean() <= 0.1


def test_trimming_fits_again_only_without_outliers(parts) -> None:
    seen: list[int] = []

    def fit(x):
        seen.append(len(x))
        return MaxAbsZ.fit(SPEC, x)

    fit_trimmed(SPEC, fit, parts.train.x)
    assert seen == [len(parts.train)]


def test_scaling_never_divides_by_less_than_the_tolerance() -> None:
    scaling = fit_scaling(SPEC, np.ones((20, SPEC.width), dtype=np.float32))
    assert scaling.scale.tolist() == [feature.tolerance for feature in SPEC.features]


def test_windows_of_a_recording_cover_its_machines() -> None:
    assert len(set(windows(SPEC, ROWS).devices)) == 47


def test_graph_facts_see_subgraphs_and_external_data() -> None:
    then = helper.make_graph(
        [helper.make_node("Tan", ["x"], ["y"])],
        "then",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    other = helper.make_graph(
        [helper.make_node("Sin", ["x"], ["y"])],
        "else",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["z"], then_branch=then, else_branch=other)],
        "g",
        [
            helper.make_tensor_value_info("c", TensorProto.BOOL, [1]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    facts = graph_facts(model.SerializeToString())
    assert facts.ops == {"If", "Tan", "Sin"}
    assert not facts.external_data


def test_trainable_keeps_the_forty_seven_sha256d_machines(tmp_path) -> None:
    rows, algorithms = trainable(read(dataset_file(tmp_path)))
    assert (len({row.device for row in rows}), algorithms) == (47, ("sha256d",))
