"""OpenVINO: the network is exported by torch, converted in memory and compiled for one shape."""

from __future__ import annotations

import threading
from typing import Any, Literal

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.graphs.engine_words import in_plain_words, without_remarks
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
            compiled = compiled_model(_converted(network, example), _KINDS[precision])
        if compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() != _KINDS[precision]:
            raise XkdError("this processor has no bfloat16")
        own = threading.local()  # a request serves one call at a time

        def forward(images: Tensor) -> Tensor:
            if not hasattr(own, "request"):
                own.request = compiled.create_infer_request()
            own.request.infer([images.numpy()])
            return torch.from_numpy(own.request.get_output_tensor(0).data.copy())

        return forward


def _converted(network: nn.Module, example: Tensor) -> Any:
    # By its front end, and not by `convert_model`, which reports each conversion and changes the root logger for good.
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    reader = FrontEndManager().load_by_framework("pytorch")
    with without_remarks("openvino"):  # on operations that this release of torch has not
        decoder = TorchFXPythonDecoder.from_exported_program(program_of(network, example))
        model = reader.convert(reader.load(decoder))  # while the decoder is there
    model.reshape(list(example.shape))
    return model
