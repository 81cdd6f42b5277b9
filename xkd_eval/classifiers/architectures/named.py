"""Networks by name: what `student.architecture` in a recipe and `xkd/NAME` mean."""

from __future__ import annotations

import inspect
import sys
import sysconfig
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from torch import Tensor, nn

from xkd_eval.arguments import Within, public
from xkd_eval.classifiers.architectures import resnet
from xkd_eval.classifiers.architectures.spellings import layouts
from xkd_eval.classifiers.weights.matching import Layout
from xkd_eval.errors import XkdError
from xkd_eval.registry import Registry, check_taken, described, imported, parameters

Builder = Callable[..., nn.Module]
"""Takes `num_classes` and options of its own, all by keyword; returns (B, 3, H, W) normalised -> (B, num_classes)."""

_INSTALLED = ("site-packages", "dist-packages")


def _checked(thing: object) -> Builder:
    if not callable(thing) or "num_classes" not in parameters(thing):
        # Asked for by name, because a checkpoint may say what is called here: not any function will do.
        found = thing.__qualname__ if hasattr(thing, "__qualname__") else type(thing).__qualname__
        raise XkdError(
            f"architecture: {found} takes no argument called num_classes; expected a function that takes it, or an "
            "nn.Module, and returns the network"
        )
    return thing


_B = TypeVar("_B", bound=Callable[..., Any])

ARCHITECTURES: Registry[Builder] = Registry(
    "architecture",
    group="xkd.architectures",
    home=["xkd_eval.classifiers.architectures.families"],
    check=_checked,
    name_of="__name__",
)
"""Builders of networks by name."""


@public()
def register_architecture(name: str) -> Callable[[_B], _B]:
    """Decorator of an nn.Module, or of a function that returns one: make it known as an architecture.

    It is called with `num_classes` and options of its own, by keyword, and returns a network
    (B, 3, H, W) normalised -> (B, num_classes). An installed package needs no decorator: it names its class or function
    as an entry point of the group `xkd.architectures`.

    Args:
        name: what a recipe's `student.architecture` and `xkd/NAME` take.

    Raises:
        XkdError: the name is taken, or there is no argument `num_classes`.

    Example:
        >>> from torch import nn
        >>> from xkd_eval import register_architecture
        >>> from xkd_eval.classifiers.architectures import build
        >>> @register_architecture("shallow")
        ... def shallow(num_classes, width=8):
        ...     features = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        ...     return nn.Sequential(features, nn.Linear(width, num_classes))
        >>> build("shallow", 10, width=4)[1]
        Linear(in_features=4, out_features=10, bias=True)
    """

    def add(builder: _B) -> _B:
        ARCHITECTURES.add(name, builder)
        return builder

    return add


def names() -> list[str]:
    """The architectures' names: the CIFAR families, then those of others."""
    return ARCHITECTURES.names()


@public()
def build(name: str, num_classes: Annotated[int, Within(1)], **arguments: Any) -> nn.Module:
    """A randomly initialised network: (B, 3, H, W) normalised -> (B, num_classes) logits.

    In the CIFAR families the last spatial map is the output of a module, globally averaged and followed by the Linear
    `linear`; `stages` names the modules whose outputs feature distillation taps.

    Args:
        name: one of `names()`, or "py:package.module:builder", an nn.Module or a function that returns one.
        num_classes: K; a builder of the user's own that takes no such argument is called without.
        arguments: the builder's own. In the families: `shortcut`, "A" or "B", for the ResNets; `widths`, the channels
            of the stem and the three stages, for those with 3 n layers a stage.

    Raises:
        XkdError: unknown name or argument, or the builder returns no module.
    """
    builder = _referenced(name) if name.startswith("py:") else ARCHITECTURES[name]
    check_taken(name, builder, arguments)
    classes = {"num_classes": num_classes} if _takes_classes(builder) else {}
    try:
        module = builder(**classes, **arguments)
    except XkdError:
        raise
    except Exception as error:  # somebody else's code may raise anything
        raise XkdError(f"architecture: {name!r} fails ({described(error)})") from error
    if not isinstance(module, nn.Module):
        raise XkdError(f"architecture: {name!r} returned a {type(module).__name__}; expected an nn.Module")
    return module


