"""A student's network, built for images of its recipe's size, or refused before it is trained.

Many of timm's networks, vision transformers above all, are built for images of one size, their argument `img_size`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from distill.methods.base import Requirement
from xkd_eval.classifiers.arguments import described_values
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.copies import is_float32
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.head import find_cam_head
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.classifiers.sources import build_architecture
from xkd_eval.engines.eager import check_alone, check_finite
from xkd_eval.errors import CamHeadError, XkdError, renamed
from xkd_eval.foreign import reading, reason, short

SIZE = "img_size"
"""The argument by which timm's networks are built for images of a size."""

_WHAT = "student: the architecture"
_STEP = 32  # by which networks make their maps smaller, as a rule


class BuiltNetwork(NamedTuple):
    """A network with random weights.

    Attributes:
        module: whatever the architecture makes.
        arguments: that it was built with.
        notes: what is to be said of them, a sentence each.
    """

    module: Any
    arguments: dict[str, Any]
    notes: tuple[str, ...] = ()


def takes_size(architecture: str) -> bool:
    """Whether `img_size` among an architecture's arguments is what it stands for in timm."""
    return architecture.startswith("timm/")


def at_size(network: Any, architecture: str, arguments: Mapping[str, Any], preprocess: Preprocess) -> BuiltNetwork:
    """A network that takes images of the recipe's size: itself, or the same one built for them.

    Args:
        network: as the architecture made it.
        architecture: its name.
        arguments: that it was made with.
        preprocess: its input convention.

    Raises:
        XkdError: it takes others alone; names a size that it takes, if one is found.
    """
    built = BuiltNetwork(network, dict(arguments))
    if not takes_size(architecture):
        return built
    fault = _why_not(network, preprocess)
    if fault and SIZE not in arguments:
        sized = _built(architecture, {**arguments, SIZE: _plain(preprocess.size)}, preprocess.size, preprocess)
        if sized is not None:
            note = f"student.arguments.{SIZE}: {sized.arguments[SIZE]}, since {architecture} is built for one size"
            built, fault = sized._replace(notes=(note,)), ""
    if not fault:
        return built._replace(notes=(*built.notes, *_unseen(built.module, preprocess)))
    _refuse_size(network, architecture, arguments, preprocess, fault)
    return built


def check_answers(network: object, preprocess: Preprocess, name: str, num_classes: int) -> None:
    """Refuse a student that evaluation would refuse, before it is trained.

    Args:
        network: whatever the architecture made.
        preprocess: its input convention.
        name: of the architecture.
        num_classes: K.

    Raises:
        XkdError: it is no nn.Module in float32 that gives finite logits (B, K) of each image by itself.
    """
    expected = f"expected an nn.Module in float32 that gives logits (B, {num_classes})"
    if not isinstance(network, nn.Module):
        raise XkdError(f"student: {name} made {short(network)}; {expected}")
    try:
        with reading(f"student: {name} cannot be evaluated", expected):
            if not is_float32(network):
                raise XkdError(f"student: {name} has weights of another precision; {expected}")
            classifier = Classifier(network, preprocess, name=name, num_classes=num_classes).private()
            check_alone(classifier)
            logits = classifier(random_images(preprocess, seed=0))
            if logits.shape[1] != num_classes or not logits.is_floating_point():
                raise XkdError(f"student: {name} gives {described_values(logits)}; {expected}")
            check_finite(logits, name, "noise")
            check_no_softmax(logits, f"student: {name}")
    except XkdError as error:
        if (channels := _colours(network)) not in (None, 3):
            raise XkdError(
                f"student: {name} takes images of {channels} channels; expected 3, RGB: let it begin with "
                "what it makes of them, such as images.mean(1, keepdim=True)"
            ) from None
        raise XkdError(renamed(str(error), {"model": "student"})) from None


def check_token(network: nn.Module, name: str, needs: frozenset[Requirement]) -> None:
    """Refuse a student without the distillation token that a method needs.

    Args:
        network: of the student.
        name: of its architecture.
        needs: of the methods.

    Raises:
        XkdError: it has none; or it would have to explain itself by two answers at once.
    """
    if "distillation token" not in needs:
        return
    if not callable(getattr(network, "set_distilled_training", None)):
        raise XkdError(
            f"student: {name} has no distillation token, which a method needs: no `set_distilled_training`, as timm's "
            "have; give student.architecture=timm/deit_tiny_distilled_patch16_224, or leave that loss out"
        )
    if not needs.isdisjoint(("explanations", "input gradients")):
        raise XkdError(
            "student: a method differentiates its logits, and another one needs those of its distillation token apart; "
            "leave one of the two out"
        )


