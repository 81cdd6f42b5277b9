"""ShuffleNetV2 for small images (Ma et al., ECCV 2018)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.architectures.layers import ChannelShuffle, PooledNet, conv_bn

_LAST_CHANNELS = 1024


class SplitUnit(nn.Module):
    """Half of the channels pass, the other half is filtered; then both are shuffled.

    One ReLU ends both halves: of what passes, the output of another unit, it leaves everything.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            conv_bn(half, half), conv_bn(half, half, 3, groups=half, relu=False), conv_bn(half, half, relu=False)
        )
        self.relu = nn.ReLU()
        self.shuffle = ChannelShuffle(2)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) -> the same shape."""
        kept, filtered = features.chunk(2, dim=1)
        return self.shuffle(self.relu(torch.cat((kept, self.branch(filtered)), dim=1)))


class DownUnit(nn.Module):
    """Both branches see all channels and halve the map."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.left = nn.Sequential(conv_bn(inputs, inputs, 3, 2, groups=inputs, relu=False), conv_bn(inputs, half))
        self.right = nn.Sequential(
            conv_bn(inputs, half), conv_bn(half, half, 3, 2, groups=half, relu=False), conv_bn(half, half)
        )
        self.shuffle = ChannelShuffle(2)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / 2, w / 2)."""
        return self.shuffle(torch.cat((self.left(features), self.right(features)), dim=1))


def shufflenet_v2(num_classes: int) -> PooledNet:
    """Width 1: 116, 232, 464 channels, then 1,024; 32 px give a 4x4 map."""
    inputs = 24
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=conv_bn(3, inputs))
    preactivations = []
    for number, (outputs, units) in enumerate(((116, 3), (232, 7), (464, 3)), start=1):
        stages[f"stage{number}"] = nn.Sequential(DownUnit(inputs, outputs), *(SplitUnit(outputs) for _ in range(units)))
        preactivations.append(f"before features.stage{number}.{units}.relu")
        inputs = outputs
    stages["last"] = conv_bn(inputs, _LAST_CHANNELS)
    model = PooledNet(stages, _LAST_CHANNELS, num_classes)
    model.preactivations = tuple(preactivations)
    return model
