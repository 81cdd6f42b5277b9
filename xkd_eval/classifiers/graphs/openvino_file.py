"""OpenVINO files: an .xml with its .bin, run by OpenVINO on the CPU in float32."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from xkd_eval.classifiers.graphs.description import KEYS, named_logits
from xkd_eval.classifiers.graphs.engine_words import in_plain_words
from xkd_eval.classifiers.graphs.graph import Arrays, Graph, ImageInput, Operation, chosen_output, image_input
from xkd_eval.errors import XkdError
from xkd_eval.foreign import LARGEST_LIST, is_there, read_bytes, reading
from xkd_eval.packages import require

SECTION = "xkd"
"""Of a model's own notes, under which exports of this project write theirs."""

_CONVERTED = "framework"  # where OpenVINO keeps the metadata of what it has converted

# OpenVINO's words for what ONNX calls otherwise.
_KINDS = {
    "Multiply": "Mul",
    "Subtract": "Sub",
    "Divide": "Div",
    "Convert": "Cast",
    "Convolution": "Conv",
    "SoftMax": "Softmax",
}
_TYPES = {"f32": "float32", "f16": "float16", "f64": "float64"}


def read_openvino(path: Path, output: str | int | None = None) -> Graph:
    """An OpenVINO file as a graph.

    Args:
        path: of the .xml; the .bin of the same name lies beside it.
        output: name or place of the output that holds the logits, where there are several.

    Raises:
        XkdError: a missing package; missing, cut, damaged, no OpenVINO file; no .bin; what OpenVINO does not run; an
            input or outputs that are not a classifier's.
    """
    where = f"model: {str(path)!r}"
    require(where, "openvino", "openvino")
    weights = path.with_suffix(".bin")
    content = read_bytes(path, "model", LARGEST_LIST)
    if not is_there(weights):
        raise XkdError(f"{where} has no {weights.name!r} beside it, which holds its weights; put it there")
    stored = read_bytes(weights, "model")
    with reading(f"{where} is no OpenVINO model, or a truncated or damaged one", "copy or export it again"):
        if b"<net" not in content:
            raise ValueError("it has no <net>")
        with in_plain_words():
            model = _core().read_model(content, stored)
        return _OpenvinoGraph(model, where, hashlib.sha256(content + stored).hexdigest(), output)


def compiled_model(model: Any, kind: Literal["f32", "bf16"] = "f32") -> Any:
    """An openvino.Model made ready for the CPU, with the threads that torch has.

    Args:
        model: is not changed.
        kind: of the numbers that it computes with. Left to itself it takes bfloat16 where the processor can.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": kind,
        "EXECUTION_MODE_HINT": "ACCURACY" if kind == "f32" else "PERFORMANCE",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,
    }
    return _core().compile_model(model, "CPU", settings)


class _OpenvinoGraph(Graph):
    """See Graph."""

    engine = "openvino"

    def __init__(self, model: Any, where: str, digest: str, output: str | int | None) -> None:
        self.where, self.digest = where, digest
        self.texts = _texts(model)
        self._model = model
        nodes = list(model.get_ordered_ops())
        self._values = _named_values(nodes)
        names = {value: name for name, value in self._values.items()}
        self.sizes: dict[str, int] = {}
        operations = []
        for node in nodes:
            kind = node.get_type_name()
            if kind == "Constant":
                self._count(node, names[node.output(0)])
            elif kind not in ("Parameter", "Result"):
                inputs = tuple(names[given.get_source_output()] for given in node.inputs())
                outputs = tuple(names[value] for value in node.outputs())
                operations.append(Operation(_KINDS.get(kind, kind), inputs, outputs, node.get_attributes()))
        self.given = _given(model, names, where)
        self.index(operations)
        self.outputs = {
            _shown_name(result): names[result.get_node().input(0).get_source_output()] for result in model.outputs
        }
        shown = list(self.outputs)
        wanted = output if output is not None else named_logits(self.texts, shown)
        self.logits = self.outputs[chosen_output(shown, wanted, where)]

    def run(self, names: Sequence[str]) -> Callable[[np.ndarray], Arrays]:
        """See Graph.run."""
        compiled = self._compiled(names, self._model.get_parameters())
        own = threading.local()  # a request serves one call at a time

        def run(images: np.ndarray) -> Arrays:
            unfit = f"{self.where} does not run on {images.shape}"
            with reading(unfit, "expected a classifier of such images"), in_plain_words():
                if not hasattr(own, "request"):
                    own.request = compiled.create_infer_request()
                own.request.infer([images])
                return [np.array(own.request.get_output_tensor(place).data) for place in range(len(names))]

        return run

    def constants(self, names: Sequence[str]) -> Arrays:
        """See Graph.constants."""
        nodes = [self._values[name].get_node() for name in names]
        if all(node.get_type_name() == "Constant" for node in nodes):
            return [np.array(node.data) for node in nodes]
        request = self._compiled(names, []).create_infer_request()
        with reading(f"{self.where} has weights that cannot be computed", "export it again"), in_plain_words():
            request.infer([])
            return [np.array(request.get_output_tensor(place).data) for place in range(len(names))]

    def _compiled(self, names: Sequence[str], parameters: Sequence[Any]) -> Any:
        from openvino import Model

        remedy = "export it again, for this release of openvino"
        with reading(f"{self.where} is not run by OpenVINO", remedy), in_plain_words():
            return compiled_model(Model([self._values[name] for name in names], parameters))

    def _count(self, constant: Any, name: str) -> None:
        kind = constant.get_element_type().get_type_name()
        if kind in ("i64", "i32", "boolean", "string") or not constant.get_output_shape(0):
            return
        self.sizes[name] = int(np.prod(constant.get_output_shape(0)))
        if kind in _TYPES and np.isnan(constant.data).any():
            raise XkdError(f"{self.where} has NaN in {name!r}; its training diverged, or the file is damaged")


@cache
def _core() -> Any:
    from openvino import Core

    return Core()


def _texts(model: Any) -> Mapping[str, str]:
    for section in (SECTION, _CONVERTED):
        if model.has_rt_info([section, "format"]):
            there = [name for name in KEYS if model.has_rt_info([section, name])]
            return {name: model.get_rt_info([section, name]).astype(str) for name in there}
    return {}


def _named_values(nodes: Sequence[Any]) -> dict[str, Any]:
    """Each tensor by a name of its own: that of its operation, which need not be one of its own."""
    often = Counter(node.get_friendly_name() for node in nodes)
    named = {}
    for node in nodes:
        name = node.get_friendly_name()
        name = name if often[name] == 1 else f"{name} ({node.get_name()})"
        for place, value in enumerate(node.outputs()):
            named[name if place == 0 else f"{name}:{place}"] = value
    return named


def _shown_name(result: Any) -> str:
    names = sorted(result.get_names())
    return names[0] if names else result.get_node().get_friendly_name()


def _given(model: Any, names: Mapping[Any, str], where: str) -> ImageInput:
    if len(model.inputs) != 1:
        named = ", ".join(repr(_shown_name(given)) for given in model.inputs[:5])
        raise XkdError(f"{where} has {len(model.inputs)} inputs ({named}); expected one, of normalised images")
    given = model.inputs[0]
    if given.get_partial_shape().rank.is_dynamic:
        raise XkdError(f"{where} takes arrays of any rank; expected images (N, 3, H, W): export it so")
    shape = [axis.get_length() if axis.is_static else None for axis in given.get_partial_shape()]
    kind = given.get_element_type().get_type_name()
    return image_input(names[given.get_node().output(0)], shape, _TYPES.get(kind, kind), where)
