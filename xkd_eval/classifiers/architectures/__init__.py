"""The CIFAR families of the distillation literature, by the names that its tables use."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from xkd_eval.classifiers.architectures import resnet
from xkd_eval.classifiers.architectures.mobilenet_v2 import mobilenet_v2
from xkd_eval.classifiers.architectures.resnet import Shortcut
from xkd_eval.classifiers.architectures.shufflenet_v1 import shufflenet_v1
from xkd_eval.classifiers.architectures.shufflenet_v2 import shufflenet_v2
from xkd_eval.classifiers.architectures.vgg import vgg
from xkd_eval.classifiers.architectures.wide_resnet import wide_resnet
from xkd_eval.errors import XkdError

__all__ = ["arguments_for_state_dict", "build", "names"]

_NARROW = (16, 16, 32, 64)
_TIMES_FOUR = (32, 64, 128, 256)


def _cifar_resnet(depth: int, published: tuple[int, ...]) -> Callable[..., nn.Module]:
    def builder(num_classes: int, shortcut: Shortcut = "B", widths: Sequence[int] = published) -> nn.Module:
        return resnet.cifar_resnet(depth, num_classes, tuple(widths), shortcut)

    return builder


def _imagenet_resnet(
    block: type[resnet.BasicBlock] | type[resnet.Bottleneck], depths: tuple[int, ...]
) -> Callable[..., nn.Module]:
    def builder(num_classes: int, shortcut: Shortcut = "B") -> nn.Module:
        return resnet.imagenet_resnet(block, depths, num_classes, shortcut)

    return builder


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
}


def names() -> list[str]:
    """The architectures' names, family by family."""
    return list(_BUILDERS)


def build(name: str, num_classes: int, **arguments: Any) -> nn.Module:
    """A randomly initialised network for small images: (B, 3, H, W) normalised -> (B, num_classes) logits.

    Its last spatial map is the output of a module, globally averaged and followed by the Linear `linear`; `stages`
    names the modules whose outputs feature distillation taps.

    Args:
        name: one of `names()`.
        num_classes: K.
        arguments: `shortcut`, "A" or "B", for the ResNets; `widths`, the channels of the stem and the three stages, for
            those with 3 n layers a stage.

    Raises:
        XkdError: unknown name or argument.
    """
    builder = _builder(name)
    accepted = [option for option in inspect.signature(builder).parameters if option in ("shortcut", "widths")]
    for argument in arguments:
        if argument not in accepted:
            raise XkdError(f"{name}: unknown argument {argument!r}; it takes {', '.join(['num_classes', *accepted])}")
    if num_classes < 1:
        raise XkdError(f"num_classes: {num_classes} found; expected at least 1")
    if arguments.get("shortcut", "B") not in ("A", "B"):
        raise XkdError(
            f"shortcut: {arguments['shortcut']!r} found; expected 'A' (zero padding) or 'B' (1x1 convolution)"
        )
    _check_widths(arguments.get("widths", _NARROW))
    return builder(num_classes=num_classes, **arguments)


def arguments_for_state_dict(name: str, state_dict: dict[str, Tensor]) -> dict[str, Any]:
    """The arguments with which `build(name, ...)` fits weights, read off their keys and shapes.

    Args:
        name: one of `names()`.
        state_dict: keys without wrapping prefixes such as `module.`.

    Returns:
        `num_classes`, for the ResNets `shortcut`, and `widths` where they are not the published ones.

    Raises:
        XkdError: unknown name, or no `linear.weight` to count the classes of.
    """
    builder = _builder(name)
    head = state_dict.get("linear.weight")
    if head is None:
        raise XkdError(f"weights: no 'linear.weight' among the keys, so these are not weights of xkd/{name}")
    arguments: dict[str, Any] = {"num_classes": len(head)}
    if "shortcut" in inspect.signature(builder).parameters:
        arguments["shortcut"] = resnet.shortcut_of(state_dict)
    if "widths" in inspect.signature(builder).parameters:
        widths = resnet.widths_of(state_dict)
        if widths is not None and widths != inspect.signature(builder).parameters["widths"].default:
            arguments["widths"] = list(widths)
    return arguments


def _check_widths(widths: Any) -> None:
    numbers = widths if isinstance(widths, Sequence) else ()
    if len(numbers) != len(_NARROW) or not all(isinstance(width, int) and width > 0 for width in numbers):
        raise XkdError(f"widths: {widths!r} found; expected channels of the stem and the three stages, as {_NARROW}")


def _builder(name: str) -> Callable[..., nn.Module]:
    if name in _BUILDERS:
        return _BUILDERS[name]
    nearest = difflib.get_close_matches(name.lower(), _BUILDERS, n=3) or names()
    raise XkdError(f"architecture: {name!r} is unknown; nearest: {', '.join(nearest)}")
