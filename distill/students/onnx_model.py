"""A classifier as an ONNX model, without anything of the machine that wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.graphs.export import onnx_of
from xkd_eval.foreign import reading
from xkd_eval.packages import require


def check_packages() -> None:
    """Raise XkdError where one that ONNX needs is missing."""
    require("export: ONNX", "onnx", "onnx", "onnxscript", "onnxruntime")


def onnx_model(classifier: Classifier, texts: Mapping[str, str]) -> Any:
    """An onnx.ModelProto: "images" (N, 3, H, W), N free -> "logits" (N, K).

    Args:
        classifier: in eval mode.
        texts: its metadata.

    Raises:
        XkdError: torch cannot write this network.
    """
    import onnx

    plain = classifier.model.to(memory_format=torch.contiguous_format).eval()
    with reading("export: torch cannot write this network as ONNX", "export it as .safetensors"):
        example = torch.zeros(2, classifier.preprocess.channels, *classifier.preprocess.size)
        model = onnx_of(plain, example, any_batch=True)
        _forget_sources(model)
        onnx.helper.set_model_props(model, dict(texts))
        return model


def _forget_sources(model: Any) -> None:
    """Leave out from which lines of which files each operation comes: half of a small file, and nobody's business."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
