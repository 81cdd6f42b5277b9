"""Why a model has no class activation map in closed form, tested on its activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import CamHead
from xkd_eval.classifiers.hooks import takes_hooks
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.places import Reading, as_map, readings
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.classifiers.proof.trace import Trace, trace
from xkd_eval.errors import XkdError

# A map of this many places or fewer may have become a single one by the next stride.
_SMALL_MAP = 16

# A map coarser than that is a hidden layer with a large kernel (VGG's first, written as a 7x7 convolution).
_LARGEST_STRIDE = 64


_TOKENS, _NO_PLACES = "a token model: its head reads", "the average of tokens that are no places of the image"
PLACELESS = f"{_TOKENS} {_NO_PLACES}"
"""Why there is no map where all that is missing is an answer of its places to those of the image."""

FirstCandidate = Callable[[Trace, Preprocess], CamHead | None]
"""Finds a CAM head in a trace."""


def why_refused(model: nn.Module, preprocess: Preprocess, found: Trace, first_candidate: FirstCandidate) -> str:
    """One line.

    Args:
        model: the copy that was traced.
        preprocess: its input convention.
        found: the trace without a CAM head.
        first_candidate: asked again at larger sizes, where a 1x1 map is suspected.
    """
    if found.is_token_model:
        return f"{_TOKENS} {_token_reason(found)}"
    if not found.feature_maps:
        scripted = any(not takes_hooks(module) for module in model.modules())
        return "TorchScript lets nobody see its layers" if scripted else "no layer puts out a spatial map"
    return (
        _pooling_reason(found)
        or _single_place_reason(model, preprocess, found, first_candidate)
        or _hidden_layer_reason(found)
        or _head_reason(found)
        or "the head does not read the average of the last map"
    )


def _token_reason(found: Trace) -> str:
    for tokens in (output for output in reversed(found.outputs.values()) if output.ndim == 3):
        for head in found.heads:
            if _same(head.input, tokens[:, 0]):
                return "the class token, not the average of a map"
            if any(_same(head.input, average) for average in (tokens.mean(1), tokens[:, 1:].mean(1))):
                return _NO_PLACES
    return "tokens, not a spatial map"


def _pooling_reason(found: Trace) -> str | None:
    """Max pooling, and mixtures of it with the average, told by what the head (or the norm before it) is fed with."""
    norms = [call for call in found.vector_calls if "norm" in type(call.module).__name__.lower()]
    read = [found.logits, *(call.input for call in (*found.heads, *norms))]
    for features in _all_maps(found):
        average, largest = features.mean((2, 3)), features.amax((2, 3))
        pooled = {
            "it pools the maximum, not the average, of its last map": [largest],
            "it pools a mixture of average and maximum": [
                (average + largest) / 2,
                average + largest,
                torch.cat((average, largest), 1),
                torch.cat((largest, average), 1),
            ],
            "its head reads the map flattened, with weights of its own for every position": [features.flatten(1)],
        }
        for reason, vectors in pooled.items():
            if any(_same(vector, given) for vector in vectors for given in read):
                return reason
    return None


def _single_place_reason(
    model: nn.Module, preprocess: Preprocess, found: Trace, first_candidate: FirstCandidate
) -> str | None:
    """A 1x1 map, told by the head that is found at a larger size."""
    last = next(reversed(found.feature_maps.values()))
    if any(
        as_map(last, reading, preprocess.size).shape[2:].numel() > _SMALL_MAP
        for reading in readings(last, preprocess.size)
    ):
        return None
    height, width = preprocess.size
    for factor in (2, 4):
        larger = replace(preprocess, size=(factor * height, factor * width))
        try:
            retraced = trace(model, random_images(larger, seed=0))
        except XkdError:
            return None
        head = first_candidate(retraced, larger)
        if head is not None and head.map_size[0] * _LARGEST_STRIDE >= larger.size[0]:
            return (
                f"its last map has a single position at {height}x{width} (1x1), which says nothing about where; "
                f"it has more at `size` {factor * height}"
            )
    return None


def _hidden_layer_reason(found: Trace) -> str | None:
    heads = {head.path for head in found.heads}
    hidden = [path for path in found.after_map if path not in heads]
    if not hidden or not heads:
        return None
    shown = ", ".join(hidden[:3]) + (f" and {len(hidden) - 3} more" if len(hidden) > 3 else "")
    return f"hidden layers lie between its last map and its head ({shown}), so that no map of the head's inputs exists"


def _head_reason(found: Trace) -> str | None:
    if found.heads:
        return None
    return "no Linear layer and no 1x1 convolution puts out its logits"


def _all_maps(found: Trace) -> Iterator[Tensor]:
    for output in reversed(found.feature_maps.values()):
        for layout in ("NCHW", "NHWC"):
            features = as_map(output, Reading(layout), (1, 1))
            yield features
            yield F.relu(features)


def _same(got: Tensor, expected: Tensor) -> bool:
    return got.shape == expected.shape and torch.allclose(got, expected, rtol=1e-4, atol=1e-6)
