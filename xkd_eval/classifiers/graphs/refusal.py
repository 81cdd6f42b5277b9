"""Why a graph has no class activation map in closed form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from xkd_eval.classifiers.graphs.affine import AffineHead
from xkd_eval.classifiers.graphs.graph import Operation
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.proof.places import Reading, map_layout

# What works on places without mixing them up with channels; a map that comes out of anything else may be none.
_SPATIAL = frozenset(
    (
        *("Conv", "QLinearConv", "ConvInteger", "FusedConv", "GroupConvolution", "ConvTranspose", "DepthToSpace"),
        *("MaxPool", "AveragePool", "AvgPool", "QLinearAveragePool", "Pad", "Resize", "Slice"),
        *("Relu", "PRelu", "LeakyRelu", "Clip", "Clamp", "HardSwish", "HSwish", "HardSigmoid", "Sigmoid", "Swish"),
        *("Elu", "Gelu", "Mish", "Softplus", "Tanh", "Erf", "QLinearLeakyRelu", "QLinearSigmoid"),
        *("Add", "Sub", "Mul", "Div", "QLinearAdd", "QLinearMul", "Concat", "QLinearConcat", "Cast", "Identity"),
        *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "LRN", "MVN"),
        *("QuantizeLinear", "DequantizeLinear", "FakeQuantize"),
    )
)
_PRODUCTS = frozenset(("Gemm", "MatMul", "QGemm", "QLinearMatMul", "MatMulInteger", "DynamicQuantizeMatMul", "Conv"))
_ATTENTION = frozenset(("Attention", "MultiHeadAttention", "ScaledDotProductAttention"))
_FURTHEST, _AT_ONCE = 96, 8
_SHOWN = 3
_MOVES = 1e-5  # of the largest logit, by another image


class LastMap(NamedTuple):
    """The last tensor of places in a graph."""

    name: str
    reading: Reading
    size: tuple[int, int]


def last_map(network: GraphNetwork, images: Tensor) -> LastMap | None:
    """The last tensor with more than one place before the logits; None in a transformer, or where there is none.

    Args:
        network: left as it was.
        images: (B, 3, H, W) normalised.
    """
    names = []
    for operation in network.graph.ancestors(network.graph.logits):
        if _is_attention(network, operation):
            break
        if operation.kind in _SPATIAL:
            names.append(operation.outputs[0])
    for start in range(0, min(len(names), _FURTHEST), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        for name, array in zip(some, network.graph.session(some)(images.numpy()), strict=True):
            if array.ndim == 4 and len(array) == len(images) and array.dtype.kind == "f":
                layout = map_layout(Tensor(array.astype(np.float32)), (images.shape[2], images.shape[3]))
                size = array.shape[2:] if layout == "NCHW" else array.shape[1:3]
                if size[0] * size[1] > 1:
                    return LastMap(name, Reading(layout), (size[0], size[1]))
    return None


def why_refused(
    network: GraphNetwork, found: AffineHead | None, last: LastMap | None, images: Tensor, known: str = ""
) -> str:
    """One line.

    Args:
        network: without a CAM head.
        found: what its head was read as.
        last: its last map.
        images: (B, 3, H, W) normalised.
        known: the reason, where it is known already.
    """
    known = known or _too_alike(network, images)
    if known or last is None:
        return known or "a token model, or one without any spatial map"
    return _reason(network, found, last, images)


def _too_alike(network: GraphNetwork, images: Tensor) -> str:
    logits = network(images)
    moved = float((logits - logits[:1]).abs().max())
    if moved > _MOVES * float(logits.abs().max()):
        return ""
    return "its logits hardly depend on the image (was it trained?), which proves no map"


def _reason(network: GraphNetwork, found: AffineHead | None, last: LastMap, images: Tensor) -> str:
    if found is None or found.product is None:
        return "no product with a constant weight puts out its logits"
    read, features = network.graph.session([found.vector, last.name])(images.numpy())
    vector = read.reshape(len(read), -1)
    places = (2, 3) if last.reading.layout == "NCHW" else (1, 2)
    if vector.shape == features.max(places).shape and np.allclose(vector, features.max(places), rtol=1e-3, atol=1e-5):
        return "it pools the maximum, not the average, of its last map"
    if vector.shape[1] == features[0].size:
        return "its head reads the map flattened, with weights of its own for every position"
    hidden = _hidden(network, found, last)
    if hidden:
        shown = ", ".join(hidden[:_SHOWN]) + (f" and {len(hidden) - _SHOWN} more" if len(hidden) > _SHOWN else "")
        return (
            f"hidden layers lie between its last map and its head ({shown}), so that no map of the head's inputs exists"
        )
    return "the head does not read the average of the last map"


def _hidden(network: GraphNetwork, found: AffineHead, last: LastMap) -> list[str]:
    """The products between the last map and the head, by what they put out."""
    names: list[str] = []
    for operation in network.graph.ancestors(found.vector):
        if last.name in operation.outputs:
            return names
        if operation.kind in _PRODUCTS:
            names.append(operation.outputs[0])
    return []


def _is_attention(network: GraphNetwork, operation: Operation) -> bool:
    if operation.kind in _ATTENTION:
        return True
    return operation.kind == "MatMul" and len(network.graph.moving_inputs(operation)) == 2
