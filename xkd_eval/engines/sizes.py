"""Whether a network takes images of another size than its own, as grids of photographs are."""

from __future__ import annotations

from dataclasses import replace

import torch

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.classifiers.proof.trace import trace, working_copy
from xkd_eval.engines.folding import logits_and_features
from xkd_eval.errors import XkdError

_SEED = 5
# What a layer that fits one size alone raises.
_REFUSALS = (RuntimeError, ValueError, TypeError, AssertionError, IndexError, AttributeError, XkdError)


def grid_input(classifier: Classifier, preprocess: Preprocess, side: int) -> Preprocess:
    """The input convention under which a network is given grids of `side` x `side` photographs.

    Args:
        classifier: the network; what is found is kept with it.
        preprocess: under which it is given one photograph.
        side: photographs an edge.

    Returns:
        At `side` times the size, where the network takes it and its CAM head still holds; else `preprocess`, for grids
        that are scaled down.

    Raises:
        XkdError: a token model that does not interpolate its position embeddings; it would be asked about photographs
            of a fraction of their size in tokens of the same.
    """
    height, width = preprocess.size
    larger = replace(preprocess, size=(side * height, side * width))
    key = f"takes grids: {side} {preprocess.to_dict()}"
    if key not in classifier.known:
        classifier.known[key] = _takes(classifier, larger)
    if classifier.known[key]:
        return larger
    copy = working_copy(classifier.model)
    with plain_torch():
        is_token_model = trace(copy, random_images(preprocess, _SEED)).is_token_model
    if is_token_model:
        raise XkdError(
            f"model: {classifier.name} is a token model for {height}x{width} alone, and a grid has "
            f"{side * height}x{side * width}; make it so that it interpolates its position embeddings (timm: "
            "dynamic_img_size=True), or leave it out"
        )
    return preprocess


@torch.no_grad()
def _takes(classifier: Classifier, preprocess: Preprocess) -> bool:
    """Whether random images of that size are classified, and their CAMs re-derive the logits."""
    private = classifier.private()
    parameter = next(private.parameters(), torch.empty(0))
    images = random_images(preprocess, _SEED).to(parameter.device)
    try:
        logits, *features = logits_and_features(private, images)
    except _REFUSALS:
        return False
    if not features:
        return True
    assert private.head is not None
    bias = private.head_bias  # in both: left in, a large one would hide an error of the maps
    derived = private.cams(features[0]).mean((2, 3))
    return bool((derived - (logits - bias)).abs().max() <= private.head.tolerance * (logits - bias).abs().max())
