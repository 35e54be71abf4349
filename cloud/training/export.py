"""Into ONNX and out again: export from torch, sessions as on the gateway, and what a graph consists of."""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import onnxruntime as ort

from cloud.training.detector import Inputs, Scored
from shared.clock import Clock

if TYPE_CHECKING:
    import torch

TORCH_OPSET = 17
"""With `dynamo=False` gives IR 8, which older runtimes accept; exports in seconds (models.md §5.2)."""


def torch_to_onnx(network: "torch.nn.Module", *, width: int, outputs: Sequence[str]) -> bytes:
    """Export the first `len(outputs)` results of a network with input `x` [N, width]; the batch is free."""
    import torch  # noqa: PLC0415  # torch is optional and takes seconds to import

    class Outputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.network(x)[: len(outputs)])

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The legacy exporter announces its own end, and notes that a batch other than 1 needs given states
        # (they are given).
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Outputs().eval(),
            (torch.zeros(2, width),),
            buffer,  # type: ignore[arg-type]  # a stream works with dynamo=False, the stub knows paths only
            input_names=["x"],
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in ("x", *outputs)},
            opset_version=TORCH_OPSET,
            dynamo=False,
        )
    return buffer.getvalue()


class GraphFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a model file."""

    ops: frozenset[str]
    opset: int
    external_data: bool


def graph_facts(model: bytes) -> GraphFacts:
    """Operators (with those of subgraphs), opset, and whether any tensor lives in another file."""
    proto = onnx.load_from_string(model)
    onnx.checker.check_model(proto)
    ops: set[str] = set()
    tensors: list[onnx.TensorProto] = []
    graphs = [proto.graph]
    while graphs:
        graph = graphs.pop()
        tensors += graph.initializer
        for node in graph.node:
            ops.add(node.op_type)
            for attribute in node.attribute:
                graphs += [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
                tensors += [attribute.t] if attribute.HasField("t") else list(attribute.tensors)
    opset = max(entry.version for entry in proto.opset_import if entry.domain == "")
    external = any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors)
    return GraphFacts(ops=frozenset(ops), opset=opset, external_data=external)


class Session:
    """A model file in onnxruntime with the gateway's settings (models.md §5.3): one thread, no spinning."""

    def __init__(self, model: bytes) -> None:
        """Raises onnxruntime's own errors for a file that does not load."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def score(self, x: Inputs) -> Scored:
        """Score features [N, window * F]."""
        score, residual = self._session.run(["score", "residual"], {"x": np.ascontiguousarray(x)})
        return Scored(score=score.astype(np.float64), residual=residual.astype(np.float64))

    def latency_ms(self, x: Inputs, clock: Clock, *, runs: int = 7) -> float:
        """Median time of one run on `x`, ms."""
        took = []
        for _ in range(runs):
            began = clock.monotonic()
            self.score(x)
            took.append((clock.monotonic() - began) * 1000.0)
        return float(np.median(took))
