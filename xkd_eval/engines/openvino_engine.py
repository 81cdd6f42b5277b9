"""OpenVINO: the network is exported by torch, converted in memory and compiled for one shape."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.graphs.engine_words import in_plain_words
from xkd_eval.classifiers.graphs.export import program_of
from xkd_eval.classifiers.graphs.openvino_file import compiled_model
from xkd_eval.engines.base import ENGINES, Engine, Forward, Precision
from xkd_eval.errors import XkdError

_KINDS: dict[Precision, Literal["f32", "bf16"]] = {"fp32": "f32", "bf16": "bf16"}


@ENGINES.register
class OpenvinoEngine(Engine):
    """See Engine."""

    name = "openvino"
    packages = ("openvino",)
    extra = "openvino"

    def compiled(self, network: nn.Module, example: Tensor, precision: Precision) -> Forward:
        """See Engine.compiled."""
        with in_plain_words():
            model = _converted(network, example)
            compiled = compiled_model(model, _KINDS[precision])
        if compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() != _KINDS[precision]:
            raise XkdError("this processor has no bfloat16")
        request = compiled.create_infer_request()

        def forward(images: Tensor) -> Tensor:
            request.infer([images.contiguous().numpy()])
            return torch.from_numpy(request.get_output_tensor(0).data.copy())

        return forward


def _converted(network: nn.Module, example: Tensor) -> Any:
    import openvino

    program = program_of(network, example)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the converter is built of
        model = openvino.convert_model(program)
    model.reshape(list(example.shape))
    return model
