"""What a network gives, as logits (B, K): picked out of an object or a tuple, and made two of one number an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.arguments import described_values
from xkd_eval.classifiers.hooks import takes_hooks
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading

_SEED, _IMAGES = 9, 2
_LISTED = 8

BEFORE = "before "
"""In front of a module's path: what the module is given, in place of what it puts out."""


class Classifying(nn.Module):
    """A network whose logits are a part of what it gives, or that gives one number an image.

    Of one number z the classes are two: their logits are -z / 2 and z / 2, whose softmax is what the sigmoid says.

    Args:
        network: (B, C, H, W) normalised -> anything.
        part: the key, attribute or place of the logits; None is what the network gives, or its `logits`.
        is_binary: whether it gives one number an image.
    """

    def __init__(self, network: nn.Module, part: str | int | None, *, is_binary: bool) -> None:
        super().__init__()
        self.network = network
        self.part = part
        self.is_binary = is_binary

    @property
    def stages(self) -> tuple[str, ...]:
        """The modules whose outputs are maps on the way, where the network says it of itself; () where it does not."""
        return tuple(f"network.{path}" for path in listed_stages(self.network))

    @property
    def preactivations(self) -> tuple[str, ...]:
        """Likewise its maps before a ReLU."""
        return tuple(_within("network", name) for name in listed_preactivations(self.network))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) normalised -> (B, K)."""
        values = _as_rows(picked(self.network(images), self.part))
        return torch.cat([-values / 2, values / 2], 1) if self.is_binary else values

    def get_extra_state(self) -> tuple[str | int | None, bool]:
        """What tells it from the network alone, and from another part of it."""
        return self.part, self.is_binary

    def set_extra_state(self, state: Any) -> None:
        """Nothing is kept that is not given."""


def listed_stages(network: nn.Module) -> tuple[str, ...]:
    """What a network lists as its `stages`, as far as these are paths; () for anything else of that name."""
    return _listed(network, "stages")


def listed_preactivations(network: nn.Module) -> tuple[str, ...]:
    """What it lists as its `preactivations`: paths of modules that put out its maps before a ReLU, or "before PATH" of
    the ReLUs; () where it lists none.
    """
    return _listed(network, "preactivations")


def _listed(network: nn.Module, attribute: str) -> tuple[str, ...]:
    listed = getattr(network, attribute, None)
    return tuple(listed) if isinstance(listed, tuple | list) and all(isinstance(path, str) for path in listed) else ()


def _within(container: str, name: str) -> str:
    """What a map is called from outside of a container."""
    path = name.removeprefix(BEFORE)
    return f"{name.removesuffix(path)}{container}.{path}"


def is_binary(model: nn.Module) -> bool:
    """Whether the two classes of a model are of one number."""
    return isinstance(model, Classifying) and model.is_binary


def classifying(network: nn.Module, preprocess: Preprocess, output: str | int | None = None) -> tuple[nn.Module, int]:
    """A network as (B, C, H, W) -> (B, K) logits, and K.

    Args:
        network: in eval mode; itself, where it does so already.
        preprocess: its input convention.
        output: which part of what it gives are the logits: a key, an attribute, or a place. By default a tensor is what
            is given, and of an object or a dict its `logits`.

    Raises:
        XkdError: it gives nothing of that shape, or nothing of that name; names what it gives.
    """
    device = next(network.parameters(), torch.empty(0)).device
    images = random_images(preprocess, _SEED, _IMAGES).to(device)
    with torch.no_grad():
        answer = _answer(network, images)
    alone = reading(f"model: {type(network).__name__} fails on a single image", "each is classified by itself")
    with torch.no_grad(), alone:
        network(images[:1])
    values = picked(answer, output)
    rows = _as_rows(values)
    if rows.ndim != 2 or len(rows) != _IMAGES or not rows.is_floating_point():
        raise XkdError(f"model: its output is {described_values(values)}; a classifier puts out logits (B, K)")
    is_one = rows.shape[1] == 1
    is_plain = values is answer and rows.shape == values.shape and takes_hooks(network)
    if is_one or not is_plain:
        network = Classifying(network, output, is_binary=is_one)
    return network, 2 if is_one else rows.shape[1]


def _answer(network: nn.Module, images: Tensor) -> Any:
    height, width = images.shape[2:]
    fails = reading(
        f"size: the model rejects images of {height}x{width}", "expected the size and channels that it was made for"
    )
    try:
        with fails:
            return network(images)
    except XkdError as error:
        if error.__cause__ is None or not _answers(network, images[:1]):  # without a cause it is the network's own word
            raise
    raise XkdError(
        f"model: {type(network).__name__} answers one image and fails on {len(images)} at once; trace or export it for "
        "any number of images"
    )


def _answers(network: nn.Module, images: Tensor) -> bool:
    """Whether it answers, whatever it says of images that are not its own."""
    with suppress(Exception), torch.no_grad():
        network(images)
        return True
    return False


def input_channels(network: nn.Module, preprocess: Preprocess) -> int:
    """How many channels a network takes: as many as its convention has, or else its first convolution's.

    Args:
        network: in eval mode.
        preprocess: its input convention.
    """
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.in_channels == preprocess.channels:
        return preprocess.channels
    if not _answers(network, random_images(preprocess, _SEED, _IMAGES).to(first.weight.device)):
        return first.in_channels
    return preprocess.channels  # it rearranges its input in front of the convolution


def picked(answer: Any, part: str | int | None) -> Tensor:
    """A tensor out of what a network gave.

    Raises:
        XkdError: there is none of that name, or several and none was named.
    """
    if isinstance(answer, Tensor):
        if part is None:
            return answer
        raise XkdError(f"model: output={part} found behind it, and it gives one tensor; leave it out")
    parts = dict(_parts(answer))
    if not parts:
        raise XkdError(f"model: its output is a {type(answer).__name__} without tensors; expected logits (B, K)")
    chosen = part
    if part is None:
        chosen = "logits" if "logits" in parts else next(iter(parts)) if len(parts) == 1 else None
    elif part not in parts and str(part).isdecimal() and int(part) < len(parts):
        chosen = [*parts][int(part)]
    if chosen is not None and chosen in parts:
        return parts[chosen]
    listed = ", ".join(f"{name} ({described_values(value)})" for name, value in [*parts.items()][:_LISTED])
    found = "" if part is None else f"output={part} found behind it, and "
    raise XkdError(
        f"model: {found}it gives {listed}; say which are the logits, as MODEL,output={next(iter(parts))} does"
    )


def _parts(answer: Any) -> Iterator[tuple[str | int, Tensor]]:
    """The tensors within an object, a dict or a tuple, by the names that they have there, then by place."""
    named: list[tuple[str | int, Any]]
    if isinstance(answer, Mapping):
        named = [(str(name), value) for name, value in answer.items()]
    elif isinstance(answer, tuple) and hasattr(answer, "_fields"):
        named = list(zip(answer._fields, answer, strict=True))
    elif isinstance(answer, list | tuple):
        named = list(enumerate(answer))
    else:
        named = list(vars(answer).items()) if hasattr(answer, "__dict__") else []
    yield from ((name, value) for name, value in named if isinstance(value, Tensor))


def _as_rows(values: Tensor) -> Tensor:
    """(B,), (B, K, 1, 1) -> (B, K); others as they are."""
    if values.is_quantized:
        values = values.dequantize()
    if values.ndim == 1:
        return values[:, None]
    return values.flatten(1) if values.ndim == 4 and values.shape[2:].numel() == 1 else values
