"""How many images a forward takes: by the network and its input alone, so that rows are equal everywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.hooks import ForwardHooks, takes_hooks
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.probes import random_images

_SEED = 9
_LEAST, _MOST = 8, 64
# What the largest activation of a chunk may take. Where it takes more than the caches hold, more images make a CPU no
# faster; of 32 px images a chunk of 8 takes so little that starting the layers costs more than computing them.
_ACTIVATION_BYTES = 1 << 24
# The largest activation of a network that cannot be looked into: an input's area, that often.
_UNSEEN_CHANNELS = 16


def clean_chunk(device: torch.device, side: int = 1) -> int:
    """Photographs a forward of the clean pass, and of an explainer: 8 on a CPU, 64 on an accelerator.

    Few, since a batch of photographs has few, and a chunk that they do not fill is padded.

    Args:
        device: that forwards.
        side: photographs along the edge of an image; of grids as many as hold so many photographs, or one.
    """
    return max(1, (_LEAST if device.type == "cpu" else _MOST) // side**2)


def chunk_size(classifier: Classifier, preprocess: Preprocess, device: torch.device, side: int = 1) -> int:
    """Images a forward of those that a test makes.

    On a CPU a power of two from 8 to 64 (of grids from one on), by the bytes of the network's largest activation: 8 of
    ResNet-18 at 224 px, and 64 of ResNet-20 at 32 px. An accelerator needs more images to be busy, and takes 64.

    Args:
        classifier: left as it is; what is found is kept with it.
        preprocess: under which it is evaluated.
        device: that forwards.
        side: photographs along the edge of an image, see `clean_chunk`.
    """
    least = clean_chunk(device, side)
    if device.type != "cpu":
        return least
    key = f"largest activation: {preprocess.to_dict()}"
    if key not in classifier.known:
        classifier.known[key] = _largest_activation(classifier, preprocess)
    fitting = max(1, _ACTIVATION_BYTES // classifier.known[key])
    return max(least, min(_MOST, 1 << (fitting.bit_length() - 1)))


def _largest_activation(classifier: Classifier, preprocess: Preprocess) -> int:
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
