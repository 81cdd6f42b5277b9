"""A torch network as an ONNX model."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

_OPSET = 18


def program_of(network: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """The network for images of one shape; torch refuses one whose computation depends on their values."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what the exporter is built of
        return torch.export.export(network, (example,))


def onnx_of(network: nn.Module | torch.export.ExportedProgram, example: Tensor, *, any_batch: bool = False) -> Any:
    """An onnx.ModelProto: "images" (N, C, H, W) -> "logits" (N, K). Whatever torch raises is for the caller to say.

    Args:
        network: in eval mode; or what `program_of` made of it.
        example: (N, C, H, W) images.
        any_batch: N is free; by default it is the example's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            network,
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},) if any_batch else None,
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert exported is not None
    return exported.model_proto
