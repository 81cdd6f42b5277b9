"""ShuffleNetV1 for small images (Zhang et al., CVPR 2018)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.architectures.layers import ChannelShuffle, PooledNet, conv_bn

_GROUPS = 3
_STEM_CHANNELS = 24


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; a strided unit is concatenated with the pooled input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        added = outputs - inputs if stride == 2 else outputs
        hidden = added // 4
        first_groups = 1 if inputs == _STEM_CHANNELS else _GROUPS
        self.residual = nn.Sequential(
            conv_bn(inputs, hidden, groups=first_groups),
            ChannelShuffle(first_groups),
            conv_bn(hidden, hidden, 3, stride, groups=hidden),
            conv_bn(hidden, added, groups=_GROUPS, relu=False),
        )
        self.shortcut = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        residual = self.residual(features)
        if self.shortcut is None:
            return self.relu(features + residual)
        return self.relu(torch.cat((residual, self.shortcut(features)), dim=1))


def shufflenet_v1(num_classes: int) -> PooledNet:
    """Three groups, 240, 480 and 960 channels; 32 px give a 4x4 map."""
    inputs = _STEM_CHANNELS
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=conv_bn(3, inputs))
    for number, (outputs, units) in enumerate(((240, 4), (480, 8), (960, 4)), start=1):
        first = ShuffleUnit(inputs, outputs, stride=2)
        stages[f"stage{number}"] = nn.Sequential(
            first, *(ShuffleUnit(outputs, outputs, stride=1) for _ in range(units - 1))
        )
        inputs = outputs
    return PooledNet(stages, inputs, num_classes)
