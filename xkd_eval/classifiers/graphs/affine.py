"""The way back from a graph's logits: what makes them of one vector an image, as numbers read from the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from xkd_eval.classifiers.graphs.graph import PASSING, Graph, Operation


@dataclass(frozen=True)
class Norm:
    """A LayerNorm over a vector: (C,) weight and bias, and what is added to its variance."""

    weight: np.ndarray
    bias: np.ndarray
    eps: float


@dataclass(frozen=True)
class AffineHead:
    """What makes logits of a vector: weight @ norm(vector) + bias.

    Attributes:
        vector: the tensor's name.
        weight: (K, C); None where the vector is the logits.
        bias: (K,), or zero for all.
        norm: between the vector and the product, or None.
        product: the operation of the weight, or None.
        before_norm, before_product: operations that the vector passes on the way, the last one first; without a norm
            all of them are before the product.
        after: those between the product and the logits, each with the factor that follows it.
    """

    vector: str
    weight: np.ndarray | None = None
    bias: np.ndarray = field(default_factory=lambda: np.zeros(1, np.float32))
    norm: Norm | None = None
    product: Operation | None = None
    before_norm: tuple[Operation, ...] = ()
    before_product: tuple[Operation, ...] = ()
    after: tuple[tuple[Operation, np.ndarray], ...] = ()


def read_head(graph: Graph) -> AffineHead:
    """Walk from the logits through what keeps, shifts or scales them, to the product with a constant weight.

    From there back to the vector, through what may stand between the pool and the head. Where there is no product, the
    vector is what the walk ended at.
    """
    name, scale, shift = graph.logits, np.ones(1, np.float32), np.zeros(1, np.float32)
    after: list[tuple[Operation, np.ndarray]] = []
    while (operation := graph.producer(name)) is not None:
        product = _product(graph, operation)
        if product is not None:
            rounded = [(operation, scale), *((one, factor) for one, factor in after)]
            weight, bias = scale[:, None] * product.weight, scale * product.bias + shift
            head = AffineHead(product.vector, weight, bias, product=operation, after=tuple(rounded))
            passed = () if product.quantiser is None else (product.quantiser,)
            return _before_product(graph, head, passed)
        step = _affine_step(graph, operation)
        if step is None:
            break
        name, factor, term = step
        after.append((operation, scale))
        scale, shift = scale * factor, scale * term + shift
    plain = np.array_equal(scale, np.ones(1)) and np.array_equal(shift, np.zeros(1))
    pool = () if operation is None else (operation,)
    return AffineHead(name, None if plain else np.diag(scale), shift, before_product=pool, after=tuple(after))


@dataclass(frozen=True)
class _Product:
    vector: str
    weight: np.ndarray
    bias: np.ndarray
    quantiser: Operation | None = None


def _affine_step(graph: Graph, operation: Operation) -> tuple[str, np.ndarray, np.ndarray] | None:
    """(input, factor, term) where an operation gives factor * input + term, elementwise on (B, n)."""
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    if operation.kind in PASSING:
        return operation.inputs[0], one, zero
    if operation.kind == "BatchNormalization" and graph.moving_inputs(operation) == [operation.inputs[0]]:
        weight, bias, mean, variance = (array.reshape(-1) for array in graph.constants(operation.inputs[1:5]))
        factor = weight / np.sqrt(variance + operation.attributes.get("epsilon", 1e-5))
        return operation.inputs[0], factor, bias - mean * factor
    if operation.kind not in ("Add", "Sub", "Mul", "Div") or len(operation.inputs) != 2:
        return None
    constant = [graph.is_constant(name) for name in operation.inputs]
    if sum(constant) != 1:
        return None
    moving, stored = operation.inputs[constant.index(False)], operation.inputs[constant.index(True)]
    value = graph.constants([stored])[0].astype(np.float32)
    if value.size != max(value.shape, default=1):
        return None  # it differs from place to place
    value = value.reshape(-1)
    match operation.kind, constant[0]:
        case "Add", _:
            return moving, one, value
        case "Mul", _:
            return moving, value, zero
        case "Sub", first:
            return moving, -one if first else one, value if first else -value
        case "Div", False:
            return moving, 1 / value, zero
    return None


def _before_product(graph: Graph, head: AffineHead, passed: tuple[Operation, ...]) -> AffineHead:
    """The head as a function of what the pool put out: what is elementwise on the way goes into weight and bias."""
    assert head.weight is not None
    before = [*passed]
    while (operation := graph.producer(head.vector)) is not None:
        norm = _norm(graph, operation)
        if norm is not None and head.norm is None:
            head = replace(head, vector=norm[0], norm=norm[1], before_product=tuple(before))
            before = []
            continue
        step = _affine_step(graph, operation)
        if step is None or (head.norm is not None and operation.kind not in PASSING):
            break
        vector, factor, term = step
        weight = head.weight
        head = replace(head, vector=vector, weight=weight * factor, bias=head.bias + (weight * term).sum(1))
        before.append(operation)
    if operation is not None:
        before.append(operation)  # a pool may round what it gives
    if head.norm is None:
        return replace(head, before_product=tuple(before))
    return replace(head, before_norm=tuple(before))


def _norm(graph: Graph, operation: Operation) -> tuple[str, Norm] | None:
    """(input, norm) of a LayerNorm, in whatever form it is written."""
    attributes = operation.attributes
    if operation.kind == "LayerNormalization" and graph.is_constant(operation.inputs[1]):
        weight = graph.constants([operation.inputs[1]])[0].reshape(-1)
        bias = graph.constants([operation.inputs[2]])[0].reshape(-1) if operation.input(2) else np.zeros_like(weight)
        return operation.inputs[0], Norm(weight, bias, float(attributes.get("epsilon", 1e-5)))
    if operation.kind == "MVN" and attributes.get("normalize_variance", True):
        return operation.inputs[0], _plain_norm(float(attributes.get("eps", 1e-5)))
    if operation.kind == "Div" and len(graph.moving_inputs(operation)) == 2:  # (x - mean) / sqrt(variance + eps)
        centred, root = (graph.producer(name) for name in operation.inputs)
        variance = graph.producer(root.inputs[0]) if root is not None and root.kind == "Sqrt" else None
        if centred is None or centred.kind != "Sub" or variance is None or variance.kind != "Add":
            return None
        eps = next((name for name in variance.inputs if graph.is_constant(name)), None)
        if eps is not None:
            return centred.inputs[0], _plain_norm(float(graph.constants([eps])[0].reshape(-1)[0]))
    return None


def _plain_norm(eps: float) -> Norm:
    return Norm(np.ones(1, np.float32), np.zeros(1, np.float32), eps)


def _product(graph: Graph, operation: Operation) -> _Product | None:
    """What an operation multiplies a vector with, where the weight is a constant."""
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


def _gemm(graph: Graph, operation: Operation) -> _Product | None:
    attributes = operation.attributes
    if attributes.get("transA", 0):
        return None
    (weight,) = graph.constants([operation.inputs[1]])
    weight = weight if attributes.get("transB", 0) else weight.T
    bias = _optional(graph, operation.input(2)) * attributes.get("beta", 1.0)
    return _Product(operation.inputs[0], attributes.get("alpha", 1.0) * weight.astype(np.float32), bias)


def _matmul(graph: Graph, operation: Operation) -> _Product | None:
    (weight,) = graph.constants([operation.inputs[1]])
    if operation.attributes.get("transpose_a") or weight.ndim < 2 or weight.size != np.prod(weight.shape[-2:]):
        return None
    weight = weight.reshape(weight.shape[-2:]).astype(np.float32)
    weight = weight if operation.attributes.get("transpose_b") else weight.T
    return _Product(operation.inputs[0], weight, np.zeros(1, np.float32))


def _conv(graph: Graph, operation: Operation) -> _Product | None:
    (weight,) = graph.constants([operation.inputs[1]])
    if weight.size != np.prod(weight.shape[:2]) or operation.attributes.get("group", 1) != 1:
        return None
    weight = weight.reshape(weight.shape[:2]).astype(np.float32)
    return _Product(operation.inputs[0], weight, _optional(graph, operation.input(2)))


def _quantised(graph: Graph, operation: Operation) -> _Product | None:
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
    return _Product(operation.inputs[0], weight, bias)


def _dynamic(graph: Graph, operation: Operation) -> _Product | None:
    """DynamicQuantizeMatMul: it rounds the vector by the vector's own range."""
    (weight,) = graph.constants([operation.inputs[1]])
    step, zero = _optional(graph, operation.input(2)), _optional(graph, operation.input(3))
    weight = step[:, None] * (weight.T.astype(np.float32) - zero[:, None])
    rounds = Operation("DynamicQuantizeLinear", operation.inputs[:1], operation.outputs)
    return _Product(operation.inputs[0], weight, _optional(graph, operation.input(4)), rounds)


def _scaled_integers(graph: Graph, operation: Operation) -> _Product | None:
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
            return _Product(quantiser.inputs[0], factor[:, None] * weight, np.zeros(1, np.float32), quantiser)
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


_READERS: dict[str, Callable[[Graph, Operation], _Product | None]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _conv,
    "QGemm": _quantised,
    "QLinearMatMul": _quantised,
    "QLinearConv": _quantised,
    "DynamicQuantizeMatMul": _dynamic,
}
