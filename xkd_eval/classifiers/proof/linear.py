"""The weights of a linear layer, whatever class it is of: Linear, 1x1 convolution, quantised, made by torch.export."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class LinearWeights(NamedTuple):
    """Of y = W x + b.

    Attributes:
        weight: (D_out, D_in) float32.
        bias: (D_out,) float32, or None.
    """

    weight: Tensor
    bias: Tensor | None


def linear_weights(module: nn.Module) -> LinearWeights | None:
    """What a layer multiplies a vector by, dequantised; None where it has no such matrix.

    Told by what the layer has, since every library has classes of its own for it: a `weight` (D_out, D_in), with two
    more axes of length 1 in a convolution, as an attribute or, in quantised layers, as a method.
    """
    weight, bias = _value(module, "weight"), _value(module, "bias")
    if weight is None or weight.ndim not in (2, 4) or weight.shape[2:].numel() != 1:
        return None
    if isinstance(module, nn.Embedding) or getattr(module, "groups", 1) != 1:
        return None
    return LinearWeights(_plain(weight.flatten(1)), None if bias is None or bias.ndim != 1 else _plain(bias))


def averaged(first: LinearWeights, second: LinearWeights, *, apart: bool) -> LinearWeights:
    """Of the average of two layers' outputs.

    Args:
        first, second: of the two.
        apart: each multiplies a vector of its own, which stand side by side; otherwise both multiply the same.
    """
    joined = torch.cat([first.weight, second.weight], 1) if apart else first.weight + second.weight
    biases = [layer.bias for layer in (first, second) if layer.bias is not None]
    return LinearWeights(joined / 2, sum(biases[1:], biases[0]) / 2 if biases else None)


def is_quantised(model: nn.Module) -> bool:
    """Whether some of a network's weights are whole numbers with a scale: its answers are rounded in steps."""
    for module in model.modules():
        home = type(module).__module__
        if ".quantized" in home or "torchao" in home or "bitsandbytes" in home:
            return True
        if any(_is_quantised_tensor(tensor) for tensor in (*module._parameters.values(), *module._buffers.values())):
            return True
    return False


def _is_quantised_tensor(tensor: Tensor | None) -> bool:
    return tensor is not None and (tensor.is_quantized or "torchao" in type(tensor).__module__)


def _value(module: nn.Module, name: str) -> Tensor | None:
    found: Any = getattr(module, name, None)
    if callable(found) and not isinstance(found, nn.Module):
        try:
            found = found()
        except (TypeError, RuntimeError, AttributeError):  # a method of that name that is something else
            return None
    return found if isinstance(found, Tensor) else None


def _plain(tensor: Tensor) -> Tensor:
    if tensor.is_quantized or "torchao" in type(tensor).__module__:
        tensor = tensor.dequantize()
    return tensor if tensor.dtype == torch.float32 else tensor.float()
