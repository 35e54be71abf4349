"""The gate refuses what must not reach a site."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from sklearn.metrics import average_precision_score

from cloud.training.baseline import MaxAbsZ
from cloud.training.datasets import split
from cloud.training.detector import Scored
from cloud.training.export import Session
from cloud.training.gates import (
    Rivals,
    Scores,
    Verdict,
    artefact_rules,
    average_precision,
    calibrate,
    hold,
    quality_rules,
    ranking,
    scores_of,
    sure_gain,
)
from cloud.training.pca import PcaDetector
from shared.clock import ManualClock, SystemClock
from shared.features.spec import miner_spec
from support.training import demo_minute

SPEC = miner_spec(5)
NO_CHAMPION = Rivals(baseline=0.5, champion=None, champion_detail="none")


@pytest.fixture(scope="module")
def parts():
    return split(SPEC, [row for row in demo_minute().rows if row.algorithm == "sha256d"])


@pytest.fixture(scope="module")
def held(parts):
    return hold(parts.test)


@pytest.fixture(scope="module")
def pca(parts) -> PcaDetector:
    return PcaDetector.fit(SPEC, parts.train.x)


def failed(verdict: Verdict) -> list[str]:
    return [rule.rule for rule in verdict.rules if not rule.ok]


def constant_model(value: float, *, op: str | None = None) -> bytes:
    """A valid file that scores every machine the same."""
    nodes = [
        helper.make_node("MatMul", ["x", "zero"], ["none"]),
        helper.make_node("Add", ["none", "value"], ["residual_raw"]),
        helper.make_node(op or "Identity", ["residual_raw"], ["residual"]),
        helper.make_node("ReduceMax", ["residual"], ["score"], axes=[1], keepdims=0),
    ]
    count = len(SPEC.features)
    consts = {"zero": np.zeros((SPEC.width, count)), "value": np.full(count, value)}
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, SPEC.width])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [None]),
            helper.make_tensor_value_info("residual", TensorProto.FLOAT, [None, count]),
        ],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in consts.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_a_good_candidate_passes_every_rule(parts, held, pca) -> None:
    baseline = ranking(MaxAbsZ.fit(SPEC, parts.train.x), held)
    model = pca.to_onnx()
    session = Session(model)
    level = calibrate(session.score(parts.validate.x).score, [""] * len(parts.validate)).thresholds["*"]
    rivals = Rivals(baseline=baseline, champion=None, champion_detail="none")
    quality = quality_rules(session, held, np.full(len(parts.test), level), rivals)
    artefact = artefact_rules(model, pca, parts.test, ManualClock())
    assert failed(quality) == []
    assert failed(artefact) == []
    assert quality.accepted
    assert artefact.metrics["parity_max"] < 1e-4


def test_a_useless_candidate_is_refused(parts, held) -> None:
    session = Session(constant_model(1.0))
    verdict = quality_rules(session, held, np.full(len(parts.test), 2.0), NO_CHAMPION)
    assert failed(verdict) == ["beats_baseline", "sees_synthetic_faults"]
    assert not verdict.accepted


def test_a_candidate_that_always_alarms_is_refused(parts, held, pca) -> None:
    verdict = quality_rules(Session(pca.to_onnx()), held, np.zeros(len(parts.test)), NO_CHAMPION)
    assert failed(verdict) == ["quiet_on_normal"]


def test_a_candidate_that_never_alarms_is_refused(parts, held, pca) -> None:
    verdict = quality_rules(Session(pca.to_onnx()), held, np.full(len(parts.test), 1e9), NO_CHAMPION)
    assert failed(verdict) == ["sees_synthetic_faults"]


def test_a_candidate_worse_than_the_champion_is_refused(parts, held, pca) -> None:
    better = Rivals(baseline=0.5, champion=1.0, champion_detail="pca v3")
    verdict = quality_rules(Session(pca.to_onnx()), held, np.full(len(parts.test), 4.0), better)
    assert failed(verdict) == ["not_worse_than_champion"]
    assert verdict.metrics["synthetic_ap_champion"] == 1.0


def test_a_file_that_is_not_the_trained_model_is_refused(parts, pca) -> None:
    assert "parity" in failed(artefact_rules(constant_model(1.0), pca, parts.test, SystemClock()))


def test_a_model_that_gives_nan_is_refused(parts, pca) -> None:
    assert "parity" in failed(artefact_rules(constant_model(float("nan")), pca, parts.test, SystemClock()))


def test_a_foreign_operator_is_refused(parts, pca) -> None:
    verdict = artefact_rules(constant_model(1.0, op="Sin"), pca, parts.test, SystemClock())
    assert "operators" in failed(verdict)
    assert next(rule.detail for rule in verdict.rules if rule.rule == "operators") == "not allowed: Sin"


def test_a_slow_model_is_refused(parts, pca) -> None:
    class Slow(ManualClock):
        def monotonic(self) -> float:
            self.advance(0.2)
            return super().monotonic()

    assert failed(artefact_rules(pca.to_onnx(), pca, parts.test, Slow())) == ["latency"]


def test_thresholds_stand_above_normal_and_wider_with_little_data() -> None:
    score = np.random.default_rng(0).normal(2.0, 0.2, 4000)
    much = calibrate(score, [""] * 4000)
    little = calibrate(score[:50], [""] * 50)
    assert much.thresholds["*"] > np.quantile(score, 0.995)
    assert little.margin > much.margin
    assert (much.windows, set(much.thresholds)) == (4000, {"*"})


def test_a_model_gets_its_own_threshold_with_enough_windows() -> None:
    score = np.concatenate([np.full(100, 1.0), np.full(100, 2.0), np.full(5, 1.5)])
    calibration = calibrate(score, ["A"] * 100 + ["B"] * 100 + ["C"] * 5)
    assert set(calibration.thresholds) == {"*", "A", "B"}
    assert calibration.thresholds["A"] < calibration.thresholds["B"]
    assert calibration.of(["A", "C", ""]).tolist() == [calibration.thresholds[k] for k in ("A", "*", "*")]


def test_an_ill_machine_among_the_normal_ones_does_not_raise_the_threshold() -> None:
    score = np.random.default_rng(0).normal(2.0, 0.2, 400)
    clean = calibrate(score, [""] * 400).thresholds["*"]
    dirty = calibrate(np.append(score, [25.0] * 8), [""] * 408).thresholds["*"]
    assert dirty == pytest.approx(clean, rel=0.05)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60))
def test_average_precision_is_scikit_learns(pairs: list[tuple[bool, int]]) -> None:
    truth = np.array([hit for hit, _ in pairs])
    score = np.array([float(s) for _, s in pairs])
    if truth.any():
        assert average_precision(truth, score) == pytest.approx(average_precision_score(truth, score))
    else:
        assert average_precision(truth, score) == 0.0


def test_ranking_is_one_for_an_oracle_and_half_for_a_constant(held) -> None:
    class Oracle:
        algorithm = "oracle"

        def score(self, x):
            same = x.shape == held.normal.shape and np.array_equal(x, held.normal)
            value = np.zeros(len(x)) if same else np.ones(len(x))
            return Scored(score=value, residual=value[:, None])

    assert ranking(Oracle(), held) == 1.0
    assert ranking(Session(constant_model(1.0)), held) == pytest.approx(0.5)


def test_a_gain_is_sure_only_when_most_machines_show_it(held, pca) -> None:
    good = scores_of(pca, held)
    noise = np.random.default_rng(3)
    same = Scores(normal=good.normal + noise.normal(0, 1e-3, good.normal.shape), bent=good.bent)
    useless = Scores(normal=np.ones_like(good.normal), bent=np.ones_like(good.bent))
    assert sure_gain(same, good, held.devices) <= 0.0
    assert sure_gain(good, useless, held.devices) > 0.2
    assert sure_gain(useless, good, held.devices) < -0.2
    assert sure_gain(good, useless, held.devices) == sure_gain(good, useless, held.devices)
