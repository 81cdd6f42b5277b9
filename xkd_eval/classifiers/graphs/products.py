"""Products of a vector with a constant weight, in the forms that exporters and quantisers write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xkd_eval.classifiers.graphs.graph import Graph, Operation


@dataclass(frozen=True)
class Product:
    """weight @ vector + bias.

    Attributes:
        vector: the tensor's name.
        weight: (K, C).
        bias: (K,), or zero for all.
        quantiser: the operation that rounds the vector on the way, by the vector's own range; or None.
    """

    vector: str
    weight: np.ndarray
    bias: np.ndarray
    quantiser: Operation | None = None


def product_of(graph: Graph, operation: Operation) -> Product | None:
    """What an operation multiplies a vector with; None where it is no such product, or its weight is no constant."""
    if operation.kind == "Mul":
        return _scaled_integers(graph, operation)
    reader = _READERS.get(operation.kind)
    if reader is None:
        return None
    place = 1 if operation.kind in ("Gemm", "MatMul", "Conv", "DynamicQuantizeMatMul") else 3
    if not graph.is_constant(operation.input(place)) or graph.is_constant(operation.input(0)):
        return None
    product = reader(graph, operation)
    return None if product is None or product.weight.ndim != 2 else product


def _gemm(graph: Graph, operation: Operation) -> Product | None:
    attributes = operation.attributes
    if attributes.get("transA", 0):
        return None
    (weight,) = graph.constants([operation.inputs[1]])
    weight = weight if attributes.get("transB", 0) else weight.T
    bias = _optional(graph, operation.input(2)) * attributes.get("beta", 1.0)
    return Product(operation.inputs[0], attributes.get("alpha", 1.0) * weight.astype(np.float32), bias)


def _matmul(graph: Graph, operation: Operation) -> Product | None:
    (weight,) = graph.constants([operation.inputs[1]])
    if operation.attributes.get("transpose_a") or weight.ndim < 2 or weight.size != np.prod(weight.shape[-2:]):
        return None
    weight = weight.reshape(weight.shape[-2:]).astype(np.float32)
    weight = weight if operation.attributes.get("transpose_b") else weight.T
    return Product(operation.inputs[0], weight, np.zeros(1, np.float32))


def _conv(graph: Graph, operation: Operation) -> Product | None:
    (weight,) = graph.constants([operation.inputs[1]])
    if weight.size != np.prod(weight.shape[:2]) or operation.attributes.get("group", 1) != 1:
        return None
    weight = weight.reshape(weight.shape[:2]).astype(np.float32)
    return Product(operation.inputs[0], weight, _optional(graph, operation.input(2)))


def _quantised(graph: Graph, operation: Operation) -> Product | None:
    """QGemm, QLinearMatMul and QLinearConv: input, weight and bias as whole numbers, each with what they stand for."""
    _, scale_x, _, stored, scale_w, zero_w = operation.inputs[:6]
    if not all(graph.is_constant(name) for name in (scale_x, scale_w)):
        return None
    rows_first = operation.kind == "QLinearConv" or bool(operation.attributes.get("transB", 0))
    (weight,) = graph.constants([stored])
    if operation.kind == "QLinearConv" and weight.size != np.prod(weight.shape[:2]):
        return None
    weight = weight.reshape(weight.shape[:2]) if rows_first else weight.T
    alpha = operation.attributes.get("alpha", 1.0)
    step = _optional(graph, scale_w)
    weight = alpha * step[:, None] * (weight.astype(np.float32) - _optional(graph, zero_w)[:, None])
    place = {"QGemm": 6, "QLinearConv": 8}.get(operation.kind, 99)
    bias = alpha * step * _optional(graph, scale_x) * _optional(graph, operation.input(place))
    return Product(operation.inputs[0], weight, bias)


def _dynamic(graph: Graph, operation: Operation) -> Product | None:
    """DynamicQuantizeMatMul: it rounds the vector by the vector's own range."""
    (weight,) = graph.constants([operation.inputs[1]])
    step, zero = _optional(graph, operation.input(2)), _optional(graph, operation.input(3))
    weight = step[:, None] * (weight.T.astype(np.float32) - zero[:, None])
    rounds = Operation("DynamicQuantizeLinear", operation.inputs[:1], operation.outputs)
    return Product(operation.inputs[0], weight, _optional(graph, operation.input(4)), rounds)


def _scaled_integers(graph: Graph, operation: Operation) -> Product | None:
    """MatMulInteger, whose result is scaled by the step of the vector, which follows the vector, times the weight's."""
    for place, name in enumerate(operation.inputs[:2]):
        made = graph.producer(name)
        while made is not None and made.kind == "Cast":
            made = graph.producer(made.inputs[0])
        if made is None or made.kind != "MatMulInteger" or not graph.is_constant(made.input(1)):
            continue
        quantiser = graph.producer(made.inputs[0])
        while quantiser is not None and quantiser.kind in ("Reshape", "Flatten", "Squeeze"):
            quantiser = graph.producer(quantiser.inputs[0])
        if quantiser is None or quantiser.kind != "DynamicQuantizeLinear":
            continue
        factor = _factor(graph, operation.inputs[1 - place], quantiser.outputs[1])
        if factor is not None:
            (weight,) = graph.constants([made.inputs[1]])
            weight = weight.T.astype(np.float32) - _optional(graph, made.input(3))[:, None]
            return Product(quantiser.inputs[0], factor[:, None] * weight, np.zeros(1, np.float32), quantiser)
    return None


def _factor(graph: Graph, name: str, step: str) -> np.ndarray | None:
    """By what constant a tensor is `step`."""
    if name == step:
        return np.ones(1, np.float32)
    operation = graph.producer(name)
    if operation is None or operation.kind != "Mul":
        return None
    for first, second in (operation.inputs, operation.inputs[::-1]):
        if graph.is_constant(second) and (factor := _factor(graph, first, step)) is not None:
            return factor * _optional(graph, second)
    return None


def _optional(graph: Graph, name: str) -> np.ndarray:
    """(n,) float32 of a constant that may be left out; then zero."""
    if not graph.is_constant(name):
        return np.zeros(1, np.float32)
    return graph.constants([name])[0].astype(np.float32).reshape(-1)


_READERS: dict[str, Callable[[Graph, Operation], Product | None]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _conv,
    "QGemm": _quantised,
    "QLinearMatMul": _quantised,
    "QLinearConv": _quantised,
    "DynamicQuantizeMatMul": _dynamic,
}
