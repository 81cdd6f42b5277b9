"""Graphs as files, made for the tests: exported from torch, rounded to integers, or written operation by operation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static
from torch import nn

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.probes import random_images


def write_onnx(model: nn.Module, path: Path, size: int, *, batch: int | None = None, newest: bool = False) -> Path:
    """`model` as ONNX, with a free batch unless one is given, by torch's newest exporter or by the one before it."""
    images = torch.zeros(batch or 2, 3, size, size)
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"]}
    if newest:
        free = None if batch else ({0: torch.export.Dim("batch", min=1)},)
        program = torch.onnx.export(model.eval(), (images,), dynamic_shapes=free, dynamo=True, verbose=False, **names)
        path.write_bytes(program.model_proto.SerializeToString())
        return path
    free = {} if batch else {"images": {0: "n"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is the older one
        torch.onnx.export(
            model.eval(), (images,), str(path), dynamic_axes=free, opset_version=17, dynamo=False, **names
        )
    return path


def write_openvino(source: Path, path: Path, *, compressed: bool = False) -> Path:
    """An ONNX file as OpenVINO's."""
    openvino.save_model(openvino.convert_model(source), path, compress_to_fp16=compressed)
    return path


class _Images(CalibrationDataReader):
    def __init__(self, size: int) -> None:
        made = [random_images(Preprocess(size=(size, size)), seed, 4).numpy() for seed in range(10, 14)]
        self._left = iter(made)

    def get_next(self) -> dict[str, np.ndarray] | None:
        images = next(self._left, None)
        return None if images is None else {"images": images}


def write_integers(source: Path, path: Path, how: str, size: int) -> Path:
    """An ONNX file in 8-bit integers: "QDQ", "QOperator" or "dynamic"."""
    logging.disable(logging.WARNING)  # advice on speed
    try:
        if how == "dynamic":
            quantize_dynamic(source, path)
        else:
            quantize_static(str(source), str(path), _Images(size), quant_format=QuantFormat[how], per_channel=True)
    finally:
        logging.disable(logging.NOTSET)
    return path


def write_graph(
    path: Path,
    nodes: Sequence[tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]],
    stored: Mapping[str, np.ndarray],
    *,
    given: Sequence[Any] = ("n", 3, 8, 8),
    kind: int = TensorProto.FLOAT,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
) -> Path:
    """Operations (kind, inputs, outputs, attributes) on the images "x" and stored tensors."""
    graph = helper.make_graph(
        [
            helper.make_node(name, list(inputs), list(made), domain=attributes.get("domain"), **_own(attributes))
            for name, inputs, made, attributes in nodes
        ],
        "graph",
        [helper.make_tensor_value_info("x", kind, list(given))],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in stored.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(path))
    return path


def _own(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name != "domain"}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Float32 numbers, normally distributed."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
