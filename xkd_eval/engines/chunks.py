"""How many images a forward takes: by the network and its input alone, so that rows are equal everywhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.hooks import ForwardHooks, takes_hooks
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.devices import free_memory

_SEED = 9
# The largest activation of a network that cannot be looked into: an input's area, that often.
_UNSEEN_CHANNELS = 16
# What a forward takes beside its largest activation: that one's input, a convolution's workspace, what is split up.
_HELD_AT_ONCE = 6


class _Rule(NamedTuple):
    """Images a forward on a kind of device: how many photographs, and how many images at the most.

    Between them a power of two, by what the largest activation of a chunk may take.
    """

    least: int
    most: int
    activation_bytes: int


# Where an activation takes more than the caches hold, more images make a CPU no faster; of 32 px images a chunk of 8
# takes so little that starting the layers costs more than computing them.
_ON_CPU = _Rule(8, 64, 1 << 24)
# An accelerator computes thousands of images in the time in which its operations are started.
_ON_ACCELERATOR = _Rule(64, 256, 1 << 30)


def clean_chunk(device: torch.device, side: int = 1) -> int:
    """Photographs a forward of the clean pass, and of an explainer: 8 on a CPU, 64 on an accelerator.

    Few, since a batch of photographs has few, and a chunk that they do not fill is padded.

    Args:
        device: that forwards.
        side: photographs along the edge of an image; of grids as many as hold so many photographs, or one.
    """
    return max(1, _rule(device).least // side**2)


def chunk_size(classifier: Classifier, preprocess: Preprocess, device: torch.device, side: int = 1) -> int:
    """Images a forward of those that a test makes.

    A power of two, on a CPU from 8 to 64 (of grids from one on), by the bytes of the network's largest activation: 8 of
    ResNet-18 at 224 px, and 64 of ResNet-20 at 32 px. On an accelerator from 64 to 256: 256 of both.

    Args:
        classifier: left as it is; what is found is kept with it.
        preprocess: under which it is evaluated.
        device: that forwards.
        side: photographs along the edge of an image, see `clean_chunk`.
    """
    rule = _rule(device)
    fitting = max(1, rule.activation_bytes // _largest_activation(classifier, preprocess))
    return max(clean_chunk(device, side), min(rule.most, 1 << (fitting.bit_length() - 1)))


def within_memory(chunk: int, classifier: Classifier, preprocess: Preprocess, device: torch.device) -> int:
    """A chunk, halved as often as an accelerator's free memory asks for; at least one image.

    Args:
        chunk: images a forward; on a CPU, and where the device does not say what is free, it stays so.
        classifier: left as it is.
        preprocess: under which it is evaluated.
        device: that forwards.
    """
    free = 0 if device.type == "cpu" else free_memory(device)
    while free and chunk > 1 and chunk * _HELD_AT_ONCE * _largest_activation(classifier, preprocess) > free:
        chunk //= 2
    return chunk


def _rule(device: torch.device) -> _Rule:
    return _ON_CPU if device.type == "cpu" else _ON_ACCELERATOR


def _largest_activation(classifier: Classifier, preprocess: Preprocess) -> int:
    """Bytes for one image in float32, found once: see `_measured`."""
    key = f"largest activation: {preprocess.to_dict()}"
    if key not in classifier.known:
        classifier.known[key] = _measured(classifier, preprocess)
    found: int = classifier.known[key]
    return found


def _measured(classifier: Classifier, preprocess: Preprocess) -> int:
    """The bytes of what the module with the largest output puts out for one image, in float32."""
    if isinstance(classifier.model, GraphNetwork):
        return _unseen(preprocess)
    private = classifier.private()
    image = random_images(preprocess, _SEED, 1).to(private.device)
    seen = {path: module for path, module in private.model.named_modules() if takes_hooks(module)}
    unseen = any(not takes_hooks(module) for module in private.model.modules())
    sizes = [_unseen(preprocess) if unseen else 4 * image.numel()]

    def note(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(4 * output.numel())

    with plain_torch(), torch.no_grad(), ForwardHooks(seen, note):
        private(image)
    return max(sizes)


def _unseen(preprocess: Preprocess) -> int:
    height, width = preprocess.size
    return 4 * _UNSEEN_CHANNELS * height * width
