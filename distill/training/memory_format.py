"""The memory format of a training's networks."""

from __future__ import annotations

import torch
from torch import nn

from distill.recipe.schema import Recipe

_ONEDNN_BLOCK = 16  # channels that an AVX-512 kernel takes at a time


def memory_format_of(recipe: Recipe, network: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels-last where the recipe asks for it and the CPU's kernels are right.

    oneDNN's weight gradient of a strided 1x1 convolution of few channels-last input channels writes past its buffer
    (its issue 6035): wrong gradients or a crash.
    """
    exposed = device.type == "cpu" and any(_overruns(module) for module in network.modules())
    return torch.channels_last if recipe.channels_last and not exposed else torch.contiguous_format


def _overruns(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < _ONEDNN_BLOCK
    )
