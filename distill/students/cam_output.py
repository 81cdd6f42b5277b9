"""The class activation maps as a second output of an ONNX model, so that a device shows them without gradients."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from torch import nn

from xkd_eval.classifiers.classifier import CamHead
from xkd_eval.classifiers.graphs.affine import read_heads
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.graphs.onnx_file import OnnxGraph
from xkd_eval.classifiers.graphs.quantised import quantisation
from xkd_eval.classifiers.proof.places import Reading

CAM = "cam"
"""The output's name."""

_OWN = "xkd_cam"  # begins the names of what is added
_END = np.iinfo(np.int64).max  # ONNX's word for the last one


def with_cam(network: GraphNetwork, head: CamHead) -> Any:
    """A copy of a graph's model with an output "cam" (N, K, h, w) float32, unclamped.

    The mean of a map plus the head's bias is the logit.

    Args:
        network: a graph of an ONNX file that shows its map.
        head: that was proven of it.

    Returns:
        An onnx.ModelProto whose metadata say which output is what.
    """
    from onnx import TensorProto, helper

    assert isinstance(network.graph, OnnxGraph) and network.shown is not None
    model = type(network.graph.model)()
    model.CopyFrom(network.graph.model)
    added = _Added(model)
    maps = _map(added, network.graph, *network.shown, head.map_size)
    if isinstance(network.norm, nn.LayerNorm):
        maps = _frozen_norm(added, maps, network.norm)
    if isinstance(network.head, nn.Linear):
        added.node("Conv", [maps, _kernel(added, network.graph, network.head.weight.numpy())], CAM)
        classes = network.head.out_features
    else:
        added.node("Identity", [maps], CAM)
        classes = None
    batch = model.graph.output[0].type.tensor_type.shape.dim[0]
    shape = [batch.dim_param or batch.dim_value or None, classes, *head.map_size]
    model.graph.output.append(helper.make_tensor_value_info(CAM, TensorProto.FLOAT, shape))
    texts = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, {**texts, "outputs": json.dumps({"logits": network.graph.logits, CAM: CAM})})
    return model


class _Added:
    """What is put behind a model's own operations."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._count = 0

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """An operation; returns its output's name."""
        from onnx import helper

        name = output or self._name()
        self._model.graph.node.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: np.ndarray) -> str:
        """Stored values; returns their name."""
        from onnx import numpy_helper

        name = self._name()
        self._model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"{_OWN}_{self._count}"


def _map(added: _Added, graph: OnnxGraph, name: str, reading: Reading, size: tuple[int, int]) -> str:
    """The last map as (N, C, h, w) float32."""
    stands_for = quantisation(graph, name)
    if stands_for is not None:
        name = added.node("DequantizeLinear", [name, *filter(None, stands_for)])
    if reading.layout == "NHWC":
        return added.node("Transpose", [name], perm=[0, 3, 1, 2])
    if reading.layout == "tokens":
        behind, end, axis = (added.constant(np.array([at], np.int64)) for at in (reading.prefix, _END, 1))
        tokens = added.node("Transpose", [added.node("Slice", [name, behind, end, axis])], perm=[0, 2, 1])
        return added.node("Reshape", [tokens, added.constant(np.array([0, 0, *size], np.int64))])
    return name


def _kernel(added: _Added, graph: OnnxGraph, weight: np.ndarray) -> str:
    """The head's weight (K, C, 1, 1): the model's own, where it is that, since it may be the largest of all."""
    product = read_heads(graph)[0].product
    own = "" if product is None else product.input(1)
    stored = graph.constants([own])[0] if graph.is_constant(own) else np.empty(0)
    if (
        stored.dtype == np.float32
        and stored.squeeze().shape == weight.shape
        and np.array_equal(stored.squeeze(), weight)
    ):
        return added.node("Reshape", [own, added.constant(np.array([*weight.shape, 1, 1], np.int64))])
    return added.constant(weight[:, :, None, None])


def _frozen_norm(added: _Added, maps: str, norm: nn.LayerNorm) -> str:
    """`xkd_eval.classifiers.classifier.frozen_layer_norm`, in ONNX's operations."""
    places, channels = (added.constant(np.array(axes, np.int64)) for axes in ([2, 3], [1]))
    pooled = added.node("ReduceMean", [maps, places])
    centre = added.node("ReduceMean", [pooled, channels])
    off = added.node("Sub", [pooled, centre])
    variance = added.node("ReduceMean", [added.node("Mul", [off, off]), channels])
    shifted = added.node("Add", [variance, added.constant(np.array(norm.eps, np.float32))])
    normalised = added.node("Div", [added.node("Sub", [maps, centre]), added.node("Sqrt", [shifted])])
    weight, bias = (added.constant(values.numpy()[:, None, None]) for values in (norm.weight, norm.bias))
    return added.node("Add", [added.node("Mul", [normalised, weight]), bias])
