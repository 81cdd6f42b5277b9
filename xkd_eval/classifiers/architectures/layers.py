"""What the families share: the shape "features, average, linear", and the initialisation."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


class PooledNet(nn.Module):
    """Convolutional features, their global average, a linear head.

    Args:
        stages: name to module, in order. The last one ends with its activation, so that its output is the map whose
            class activation maps re-derive the logits.
        channels: C of the last stage.
        num_classes: K.

    Attributes:
        stages: module paths of the stages, first to last, as taps for feature distillation.
        preactivations: modules that put out the same maps before their ReLU, or "before PATH" of the ReLUs; () where
            a ReLU ends each stage, or none does.
    """

    stages: tuple[str, ...]
    preactivations: tuple[str, ...] = ()

    def __init__(self, stages: OrderedDict[str, nn.Module], channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, num_classes)
        self.stages = tuple(f"features.{name}" for name in stages if name.startswith("stage"))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, K) logits, for any H and W that the strides leave a map of."""
        return self.linear(self.pool(self.features(images)).flatten(1))


class ChannelShuffle(nn.Module):
    """Interleave the channels of `groups` groups (Zhang et al., CVPR 2018): (B, C, h, w) -> the same shape."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return features.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


def conv_bn(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution with "same" padding and no bias, batch norm, and a ReLU unless `relu` is False."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


def initialise(model: nn.Module) -> None:
    """He et al., ICCV 2015, by fan-out; zero biases; batch norms as the identity."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
