"""Models with something wrong in them, each made by `onnx` from the good one."""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from shared.features.spec import FeatureSpec
from support.agent import load_onnx, tiny_onnx, typical


def nan_between(spec: FeatureSpec, feature: str, low: float, high: float, *, scale: float = 0.05) -> bytes:
    """Like `tiny_onnx`, but a miner whose `feature` lies between `low` and `high` gets NaN for a score.

    It passes its self-test and any shadow on healthy data, as a real model with a bad corner would.
    """
    model = load_onnx(tiny_onnx(spec, scale=scale))
    index = spec.width - len(spec.features) + spec.names.index(feature)
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([index], dtype=np.int64), "nan_from"),
            numpy_helper.from_array(np.array([index + 1], dtype=np.int64), "nan_to"),
            numpy_helper.from_array(np.array([low], dtype=np.float32), "low"),
            numpy_helper.from_array(np.array([high], dtype=np.float32), "high"),
            numpy_helper.from_array(np.array([0.0], dtype=np.float32), "nothing"),
        ]
    )
    for node in model.graph.node:
        if "score" in node.output:
            node.output[0] = "plain"
    model.graph.node.extend(
        [
            helper.make_node("Slice", ["x", "nan_from", "nan_to", "axes"], ["watched"]),
            helper.make_node("Sub", ["watched", "low"], ["above_low"]),
            helper.make_node("Sub", ["watched", "high"], ["above_high"]),
            helper.make_node("Mul", ["above_low", "above_high"], ["negative_between"]),
            helper.make_node("Sqrt", ["negative_between"], ["root"]),
            helper.make_node("Mul", ["root", "nothing"], ["zero_or_nan"]),
            helper.make_node("Squeeze", ["zero_or_nan", "axes"], ["poison"]),
            helper.make_node("Add", ["plain", "poison"], ["score"]),
        ]
    )
    return bytes(model.SerializeToString())


def external_data(spec: FeatureSpec) -> bytes:
    """A weight that lies in another file."""
    model = load_onnx(tiny_onnx(spec))
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../keyring.toml"
    return bytes(model.SerializeToString())


def unknown_op(spec: FeatureSpec) -> bytes:
    """An operator of somebody's own library."""
    model = load_onnx(tiny_onnx(spec))
    model.graph.node.append(helper.make_node("Backdoor", ["score"], ["more"], domain="evil"))
    return bytes(model.SerializeToString())


def allocation(spec: FeatureSpec, gigabytes: float = 6.0) -> bytes:
    """Asks for so much memory at run time, with allowed operators only."""
    model = load_onnx(tiny_onnx(spec))
    count = round(gigabytes * 1e9 / 4)
    shape = numpy_helper.from_array(np.array([count], dtype=np.int64), "huge")
    model.graph.initializer.append(shape)
    _spend(model.graph, helper.make_node("Expand", ["scale", "huge"], ["big"]), "big")
    return bytes(model.SerializeToString())


def endless(spec: FeatureSpec) -> bytes:
    """Loops for about ever: 2**62 times nothing."""
    model = load_onnx(tiny_onnx(spec))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", "sum"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
        ],
    )
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(2**62, dtype=np.int64), "often"),
            numpy_helper.from_array(np.array(True), "yes"),
            numpy_helper.from_array(np.array([0.0], dtype=np.float32), "start"),
        ]
    )
    _spend(model.graph, helper.make_node("Loop", ["often", "yes", "start"], ["end"], body=body), "end")
    return bytes(model.SerializeToString())


def slow(spec: FeatureSpec, steps: int = 1_000) -> bytes:
    """Allowed operators only, and far too much work for one batch: matrix after matrix, in little memory.

    It begins with the input, so that nothing of it is worked out while the model loads.
    """
    model = load_onnx(tiny_onnx(spec))
    side = 1_024
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([side, side], dtype=np.int64), "square"),
            numpy_helper.from_array(np.array([0], dtype=np.int64), "both_0"),
        ]
    )
    model.graph.node.append(helper.make_node("ReduceMax", ["x"], ["highest"], keepdims=0))
    model.graph.node.append(helper.make_node("Expand", ["highest", "square"], ["m0"]))
    for step in range(steps):
        model.graph.node.append(helper.make_node("MatMul", [f"m{step}", "m0"], [f"m{step + 1}"]))
    _spend(model.graph, helper.make_node("ReduceMax", [f"m{steps}"], ["work"], keepdims=0), "work")
    return bytes(model.SerializeToString())


def other_centre(spec: FeatureSpec) -> Sequence[float]:
    """Weights of another model than the manifest's self-test was made with."""
    return [value + 3.0 for value in typical(spec)]


def _spend(graph: object, node: object, output: str) -> None:
    """Add a node whose result is part of the score, so that no optimiser drops it."""
    for present in graph.node:  # type: ignore[attr-defined]  # a protobuf message
        if "score" in present.output:
            present.output[0] = "plain"
    zero = numpy_helper.from_array(np.array([0.0], dtype=np.float32), "no_share")
    graph.initializer.append(zero)  # type: ignore[attr-defined]  # a protobuf message
    graph.node.append(node)  # type: ignore[attr-defined]  # a protobuf message
    graph.node.extend(  # type: ignore[attr-defined]  # a protobuf message
        [
            helper.make_node("ReduceMax", [output], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "no_share"], ["share"]),
            helper.make_node("Add", ["plain", "share"], ["score"]),
        ]
    )
