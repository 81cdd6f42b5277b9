"""The CIFAR networks of the distillation literature once more, as functions of tensors by their published names.

Each is written from its paper; names and the order in which tensors appear are those of RepDistiller and mdistiller.
Tensors are drawn where a network first asks for them: a name that is wrong, or asked for twice, would show.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


class Drawn:
    """Random weights by name, batch norms' statistics included."""

    def __init__(self, seed: int) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, name: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        if name not in self.tensors:
            self.tensors[name] = low + (high - low) * torch.rand(shape, generator=self._generator)
        return self.tensors[name]

    def conv(
        self, x: Tensor, name: str, outputs: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> Tensor:
        inputs = x.shape[1] // groups
        bound = math.sqrt(6 / (inputs * kernel**2))
        weight = self.uniform(f"{name}.weight", (outputs, inputs, kernel, kernel), -bound, bound)
        added = self.uniform(f"{name}.bias", (outputs,), -0.2, 0.2) if bias else None
        return F.conv2d(x, weight, added, stride, kernel // 2, groups=groups)

    def norm(self, x: Tensor, name: str) -> Tensor:
        ranges = {"weight": (0.5, 1.5), "bias": (-0.3, 0.3), "running_mean": (-0.3, 0.3), "running_var": (0.5, 1.5)}
        weight, bias, mean, variance = (
            self.uniform(f"{name}.{part}", (x.shape[1],), *limits)[:, None, None] for part, limits in ranges.items()
        )
        self.tensors.setdefault(f"{name}.num_batches_tracked", torch.tensor(7))
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def classify(self, x: Tensor, name: str, classes: int) -> Tensor:
        pooled = x.mean((2, 3))
        weight = self.uniform(f"{name}.weight", (classes, pooled.shape[1]), -0.3, 0.3)
        return pooled @ weight.T + self.uniform(f"{name}.bias", (classes,), -0.3, 0.3)


def resnet(depth: int, stem: int, *widths: int) -> Callable[[Drawn, Tensor, int], Tensor]:
    """He et al., CVPR 2016: the CIFAR networks, with projections where the shape changes."""

    def forward(drawn: Drawn, x: Tensor, classes: int) -> Tensor:
        x = drawn.norm(drawn.conv(x, "conv1", stem, 3), "bn1").relu()
        for stage, width in enumerate(widths, start=1):
            for block in range((depth - 2) // 6):
                path, stride = f"layer{stage}.{block}", 2 if block == 0 and stage > 1 else 1
                y = drawn.norm(drawn.conv(x, f"{path}.conv1", width, 3, stride), f"{path}.bn1").relu()
                y = drawn.norm(drawn.conv(y, f"{path}.conv2", width, 3), f"{path}.bn2")
                if stride == 2 or x.shape[1] != width:
                    x = drawn.norm(drawn.conv(x, f"{path}.downsample.0", width, 1, stride), f"{path}.downsample.1")
                x = (x + y).relu()
        return drawn.classify(x, "fc", classes)

    return forward


def resnet50(drawn: Drawn, x: Tensor, classes: int) -> Tensor:
    """He et al., CVPR 2016, bottlenecks that are strided in their 3x3, behind a 3x3 stem."""
    x = drawn.norm(drawn.conv(x, "conv1", 64, 3), "bn1").relu()
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            path, stride = f"layer{stage}.{block}", 2 if block == 0 and stage > 1 else 1
            y = drawn.norm(drawn.conv(x, f"{path}.conv1", width, 1), f"{path}.bn1").relu()
            y = drawn.norm(drawn.conv(y, f"{path}.conv2", width, 3, stride), f"{path}.bn2").relu()
            y = drawn.norm(drawn.conv(y, f"{path}.conv3", 4 * width, 1), f"{path}.bn3")
            if block == 0:
                x = drawn.norm(drawn.conv(x, f"{path}.shortcut.0", 4 * width, 1, stride), f"{path}.shortcut.1")
            x = (x + y).relu()
    return drawn.classify(x, "linear", classes)


def wide_resnet(depth: int, factor: int) -> Callable[[Drawn, Tensor, int], Tensor]:
    """Zagoruyko & Komodakis, BMVC 2016: norm and ReLU first, and before the projection too."""

    def forward(drawn: Drawn, x: Tensor, classes: int) -> Tensor:
        x = drawn.conv(x, "conv1", 16, 3)
        for stage, width in enumerate((16 * factor, 32 * factor, 64 * factor), start=1):
            for block in range((depth - 4) // 6):
                path, stride = f"block{stage}.layer.{block}", 2 if block == 0 and stage > 1 else 1
                active = drawn.norm(x, f"{path}.bn1").relu()
                y = drawn.norm(drawn.conv(active, f"{path}.conv1", width, 3, stride), f"{path}.bn2").relu()
                y = drawn.conv(y, f"{path}.conv2", width, 3)
                if x.shape[1] != width:
                    x = drawn.conv(active, f"{path}.convShortcut", width, 1, stride)
                x = x + y
        return drawn.classify(drawn.norm(x, "bn1").relu(), "fc", classes)

    return forward


def vgg(convolutions: int) -> Callable[[Drawn, Tensor, int], Tensor]:
    """Simonyan & Zisserman, ICLR 2015, with batch norm; at 32 px the map is halved after each of three blocks."""

    def forward(drawn: Drawn, x: Tensor, classes: int) -> Tensor:
        for block, width in enumerate((64, 128, 256, 512, 512)):
            for number in range(convolutions):
                path = f"block{block}.{3 * number}"
                x = drawn.norm(drawn.conv(x, path, width, 3, bias=True), f"block{block}.{3 * number + 1}").relu()
            if block < 3:
                x = F.max_pool2d(x, 2)
        return drawn.classify(x, "classifier", classes)

    return forward


def mobilenet_v2(drawn: Drawn, x: Tensor, classes: int) -> Tensor:
    """Sandler et al., CVPR 2018, at half its width."""
    table = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    x = drawn.norm(drawn.conv(x, "conv1.0", 16, 3, 2), "conv1.1").relu()
    for group, (expansion, width, repeats, stride) in enumerate(table):
        for block in range(repeats):
            path, inner, step = f"blocks.{group}.{block}.conv", expansion * x.shape[1], stride if block == 0 else 1
            y = drawn.norm(drawn.conv(x, f"{path}.0", inner, 1), f"{path}.1").relu()
            y = drawn.norm(drawn.conv(y, f"{path}.3", inner, 3, step, groups=inner), f"{path}.4").relu()
            y = drawn.norm(drawn.conv(y, f"{path}.6", width // 2, 1), f"{path}.7")
            x = x + y if x.shape == y.shape else y
    x = drawn.norm(drawn.conv(x, "conv2.0", 1280, 1), "conv2.1").relu()
    return drawn.classify(x, "classifier.0", classes)


def _shuffled(x: Tensor, groups: int) -> Tensor:
    order = torch.arange(x.shape[1]).reshape(groups, -1).T.reshape(-1)
    return x[:, order]


def shufflenet_v1(drawn: Drawn, x: Tensor, classes: int) -> Tensor:
    """Zhang et al., CVPR 2018, of three groups; the first 1x1 convolution of all has one."""
    x = drawn.norm(drawn.conv(x, "conv1", 24, 1), "bn1").relu()
    for stage, (width, blocks) in enumerate(((240, 4), (480, 8), (960, 4)), start=1):
        for block in range(blocks):
            path, stride = f"layer{stage}.{block}", 2 if block == 0 else 1
            outputs = width - x.shape[1] if block == 0 else width
            groups = 1 if stage == 1 and block == 0 else 3
            y = drawn.conv(x, f"{path}.conv1", outputs // 4, 1, groups=groups)
            y = _shuffled(drawn.norm(y, f"{path}.bn1").relu(), groups)
            y = drawn.conv(y, f"{path}.conv2", outputs // 4, 3, stride, groups=outputs // 4)
            y = drawn.conv(drawn.norm(y, f"{path}.bn2").relu(), f"{path}.conv3", outputs, 1, groups=3)
            y = drawn.norm(y, f"{path}.bn3")
            x = torch.cat((y, F.avg_pool2d(x, 3, 2, 1)), 1).relu() if block == 0 else (x + y).relu()
    return drawn.classify(x, "linear", classes)


def shufflenet_v2(drawn: Drawn, x: Tensor, classes: int) -> Tensor:
    """Ma et al., ECCV 2018, of width 1."""

    def layer(x: Tensor, path: str, number: int, outputs: int, kernel: int = 1, stride: int = 1) -> Tensor:
        groups = outputs if kernel == 3 else 1
        return drawn.norm(drawn.conv(x, f"{path}conv{number}", outputs, kernel, stride, groups), f"{path}bn{number}")

    x = layer(x, "", 1, 24).relu()
    for stage, (width, blocks) in enumerate(((116, 4), (232, 8), (464, 4)), start=1):
        half = width // 2
        for block in range(blocks):
            path = f"layer{stage}.{block}."
            if block == 0:
                left = layer(layer(x, path, 1, x.shape[1], 3, 2), path, 2, half).relu()
                right = layer(layer(x, path, 3, half).relu(), path, 4, half, 3, 2)
                right = layer(right, path, 5, half).relu()
            else:
                left = x[:, :half]
                right = layer(layer(x[:, half:], path, 1, half).relu(), path, 2, half, 3)
                right = layer(right, path, 3, half).relu()
            x = _shuffled(torch.cat((left, right), 1), 2)
    return drawn.classify(layer(x, "", 2, 1024).relu(), "linear", classes)


NETWORKS: dict[str, Callable[[Drawn, Tensor, int], Tensor]] = {
    **{f"resnet{depth}": resnet(depth, 16, 16, 32, 64) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": resnet(depth, 32, 64, 128, 256) for depth in (8, 32)},
    "resnet50": resnet50,
    **{f"wrn_{depth}_{factor}": wide_resnet(depth, factor) for depth, factor in ((16, 1), (16, 2), (40, 1), (40, 2))},
    "vgg8": vgg(1),
    "vgg13": vgg(2),
    "mobilenetv2": mobilenet_v2,
    "shufflenetv1": shufflenet_v1,
    "shufflenetv2": shufflenet_v2,
}
"""By the names that the architectures have here."""
