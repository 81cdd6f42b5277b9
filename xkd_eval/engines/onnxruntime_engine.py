"""ONNX Runtime: the network is exported by torch as ONNX, in memory, for one shape."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.graphs.engine_words import in_plain_words
from xkd_eval.classifiers.graphs.export import onnx_of, program_of
from xkd_eval.classifiers.graphs.onnx_file import session_of
from xkd_eval.engines.base import ENGINES, Engine, Forward, Precision
from xkd_eval.errors import XkdError


@ENGINES.register
class OnnxruntimeEngine(Engine):
    """See Engine."""

    name = "onnxruntime"
    packages = ("onnxruntime", "onnx", "onnxscript")
    extra = "onnx"

    def compiled(self, network: nn.Module, example: Tensor, precision: Precision) -> Forward:
        """See Engine.compiled."""
        if precision != "fp32":
            raise XkdError("it computes in float32 alone")
        with in_plain_words():
            session = session_of(onnx_of(program_of(network, example), example))
        name = session.get_inputs()[0].name

        def forward(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {name: images.numpy()})[0])

        return forward
