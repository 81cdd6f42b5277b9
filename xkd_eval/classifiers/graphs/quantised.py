"""Tensors of whole numbers that stand for others, and by how much rounding moves those."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from xkd_eval.classifiers.graphs.graph import Graph, Operation

# Places of scale and zero point of the output among an operation's inputs.
_OUTPUT_SCALE = {
    "QuantizeLinear": (1, 2),
    "QLinearConv": (6, 7),
    "QLinearMatMul": (6, 7),
    "QLinearAdd": (6, 7),
    "QLinearMul": (6, 7),
    "QGemm": (7, 8),
    "QLinearGlobalAveragePool": (3, 4),
    "QLinearAveragePool": (3, 4),
    "QLinearReduceMean": (3, 4),
    "QLinearLeakyRelu": (3, 4),
    "QLinearSigmoid": (3, 4),
    "QLinearConcat": (0, 1),
}
_KEEPING = {
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Identity",
    "MaxPool",
    "Slice",
    "Pad",
    "Relu",
    "Clip",
}


class Quantisation(NamedTuple):
    """The tensors that say what a tensor of whole numbers stands for; a zero point that is left out is ""."""

    scale: str
    zero_point: str


class Rounding(NamedTuple):
    """What rounding does to a tensor.

    Attributes:
        half: half a step, the most that it moves a value; one a value where the step follows the values.
        low, high: the range, beyond which values are cut.
    """

    half: np.ndarray
    low: float
    high: float


def quantisation(graph: Graph, name: str) -> Quantisation | None:
    """What the whole numbers of a tensor stand for; None where it holds floats."""
    operation = graph.producer(name)
    while operation is not None:
        if operation.kind in _OUTPUT_SCALE:
            scale, zero_point = (operation.input(place) for place in _OUTPUT_SCALE[operation.kind])
            return Quantisation(scale, zero_point) if scale else None
        if operation.kind not in _KEEPING:
            return None
        operation = graph.producer(operation.input(0))
    return None


def rounding(graph: Graph, operation: Operation, values: np.ndarray) -> Rounding | None:
    """What an operation's rounding of its output does.

    Args:
        graph: that it is of.
        operation: any.
        values: (B, ...) that the output would be, unrounded.

    Returns:
        None where it does not round.
    """
    if operation.kind == "DynamicQuantizeLinear":
        places = tuple(range(1, values.ndim))
        span = np.maximum(values.max(places), 0) - np.minimum(values.min(places), 0)
        return Rounding((span / 255 / 2).reshape(-1, *(1 for _ in places)), -np.inf, np.inf)
    if operation.kind == "FakeQuantize":
        low, high = (float(array.min()) for array in graph.constants(operation.inputs[3:5]))
        return Rounding(np.array((high - low) / (int(operation.attributes["levels"]) - 1) / 2), low, high)
    if operation.kind not in _OUTPUT_SCALE:
        return None
    scale, zero_point = (operation.input(place) for place in _OUTPUT_SCALE[operation.kind])
    if not scale or not graph.is_constant(scale):
        return None
    step = float(graph.constants([scale])[0].max())
    zero = graph.constants([zero_point])[0] if zero_point else np.zeros(1, np.uint8)
    whole = np.iinfo(zero.dtype)
    least, most = (step * (bound - int(zero.reshape(-1)[0])) for bound in (whole.min, whole.max))
    return Rounding(np.array(step / 2), least, most)
