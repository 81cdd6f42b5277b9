"""MobileNetV2 for small images (Sandler et al., CVPR 2018)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from xkd_eval.classifiers.architectures.layers import PooledNet, conv_bn, initialise

_EXPANSION = 6
_LAST_CHANNELS = 1280
STAGES = (
    ((1, 16, 1, 1), (_EXPANSION, 24, 2, 1)),
    ((_EXPANSION, 32, 3, 2),),
    ((_EXPANSION, 64, 4, 2), (_EXPANSION, 96, 3, 1)),
    ((_EXPANSION, 160, 3, 2), (_EXPANSION, 320, 1, 1)),
)
"""Per stage and group of equal width: expansion, channels at full width, blocks, stride of the first block."""


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel by 3x3, project by 1x1 without activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = conv_bn(inputs, hidden)
        self.filter = conv_bn(hidden, hidden, 3, stride, groups=hidden)
        self.project = conv_bn(hidden, outputs, relu=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        projected = self.project(self.filter(self.expand(features)))
        return features + projected if self.residual else projected


def mobilenet_v2(width: float, num_classes: int) -> PooledNet:
    """All widths but the last 1,280 channels times `width`; 32 px give a 2x2 map.

    As published for CIFAR-100: the first block keeps its 1x1 though it expands by 1, and 24 channels keep the size.
    """
    inputs = int(32 * width)
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=conv_bn(3, inputs, 3, stride=2))
    for number, groups in enumerate(STAGES, start=1):
        blocks: list[nn.Module] = []
        for expansion, channels, repeats, first_stride in groups:
            outputs = int(channels * width)
            for index in range(repeats):
                blocks.append(InvertedResidual(inputs, outputs, first_stride if index == 0 else 1, expansion))
                inputs = outputs
        stages[f"stage{number}"] = nn.Sequential(*blocks)
    stages["last"] = conv_bn(inputs, _LAST_CHANNELS)
    model = PooledNet(stages, _LAST_CHANNELS, num_classes)
    initialise(model)
    nn.init.normal_(model.linear.weight, std=0.01)
    nn.init.zeros_(model.linear.bias)
    return model
