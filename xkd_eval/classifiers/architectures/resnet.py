"""Residual networks for small images (He et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.classifiers.architectures.layers import initialise

Shortcut = Literal["A", "B"]


class ResNet(nn.Module):
    """A 3x3 stem without pooling, stages of residual blocks, global average, linear head.

    Args:
        block: BasicBlock or Bottleneck.
        depths: blocks a stage; every stage but the first halves the map.
        widths: the stem's channels, then each stage's (before the bottleneck's expansion).
        num_classes: K.
        shortcut: where a block changes the shape, "B" projects by a 1x1 convolution and "A" subsamples and pads the
            channels with zeros, without parameters.

    Attributes:
        stages: module paths of the stages, first to last; the last one's output is the map of the CAM.
    """

    stages: tuple[str, ...]

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        num_classes: int,
        shortcut: Shortcut = "B",
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu1 = nn.ReLU()
        self.stages = tuple(f"layer{number}" for number in range(1, len(depths) + 1))
        channels = widths[0]
        for name, depth, width in zip(self.stages, depths, widths[1:], strict=True):
            blocks: list[nn.Module] = []
            for index in range(depth):
                stride = 2 if index == 0 and name != "layer1" else 1
                blocks.append(block(channels, width, stride, shortcut))
                channels = width * block.expansion
            self.add_module(name, nn.Sequential(*blocks))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, K) logits."""
        features = self.relu1(self.bn1(self.conv1(images)))
        for name in self.stages:
            features = self.get_submodule(name)(features)
        return self.linear(self.pool(features).flatten(1))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the shortcut; ReLU after the sum."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(inputs, width, stride, shortcut)
        self.relu2 = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, width, h / stride, w / stride)."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(features)))))
        return self.relu2(residual + self.shortcut(features))


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided), 1x1 convolutions beside the shortcut; ReLU after the sum."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride, shortcut)
        self.relu3 = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, 4 width, h / stride, w / stride)."""
        residual = self.relu1(self.bn1(self.conv1(features)))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        return self.relu3(self.bn3(self.conv3(residual)) + self.shortcut(features))


class SubsampleAndPad(nn.Module):
    """Option A: every second pixel, zero channels on both sides."""

    def __init__(self, stride: int, padding: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C + 2 padding, h / stride, w / stride)."""
        subsampled = features[:, :, :: self.stride, :: self.stride]
        return F.pad(subsampled, (0, 0, 0, 0, self.padding, self.padding))


def shortcut_of(state_dict: Mapping[str, Tensor]) -> Shortcut:
    """Which option a ResNet's weights were trained with: only "B" leaves parameters behind."""
    return "B" if any(".shortcut." in key for key in state_dict) else "A"


def widths_of(state_dict: Mapping[str, Tensor]) -> tuple[int, ...] | None:
    """The channels of the stem and of three stages; None where the keys are not those of such a network."""
    keys = ("conv1.weight", *(f"layer{number}.0.conv2.weight" for number in (1, 2, 3)))
    is_there = all(key in state_dict and state_dict[key].ndim for key in keys)
    return tuple(len(state_dict[key]) for key in keys) if is_there else None


def cifar_resnet(depth: int, num_classes: int, widths: tuple[int, ...], shortcut: Shortcut) -> ResNet:
    """The 6n + 2 layers of the CIFAR experiments: three stages of n basic blocks."""
    blocks = (depth - 2) // 6
    return ResNet(BasicBlock, (blocks,) * 3, widths, num_classes, shortcut)


def imagenet_resnet(
    block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...], num_classes: int, shortcut: Shortcut
) -> ResNet:
    """ImageNet's four stages behind the stem for 32 px."""
    return ResNet(block, depths, (64, 64, 128, 256, 512), num_classes, shortcut)


def _shortcut(inputs: int, outputs: int, stride: int, option: Shortcut) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if option == "A":
        return SubsampleAndPad(stride, (outputs - inputs) // 2)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