def arguments_for_state_dict(
    name: str, state_dict: Mapping[str, Tensor], num_classes: int | None = None
) -> dict[str, Any]:
    """The arguments with which `build(name, ...)` fits weights, read off their keys and shapes.

    Args:
        name: as `build` takes it.
        state_dict: keys without wrapping prefixes such as `module.`.
        num_classes: where no tensor says it.

    Returns:
        `num_classes`, for the ResNets `shortcut`, and `widths` where they are not the published ones.

    Raises:
        XkdError: unknown name, or no tensor to count the classes of.
    """
    builder = _referenced(name) if name.startswith("py:") else ARCHITECTURES[name]
    ours = ARCHITECTURES.is_own(name)
    head = "linear.weight" if ours else _head_key(builder)
    if head in state_dict and state_dict[head].ndim:
        num_classes = len(state_dict[head])
    if num_classes is None:
        raise XkdError(f"weights: no {head!r} among the keys, so these are not weights of xkd/{name}")
    arguments: dict[str, Any] = {"num_classes": num_classes}
    taken = parameters(builder) if ours else {}
    if "shortcut" in taken:
        arguments["shortcut"] = resnet.shortcut_of(state_dict)
    if "widths" in taken:
        widths = resnet.widths_of(state_dict)
        if widths is not None and widths != taken["widths"].default:
            arguments["widths"] = list(widths)
    return arguments


def layouts_of(name: str, arguments: Mapping[str, Any]) -> list[Layout]:
    """What a file of weights for `build(name, ...)` may look like, of any number of classes.

    Args:
        name: as `build` takes it.
        arguments: that the user gives; of the ResNets' shortcuts that they leave open both are looked for.

    Raises:
        XkdError: unknown name or argument.
    """
    options = [dict(arguments)]
    if ARCHITECTURES.is_own(name) and "shortcut" in parameters(ARCHITECTURES[name]) and "shortcut" not in arguments:
        options = [{**arguments, "shortcut": shortcut} for shortcut in ("B", "A")]
    return [layout for option in options for layout in layouts(name, shapes_of(name, {"num_classes": 2, **option}))]


def shapes_of(name: str, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict of `build(name, ...)`, of which names and shapes are to be looked at; ours take no memory.

    Raises:
        XkdError: unknown name or argument.
    """
    with torch.device("meta") if ARCHITECTURES.is_own(name) else nullcontext():
        return build(name, **arguments).state_dict()


def _referenced(name: str) -> Builder:
    """What "py:package.module:builder" names.

    Without an argument `num_classes` it has to be an nn.Module, or a function of a module that is not installed: a
    checkpoint, which may come from anywhere, says what is called here.
    """
    thing = imported(name, "architecture")
    is_module = isinstance(thing, type) and issubclass(thing, nn.Module)
    if callable(thing) and (is_module or _is_of_user(thing)):
        return thing
    return _checked(thing)


def _is_of_user(function: Any) -> bool:
    """Whether a function is defined in a file beside what is installed: of the working directory, as a rule."""
    file = getattr(sys.modules.get(getattr(function, "__module__", None) or ""), "__file__", None)
    if not inspect.isfunction(function) or file is None:
        return False
    path = Path(file).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    return not path.is_relative_to(library) and not any(part in _INSTALLED for part in path.parts)


def _takes_classes(builder: Builder) -> bool:
    taken = parameters(builder)
    open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values())
    return "num_classes" in taken or open_ended


def _head_key(builder: Builder) -> str:
    """The first tensor that has as many rows as there are classes; "" where none has."""
    two, three = (builder(num_classes=count).state_dict() for count in (2, 3))
    changing = (key for key, tensor in two.items() if tensor.shape[:1] == (2,) and three[key].shape[:1] == (3,))
    return next(changing, "")
