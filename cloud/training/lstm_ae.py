"""LSTM autoencoder 32-16-16-32: the challenger. It replaces PCA only where it is better.

torch is imported inside functions only: everything else in this package works without it.
"""

from typing import TYPE_CHECKING

import numpy as np

from cloud.training.detector import (
    Z_LIMIT,
    Floats,
    Inputs,
    Scaling,
    Scored,
    fit_scaling,
    fit_trimmed,
    normal_level,
)
from cloud.training.export import torch_to_onnx
from shared.features.spec import FeatureSpec

if TYPE_CHECKING:
    import torch

OUTER = 32
INNER = 16
STEPS = 500
BATCH = 64
LEARNING_RATE = 3e-3
SEED = 7


def _network(spec: FeatureSpec, scaling: Scaling) -> "torch.nn.Module":
    """Features [N, window * F] → (score [N], residual [N, F], error [N, window, F]); float32."""
    import torch  # noqa: PLC0415  # torch is optional and takes seconds to import
    from torch import nn  # noqa: PLC0415  # as above

    count, window = len(spec.features), spec.window

    class Autoencoder(nn.Module):
        centre: torch.Tensor
        scale: torch.Tensor
        level: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            sizes = ((count, OUTER), (OUTER, INNER), (INNER, INNER), (INNER, OUTER))
            self.layers = nn.ModuleList(nn.LSTM(a, b, batch_first=True) for a, b in sizes)
            self.head = nn.Linear(OUTER, count)
            self.register_buffer("centre", torch.tensor(scaling.centre, dtype=torch.float32))
            self.register_buffer("scale", torch.tensor(scaling.scale, dtype=torch.float32))
            self.register_buffer("level", torch.ones(count))
            for size in (OUTER, INNER):
                self.register_buffer(f"zeros_{size}", torch.zeros(count, size))

        def _run(self, layer: nn.Module, size: int, x: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
            # A zero state made from the input's batch: the exporter's own needs ConstantOfShape, which
            # allocates by data and is not on the gateway's list of operators.
            zero = torch.matmul(first, getattr(self, f"zeros_{size}")).unsqueeze(0)
            out: torch.Tensor = layer(x, (zero, zero))[0]
            return out

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            steps = x.reshape(-1, window, count)
            z = torch.clamp((steps - self.centre) / self.scale, -Z_LIMIT, Z_LIMIT)
            first = z[:, 0, :]
            code = self._run(self.layers[0], OUTER, z, first)
            code = self._run(self.layers[1], INNER, code, first)[:, window - 1 : window, :]
            again = self._run(self.layers[2], INNER, torch.cat([code] * window, dim=1), first)
            again = self._run(self.layers[3], OUTER, again, first)
            error = z - self.head(again)
            residual = torch.sqrt((error * error).mean(dim=1)) / self.level
            return residual.amax(dim=1), residual, error

    return Autoencoder()


class LstmAutoencoder:
    """A trained autoencoder. Same scaling, residual and score as the PCA, so the two can be compared."""

    algorithm = "lstm-ae"

    def __init__(self, spec: FeatureSpec, network: "torch.nn.Module") -> None:
        self._spec = spec
        self._network = network

    @classmethod
    def fit(cls, spec: FeatureSpec, x: Inputs) -> "LstmAutoencoder":
        """Train on features [N, window * F], fixed seed and number of steps; ImportError without torch."""
        return fit_trimmed(spec, lambda kept: cls._fit_once(spec, kept), x)

    @classmethod
    def _fit_once(cls, spec: FeatureSpec, x: Inputs) -> "LstmAutoencoder":
        import torch  # noqa: PLC0415  # torch is optional and takes seconds to import

        torch.set_num_threads(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            network = _network(spec, fit_scaling(spec, x))
            optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=STEPS)
            data = torch.from_numpy(np.ascontiguousarray(x))
            for _ in range(STEPS):
                batch = data[torch.randint(len(data), (BATCH,))]
                error = network(batch)[2]
                optimiser.zero_grad()
                (error * error).mean().backward()
                optimiser.step()
                schedule.step()
        fitted = cls(spec, network.eval())
        network.level = torch.tensor(normal_level(fitted._run(x)[2]), dtype=torch.float32)
        return fitted

    def _run(self, x: Inputs) -> tuple[Floats, Floats, Floats]:
        import torch  # noqa: PLC0415  # torch is optional and takes seconds to import

        with torch.no_grad():
            score, residual, error = self._network(torch.from_numpy(np.ascontiguousarray(x)))
        return score.double().numpy(), residual.double().numpy(), error.double().numpy()

    def score(self, x: Inputs) -> Scored:
        """Score features [N, window * F]."""
        score, residual, _ = self._run(x)
        return Scored(score=score, residual=residual)

    def to_onnx(self) -> bytes:
        """The graph with outputs `score` and `residual`."""
        return torch_to_onnx(self._network, width=self._spec.width, outputs=("score", "residual"))