def check_no_softmax(logits: Tensor, who: str) -> None:
    """Refuse probabilities, of which every loss would make others.

    Args:
        logits: (B, K).
        who: begins the message.

    Raises:
        XkdError: each row sums to 1, and is nowhere negative.
    """
    if logits.shape[1] > 1 and bool((logits >= 0).all()) and torch.allclose(logits.sum(1), torch.ones(len(logits))):
        raise XkdError(f"{who} gives probabilities, which sum to 1; expected logits: leave out its softmax")


def pooled_otherwise(architecture: str, arguments: Mapping[str, Any], preprocess: Preprocess) -> str:
    """What to say of a network without a CAM: that it has one if it averages its tokens, where that is so."""
    if not takes_size(architecture) or arguments.get("global_pool") == "avg":
        return ""
    try:
        find_cam_head(build_architecture(architecture, {**arguments, "global_pool": "avg"}, _WHAT), preprocess)
    except (XkdError, CamHeadError):
        return ""
    return "; with student.arguments.global_pool=avg it has one"


def _colours(network: nn.Module) -> int | None:
    """The channels that the first convolution takes, as a rule those of the images."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    return None if first is None else first.in_channels


def _refuse_size(
    network: Any, architecture: str, arguments: Mapping[str, Any], preprocess: Preprocess, fault: str
) -> None:
    """Raise XkdError if the network takes images of another size: then it is the size that is at fault."""
    height, width = preprocess.size
    given = f" built with {SIZE}={arguments[SIZE]}" if SIZE in arguments else ""
    for size in _other_sizes(network, preprocess.size, arguments.get(SIZE)):
        sized = arguments if SIZE in arguments else {**arguments, SIZE: _plain(size)}
        if any(_built(architecture, made, size, preprocess) for made in (arguments, sized)):
            raise XkdError(
                f"student: {architecture}{given} takes no images of {height}x{width} ({fault}), and takes those of "
                f"{size[0]}x{size[1]}; give student.preprocess.size={list(size)}"
                + (f", or leave student.arguments.{SIZE} out" if given else "")
            )


def _other_sizes(network: Any, size: tuple[int, int], given: Any) -> Iterator[tuple[int, int]]:
    """Sizes that the network may take, nearest to the recipe's first."""
    if given is not None:
        sides = given if isinstance(given, list | tuple) else [given]
        yield int(sides[0]), int(sides[-1])
        return
    yield tuple(_STEP * math.ceil(side / _STEP) for side in size)  # type: ignore[misc]
    shape = (getattr(network, "pretrained_cfg", None) or {}).get("input_size")
    if shape is not None:
        yield tuple(shape[1:])


def _built(
    architecture: str, arguments: Mapping[str, Any], size: tuple[int, int], preprocess: Preprocess
) -> BuiltNetwork | None:
    """A network built anew, if it can be built and takes images of the size."""
    try:
        network = build_architecture(architecture, arguments, _WHAT)
    except XkdError:
        return None
    if _why_not(network, replace(preprocess, size=size)):
        return None
    return BuiltNetwork(network, dict(arguments))


def _why_not(network: nn.Module, preprocess: Preprocess) -> str:
    """Why a network takes no images of a size; "" where it does."""
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(random_images(preprocess, seed=0))
    except Exception as error:  # a library's own, of any kind
        return reason(error)
    finally:
        network.train(was_training)
    return ""


def _unseen(network: nn.Module, preprocess: Preprocess) -> Iterator[str]:
    """What patches that do not divide the image leave out of it."""
    from timm.layers import PatchEmbed

    embedding = getattr(network, "patch_embed", None)
    if not isinstance(embedding, PatchEmbed) or embedding.dynamic_img_pad:
        return
    rest = [side % patch for side, patch in zip(preprocess.size, embedding.patch_size, strict=True)]
    if any(rest):
        whole = [side + (-side) % patch for side, patch in zip(preprocess.size, embedding.patch_size, strict=True)]
        yield (
            f"student.preprocess.size: of {preprocess.size[0]}x{preprocess.size[1]} pixels patches of "
            f"{embedding.patch_size[0]}x{embedding.patch_size[1]} leave the last {rest[0]} rows and {rest[1]} columns "
            f"unseen; {whole}, or a student.arguments.patch_size that divides it, shows them whole"
        )


def _plain(size: tuple[int, int]) -> int | list[int]:
    return size[0] if size[0] == size[1] else list(size)
