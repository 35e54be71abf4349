"""One scoring batch of a whole site, on the gateway's own session, against torch eager on one thread."""

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud.training.datasets import windows
from cloud.training.detector import Z_LIMIT
from cloud.training.lstm_ae import LstmAutoencoder
from cloud.training.pca import PcaDetector
from cloud.training.simulated import record
from edge_agent.agent.inference.session import ModelSession
from shared.features.spec import FeatureSpec, miner_spec
from shared.plant import SitePlant, demo_site
from support.benchmark import REPEATS, Line, in_turns, rounded, seconds

torch = pytest.importorskip("torch", reason="the peer is torch")

SIZES = (100, 1_000, 5_000)
STEP_S = 60
MINUTES = 30
Floats = NDArray[np.float32]
Eager = Callable[[Any], tuple[Any, Any]]


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[FeatureSpec, Floats]]:
    """Features of half an hour of the demo site."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spec = miner_spec(STEP_S)
    plant = SitePlant(demo_site(), seed=3)
    plant.settle(900)
    found = windows(spec, record(plant, MINUTES * 60, poll_s=10.0, step_s=STEP_S).rows)
    assert len(found) > 500
    yield spec, found.x
    torch.set_num_threads(threads)


def _pca_eager(detector: PcaDetector, spec: FeatureSpec) -> Eager:
    """The champion's mathematics in torch, as a person would write it there."""

    def tensor(values: NDArray[np.float64]) -> Any:
        return torch.tensor(values, dtype=torch.float32)

    centre, scale = tensor(detector._scaling.centre), tensor(detector._scaling.scale)
    axes, mean = tensor(detector._pca.components_), tensor(detector._pca.mean_)
    bound, level = tensor(detector._bound), tensor(detector._level)

    def run(x: Any) -> tuple[Any, Any]:
        z = torch.clamp((x.view(len(x), spec.window, -1) - centre) / scale, -Z_LIMIT, Z_LIMIT).flatten(1)
        parts = torch.clamp((z - mean) @ axes.T, -bound, bound)
        error = (z - (parts @ axes + mean)).view(len(x), spec.window, -1)
        residual = torch.sqrt((error * error).mean(dim=1)) / level
        return residual.amax(dim=1), residual

    return run


def _lstm_eager(detector: LstmAutoencoder) -> Eager:
    def run(x: Any) -> tuple[Any, Any]:
        score, residual, _ = detector._network(x)
        return score, residual

    return run


@pytest.fixture(scope="module")
def models(trained: tuple[FeatureSpec, Floats]) -> dict[str, tuple[bytes, Eager]]:
    spec, x = trained
    pca, lstm = PcaDetector.fit(spec, x), LstmAutoencoder.fit(spec, x)
    return {
        "pca": (pca.to_onnx(), _pca_eager(pca, spec)),
        "lstm-ae": (lstm.to_onnx(), _lstm_eager(lstm)),
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["pca", "lstm-ae"])
def test_onnx_batch(
    name: str,
    size: int,
    trained: tuple[FeatureSpec, Floats],
    models: dict[str, tuple[bytes, Eager]],
    report: Callable[[Line], None],
) -> None:
    spec, known = trained
    graph, eager = models[name]
    session = ModelSession(graph, width=spec.width, features=len(spec.features))
    rng = np.random.default_rng(size)
    x = np.ascontiguousarray(known[rng.integers(0, len(known), size)])
    given = torch.from_numpy(x)
    calls = max(1, 2_000 // size)

    def ours() -> float:
        return seconds(lambda: [session.run(x, deadline_s=30.0) for _ in range(calls)]) * 1000 / calls

    def peer() -> float:
        with torch.inference_mode():
            return seconds(lambda: [eager(given) for _ in range(calls)]) * 1000 / calls

    with torch.inference_mode():
        expected = eager(given)[0].numpy()
    scores = session.run(x, deadline_s=30.0).score
    assert scores.shape == (size,)
    assert np.allclose(scores, expected, rtol=1e-3, atol=1e-3), "both must compute the same thing"
    turns = in_turns(ours, peer)
    feed = {"x": x}
    alone_s = statistics.median(
        seconds(lambda: session._session.run(["score", "residual"], feed)) for _ in range(REPEATS)
    )
    report(
        turns.line(
            f"onnx batch {name}",
            unit="ms",
            peer="torch eager, one thread",
            n=size,
            # Without our deadline timer and the chunks of 128: what the runtime itself takes.
            more={"model_bytes": len(graph), "runtime_alone_ms": rounded(alone_s * 1000)},
        )
    )
