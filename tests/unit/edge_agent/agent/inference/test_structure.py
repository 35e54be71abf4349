"""What may be inside a model file, looked at without `onnx`; compared with what `onnx` itself wrote."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge_agent.agent.inference.structure import inspect
from shared.artifacts.manifest import MAX_MODEL_BYTES
from shared.errors import ArtifactError
from support.agent import load_onnx, small_spec, tiny_onnx

GOOD = tiny_onnx(small_spec())


def test_a_good_model_is_described_as_onnx_describes_it() -> None:
    found = inspect(GOOD)
    graph = load_onnx(GOOD).graph
    assert found.ops == {node.op_type for node in graph.node}
    assert found.nodes == len(graph.node)
    assert found.inputs == ("x",)
    assert found.outputs == ("score", "residual")
    assert found.opsets == {"": 17}


def test_external_data_is_refused_wherever_it_stands() -> None:
    model = load_onnx(GOOD)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret"
    with pytest.raises(ArtifactError, match="external data"):
        inspect(model.SerializeToString())
    entry_only = load_onnx(GOOD)
    entry_only.graph.initializer[0].external_data.add().key = "location"
    with pytest.raises(ArtifactError, match="external data"):
        inspect(entry_only.SerializeToString())


def test_external_data_inside_an_attribute_is_refused() -> None:
    model = load_onnx(GOOD)
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    with pytest.raises(ArtifactError, match="external data"):
        inspect(model.SerializeToString())


@pytest.mark.parametrize(
    "op", ["Loop", "If", "Scan", "ConstantOfShape", "RandomNormal", "StringNormalizer", ""]
)
def test_an_operator_that_is_not_on_the_list_is_refused(op: str) -> None:
    model = load_onnx(GOOD)
    model.graph.node.append(helper.make_node(op, ["score"], ["more"]))
    with pytest.raises(ArtifactError, match="not allowed"):
        inspect(model.SerializeToString())


def test_a_sub_graph_is_refused_even_in_an_allowed_operator() -> None:
    model = load_onnx(GOOD)
    node = helper.make_node("Identity", ["score"], ["more"], body=helper.make_graph([], "inner", [], []))
    model.graph.node.append(node)
    with pytest.raises(ArtifactError, match="sub-graph"):
        inspect(model.SerializeToString())


def test_a_foreign_domain_is_refused() -> None:
    model = load_onnx(GOOD)
    model.graph.node.append(helper.make_node("Relu", ["score"], ["more"], domain="com.microsoft"))
    with pytest.raises(ArtifactError, match=r"com\.microsoft"):
        inspect(model.SerializeToString())
    declared = load_onnx(GOOD)
    declared.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(ArtifactError, match=r"com\.example"):
        inspect(declared.SerializeToString())


def test_functions_of_its_own_are_refused() -> None:
    model = load_onnx(GOOD)
    model.functions.append(helper.make_function("d", "Mine", [], [], [], [helper.make_opsetid("", 17)]))
    with pytest.raises(ArtifactError, match="functions"):
        inspect(model.SerializeToString())


def test_too_large_a_file_is_refused_before_it_is_read() -> None:
    with pytest.raises(ArtifactError, match="larger"):
        inspect(bytes(MAX_MODEL_BYTES + 1))


def test_an_endless_list_of_nodes_is_refused() -> None:
    model = load_onnx(GOOD)
    model.graph.node.extend([helper.make_node("Relu", ["score"], [f"r{n}"]) for n in range(5_000)])
    with pytest.raises(ArtifactError, match="nodes"):
        inspect(model.SerializeToString())


@given(st.binary(max_size=200))
def test_any_bytes_give_a_verdict_and_nothing_else(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        inspect(data)


@given(st.integers(0, 2**32))
def test_a_damaged_model_gives_a_verdict_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(GOOD)
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    try:
        inspect(bytes(data[: chance.randint(1, len(data))]))
    except ArtifactError:
        return
