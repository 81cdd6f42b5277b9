"""The way back from a graph's logits: what makes them of one vector an image, as numbers read from the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from xkd_eval.classifiers.graphs.graph import PASSING, Graph, Operation
from xkd_eval.classifiers.graphs.products import product_of


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


def read_heads(graph: Graph) -> list[AffineHead]:
    """Walk from the logits through what keeps, shifts or scales them, to the product with a constant weight.

    From there back through what may stand between the pool and the head.

    Returns:
        At least one: what is elementwise before the product may belong to the head (a batch norm) or to the pool (a sum
        divided by the number of places), and each reading has a vector of its own. Where there is no product, the
        vector is what the walk ended at.
    """
    name, scale, shift = graph.logits, np.ones(1, np.float32), np.zeros(1, np.float32)
    after: list[tuple[Operation, np.ndarray]] = []
    while (operation := graph.producer(name)) is not None:
        product = product_of(graph, operation)
        if product is not None:
            rounded = [(operation, scale), *((one, factor) for one, factor in after)]
            weight, bias = scale[:, None] * product.weight, scale * product.bias + shift
            head = AffineHead(product.vector, weight, bias, product=operation, after=tuple(rounded))
            passed = () if product.quantiser is None else (product.quantiser,)
            return list(_before_product(graph, head, passed))
        step = _affine_step(graph, operation)
        if step is None:
            break
        name, factor, term = step
        after.append((operation, scale))
        scale, shift = scale * factor, scale * term + shift
    plain = np.array_equal(scale, np.ones(1)) and np.array_equal(shift, np.zeros(1))
    pool = () if operation is None else (operation,)
    return [AffineHead(name, None if plain else np.diag(scale), shift, before_product=pool, after=tuple(after))]


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


def _before_product(graph: Graph, head: AffineHead, passed: tuple[Operation, ...]) -> Iterator[AffineHead]:
    """The head as a function of what comes before: more and more of what is elementwise is in weight and bias."""
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
        if operation.kind not in PASSING:
            yield replace(head, before_product=(*before, operation))
        vector, factor, term = step
        weight = head.weight
        head = replace(head, vector=vector, weight=weight * factor, bias=head.bias + (weight * term).sum(1))
        before.append(operation)
    if operation is not None:
        before.append(operation)  # a pool may round what it gives
    if head.norm is None:
        yield replace(head, before_product=tuple(before))
    else:
        yield replace(head, before_norm=tuple(before))


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
