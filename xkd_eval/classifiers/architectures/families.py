"""The CIFAR families of the distillation literature, under the names that its tables use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from xkd_eval.classifiers.architectures import resnet
from xkd_eval.classifiers.architectures.mobilenet_v2 import mobilenet_v2
from xkd_eval.classifiers.architectures.named import ARCHITECTURES
from xkd_eval.classifiers.architectures.resnet import Shortcut
from xkd_eval.classifiers.architectures.reused_head import reused_head
from xkd_eval.classifiers.architectures.shufflenet_v1 import shufflenet_v1
from xkd_eval.classifiers.architectures.shufflenet_v2 import shufflenet_v2
from xkd_eval.classifiers.architectures.vgg import vgg
from xkd_eval.classifiers.architectures.wide_resnet import wide_resnet
from xkd_eval.errors import XkdError

_NARROW = (16, 16, 32, 64)
_TIMES_FOUR = (32, 64, 128, 256)


def _cifar_resnet(depth: int, published: tuple[int, ...]) -> Callable[..., nn.Module]:
    def builder(num_classes: int, shortcut: Shortcut = "B", widths: Sequence[int] = published) -> nn.Module:
        _check_shortcut(shortcut)
        _check_widths(widths)
        return resnet.cifar_resnet(depth, num_classes, tuple(widths), shortcut)

    return builder


def _imagenet_resnet(
    block: type[resnet.BasicBlock] | type[resnet.Bottleneck], depths: tuple[int, ...]
) -> Callable[..., nn.Module]:
    def builder(num_classes: int, shortcut: Shortcut = "B") -> nn.Module:
        _check_shortcut(shortcut)
        return resnet.imagenet_resnet(block, depths, num_classes, shortcut)

    return builder


def _check_shortcut(shortcut: Any) -> None:
    if shortcut not in ("A", "B"):
        raise XkdError(f"shortcut: {shortcut!r} found; expected 'A' (zero padding) or 'B' (1x1 convolution)")


def _check_widths(widths: Any) -> None:
    numbers = widths if isinstance(widths, Sequence) else ()
    if len(numbers) != len(_NARROW) or not all(isinstance(width, int) and width > 0 for width in numbers):
        raise XkdError(f"widths: {widths!r} found; expected channels of the stem and the three stages, as {_NARROW}")


_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{depth}": _cifar_resnet(depth, _NARROW) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": _cifar_resnet(depth, _TIMES_FOUR) for depth in (8, 32)},
    "resnet18": _imagenet_resnet(resnet.BasicBlock, (2, 2, 2, 2)),
    "resnet34": _imagenet_resnet(resnet.BasicBlock, (3, 4, 6, 3)),
    "resnet50": _imagenet_resnet(resnet.Bottleneck, (3, 4, 6, 3)),
    **{
        f"wrn_{depth}_{width}": partial(wide_resnet, depth, width)
        for depth, width in ((16, 1), (16, 2), (40, 1), (40, 2))
    },
    "vgg8": partial(vgg, 1),
    "vgg13": partial(vgg, 2),
    "mobilenetv2": partial(mobilenet_v2, 0.5),
    "shufflenetv1": shufflenet_v1,
    "shufflenetv2": shufflenet_v2,
    "reused_head": reused_head,  # no family, but made by name in the same way
}

for _name, _builder in _BUILDERS.items():
    ARCHITECTURES.add(_name, _builder)
