"""A network computed in bfloat16 where it bears that."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

_FEW_TERMS = 32  # a 3x3 kernel on three colours, depthwise kernels up to 5x5; benchmarks/precision.py


def to_bfloat16(network: nn.Module, head: Iterable[str]) -> None:
    """Compute in bfloat16 what bears it; the network is changed, and wants images in bfloat16.

    The head stays float32: 8 bits of mantissa would tie the largest logits. So do convolutions that sum few terms,
    depthwise ones above all: their rounding does not average out, and they gain the least.

    Args:
        network: in eval mode, for inference alone.
        head: paths of the layers behind the last map.
    """
    linear = [network.get_submodule(path) for path in head]
    convolutions = [part for part in network.modules() if part not in linear and _sums_few_terms(part)]
    kept = [(module, copy.deepcopy(module.state_dict())) for module in linear + convolutions]
    network.bfloat16()
    for module, weights in kept:
        module.float().load_state_dict(weights)
        module.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(), *inputs[1:]))
    for module in convolutions:
        module.register_forward_hook(lambda module, inputs, output: output.bfloat16())


def bf16_is_native(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere bf16 is slower than fp32."""
    if device.type == "cpu":  # avx512_bf16, amx_bf16, Arm's bf16
        return any(there is True for name, there in torch.cpu.get_capabilities().items() if "bf16" in name)
    return device.type != "cuda" or torch.cuda.get_device_capability(device)[0] >= 8


def _sums_few_terms(module: nn.Module) -> bool:
    """Whether an output of this convolution is a sum of too few products for their rounding to average out."""
    return isinstance(module, nn.Conv2d) and module.weight[0].numel() < _FEW_TERMS
