"""Looks into an ONNX file without importing `onnx`: which operators, any external data, any sub-graph.

The gateway never imports `onnx` (six path-traversal and resource CVEs since 2022, edge.md §6), and
onnxruntime still reads a relative external file beside the model. So the file's protobuf is walked here:
one pass per message, bounded by the file's length, nothing allocated but the names. Field numbers are those
of onnx.proto (IR 8-10).
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from shared.artifacts.manifest import ALLOWED_OPS, MAX_MODEL_BYTES
from shared.errors import ArtifactError

MAX_NODES: Final = 4_000
_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL: Final = 1

_MODEL_OPSET, _MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 8, 7, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_VALUE_NAME, _OPSET_DOMAIN, _OPSET_VERSION = 1, 1, 2


class Structure(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file is made of."""

    ops: frozenset[str]
    nodes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opsets: dict[str, int]


def inspect(data: bytes) -> Structure:
    """Check a model file's structure; raises `ArtifactError` that names what is not allowed."""
    if len(data) > MAX_MODEL_BYTES:
        raise ArtifactError(f"model file of {len(data)} bytes is larger than {MAX_MODEL_BYTES}")
    graphs: list[memoryview] = []
    opsets: dict[str, int] = {}
    for number, value in _fields(memoryview(data)):
        match number:
            case n if n == _MODEL_GRAPH:
                graphs.append(_bytes(value))
            case n if n == _MODEL_OPSET:
                domain, version = _opset(_bytes(value))
                opsets[domain] = version
            case n if n in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
                raise ArtifactError("model carries training information or functions of its own")
            case _:
                pass
    if len(graphs) != 1:
        raise ArtifactError(
            "not an ONNX model: it has no graph" if not graphs else "model has several graphs"
        )
    if foreign := set(opsets) - _DOMAINS:
        raise ArtifactError(f"model needs operators of {', '.join(sorted(foreign))}")
    return _graph(graphs[0], opsets)


def _graph(view: memoryview, opsets: dict[str, int]) -> Structure:
    ops: set[str] = set()
    names: dict[int, list[str]] = {_GRAPH_INPUT: [], _GRAPH_OUTPUT: []}
    nodes = 0
    for number, value in _fields(view):
        if number == _GRAPH_NODE:
            nodes += 1
            ops.add(_node(_bytes(value)))
        elif number == _GRAPH_INITIALIZER:
            _tensor(_bytes(value))
        elif number == _GRAPH_SPARSE:
            raise ArtifactError("model has sparse initializers")
        elif number in names:
            names[number] += [_text(v) for n, v in _fields(_bytes(value)) if n == _VALUE_NAME]
    if not 0 < nodes <= MAX_NODES:
        raise ArtifactError(f"model has {nodes} nodes, allowed are 1 to {MAX_NODES}")
    return Structure(
        ops=frozenset(ops),
        nodes=nodes,
        inputs=tuple(names[_GRAPH_INPUT]),
        outputs=tuple(names[_GRAPH_OUTPUT]),
        opsets=opsets,
    )


def _node(view: memoryview) -> str:
    op, domain = "", ""
    for number, value in _fields(view):
        if number == _NODE_OP:
            op = _text(value)
        elif number == _NODE_DOMAIN:
            domain = _text(value)
        elif number == _NODE_ATTRIBUTE:
            _attribute(_bytes(value))
    if op not in ALLOWED_OPS:
        raise ArtifactError(f"operator {op or '(none)'!r} is not allowed on a gateway")
    if domain not in _DOMAINS:
        raise ArtifactError(f"operator {op!r} of domain {domain!r} is not allowed on a gateway")
    return op


def _attribute(view: memoryview) -> None:
    for number, value in _fields(view):
        if number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
            raise ArtifactError("a node has a sub-graph, which could loop or branch")
        if number in (_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
            raise ArtifactError("a node has a sparse tensor")
        if number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
            _tensor(_bytes(value))


def _tensor(view: memoryview) -> None:
    for number, value in _fields(view):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value == _EXTERNAL):
            raise ArtifactError("model keeps data in another file (external data)")


def _opset(view: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in _fields(view):
        if number == _OPSET_DOMAIN:
            domain = _text(value)
        elif number == _OPSET_VERSION and isinstance(value, int):
            version = value
    return domain, version


# ---------------------------------------------------------------- protobuf


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of one message; raises `ArtifactError` for anything that is not protobuf."""
    at = 0
    while at < len(view):
        key, at = _varint(view, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ArtifactError("not an ONNX model: field number 0")
        value: int | memoryview
        if wire == _VARINT:
            value, at = _varint(view, at)
        else:
            if wire == _BYTES:
                size, at = _varint(view, at)
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
            else:
                raise ArtifactError(f"not an ONNX model: wire type {wire}")
            if size > len(view) - at:
                raise ArtifactError("not an ONNX model: cut short")
            value, at = view[at : at + size], at + size
        yield number, value


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise ArtifactError("not an ONNX model: cut short")
        byte = view[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise ArtifactError("not an ONNX model: a number does not end")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ArtifactError("not an ONNX model: a number where a message should be")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return str(bytes(_bytes(value)), "utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError("not an ONNX model: a name is not text") from error
