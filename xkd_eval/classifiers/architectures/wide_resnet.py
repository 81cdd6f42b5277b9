"""Wide residual networks (Zagoruyko & Komodakis, BMVC 2016)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from xkd_eval.classifiers.architectures.layers import PooledNet, initialise


class PreActivationBlock(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions.

    Where the shape changes, the 1x1 shortcut too starts from the activated input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride), before its activation."""
        activated = self.relu1(self.bn1(features))
        residual = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        return residual + (features if self.shortcut is None else self.shortcut(activated))


def wide_resnet(depth: int, width: int, num_classes: int) -> PooledNet:
    """WRN-depth-width: three stages of (depth - 4) / 6 blocks, 16, 32 and 64 times `width` channels."""
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(3, 16, 3, padding=1, bias=False))
    inputs = 16
    for number, outputs in enumerate((16 * width, 32 * width, 64 * width), start=1):
        blocks = [PreActivationBlock(inputs, outputs, stride=1 if number == 1 else 2)]
        blocks += [PreActivationBlock(outputs, outputs, stride=1) for _ in range((depth - 4) // 6 - 1)]
        stages[f"stage{number}"] = nn.Sequential(*blocks)
        inputs = outputs
    stages["activation"] = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
    model = PooledNet(stages, inputs, num_classes)
    # A stage ends in a sum; the norm in front of the next ReLU is the next stage's.
    model.preactivations = ("features.stage2.0.bn1", "features.stage3.0.bn1", "features.activation.0")
    initialise(model)
    nn.init.zeros_(model.linear.bias)
    return model
