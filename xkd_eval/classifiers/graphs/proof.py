"""Whether a graph's logits follow from its class activation maps: in floats to rounding, in integers to their steps."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.graphs.affine import AffineHead
from xkd_eval.classifiers.graphs.graph import Graph, Operation
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.graphs.quantised import Rounding, rounding
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.head import PROOF_TOLERANCE
from xkd_eval.classifiers.proof.probes import random_images

_IMAGES = 3
_SEED = 1
# Fainter images, where stronger ones leave the ranges that integers were chosen for. Of a thousand channels one may be
# cut in any image: where there are no others, what that may cost is allowed, up to a fraction of the largest logit.
_CONTRASTS = (1.0, 0.5, 0.25, 0.12, 0.06, 0.03)
_MOST_CUT = (0.0, 0.05)
HALF = 2.0**-10
"""What float16 leaves of a number undecided."""

# A logit sums the roundings of hundreds of channels, each anywhere within half a step: a sum beyond so many standard
# deviations is no rounding. The worst of all signs, ten times as far, would let wrong maps pass.
_DEVIATIONS = 6


class Proof(NamedTuple):
    """What a candidate came to.

    Attributes:
        error: the largest difference between a logit and the one re-derived, relative to the largest logit.
        tolerance: what rounding alone may make of it, in the same unit.
        holds: no difference is larger than rounding may make that one.
    """

    error: float
    tolerance: float
    holds: bool


def proof_images(preprocess: Preprocess, contrast: float = 1.0) -> list[Tensor]:
    """Three batches (3, C, H, W) normalised of different statistics: noise on blobs, noise alone, blobs alone.

    Args:
        preprocess: the input convention.
        contrast: about grey.
    """
    if not preprocess.takes_photographs:
        return [contrast * random_images(preprocess, seed, _IMAGES) for seed in (_SEED, _SEED + 1, _SEED + 2)]
    generator = torch.Generator().manual_seed(_SEED)
    noise = torch.rand(_IMAGES, 3, *preprocess.size, generator=generator)
    blobs = torch.rand(_IMAGES, 3, 3, 3, generator=generator)
    blobs = nn.functional.interpolate(blobs, preprocess.size, mode="bicubic")
    mixed = preprocess.denormalise(random_images(preprocess, _SEED, _IMAGES))
    return [preprocess.normalise(0.5 + contrast * (batch.clamp(0, 1) - 0.5)) for batch in (mixed, noise, blobs)]


def prove(
    network: GraphNetwork, found: AffineHead, head: CamHead, preprocess: Preprocess, *, is_half: bool = False
) -> Proof:
    """Re-derive the logits of random images from the class activation maps, by the code that the evaluation runs.

    Args:
        network: which shows the map and has taken the head.
        found: the head as it was read.
        head: the same as the classifier is told of it.
        preprocess: the input convention.
        is_half: the graph keeps its map or its vector as float16.

    Returns:
        What three batches came to. Of a graph that rounds to integers, images that leave their ranges are passed over
        for fainter ones; where none is left it does not hold.
    """
    unsure = HALF if is_half else 0.0
    parts = [_evidence(network, found, head, preprocess, kind, unsure) for kind in range(3)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return Proof(np.inf, 0.0, False)
    difference, allowed, expected = (np.concatenate(arrays) for arrays in zip(*known, strict=True))
    scale = max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
    allowed = allowed + PROOF_TOLERANCE * scale
    return Proof(float(difference.max()) / scale, float(allowed.max()) / scale, bool((difference <= allowed).all()))


def _evidence(
    network: GraphNetwork, found: AffineHead, head: CamHead, preprocess: Preprocess, kind: int, unsure: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Of the images of one kind (n, K) each: differences, what rounding may make of them, the logits without the bias.

    The bias is in both: left in, a large one would hide an error of the maps.
    """
    for most_cut, contrast in product(_MOST_CUT, _CONTRASTS):
        logits, features = network.logits_and_map(proof_images(preprocess, contrast)[kind])
        assert features is not None
        classifier = Classifier(network, preprocess, name="proof", num_classes=logits.shape[1], head=head)
        bias = classifier.head_bias.numpy()
        derived = classifier.cams(classifier.cam_features(features)).mean((2, 3)).numpy()
        expected = logits.numpy() - bias
        pooled = features.mean((2, 3)).numpy()
        allowed, cut = _allowed(network.graph, found, pooled, derived + bias, unsure)
        within = cut <= most_cut * np.abs(derived).max()
        if within.any():
            return np.abs(derived - expected)[within], allowed[within], expected[within]
    return None


def _allowed(
    graph: Graph, found: AffineHead, pooled: np.ndarray, logits: np.ndarray, unsure: float
) -> tuple[np.ndarray, np.ndarray]:
    """(B, K) by how much each logit may be moved; (B,) by how much of it ranges may cut the image's logits.

    Args:
        graph: that rounds.
        found: its head.
        pooled: (B, C), unrounded.
        logits: (B, K) of it.
        unsure: the fraction of a number that its type leaves undecided.
    """
    before = found.before_product if found.norm is None else found.before_norm
    moved, cut = rounded(graph, before, pooled)
    moved = moved + unsure * np.abs(pooled)
    beyond = np.zeros(len(pooled), bool)
    if found.norm is not None:
        beyond = np.asarray(cut.any(1))
        deviation = np.sqrt(pooled.var(1, keepdims=True) + found.norm.eps)
        normal = (pooled - pooled.mean(1, keepdims=True)) / deviation
        also, cut = rounded(graph, found.before_product, normal * found.norm.weight + found.norm.bias)
        moved = np.hypot(np.abs(found.norm.weight) / deviation * moved, also)
    weight = np.eye(pooled.shape[1], dtype=np.float32) if found.weight is None else found.weight
    lost = cut @ np.abs(weight).T
    through = lost + (moved if found.weight is None else _DEVIATIONS * np.sqrt(moved**2 / 3 @ weight.T**2))
    for operation, factor in found.after:
        rounds = rounding(graph, operation, logits)
        if rounds is not None:
            through = through + np.abs(factor) * rounds.half
            if np.array_equal(factor, np.ones(1)):
                beyond = np.logical_or(beyond, _beyond(logits, rounds).any(1))
    return through + unsure * np.abs(logits), np.where(beyond, np.inf, lost.max(1))


def rounded(graph: Graph, operations: Iterable[Operation], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What operations do to (B, C) values: by how much they round each at most, and by how much they cut it.

    Returns:
        (B, C) each; nothing is cut of what is within the operation's range.
    """
    moved, cut = np.zeros_like(values), np.zeros_like(values)
    for operation in operations:
        rounds = rounding(graph, operation, values)
        if rounds is not None:
            moved, cut = moved + rounds.half, np.maximum(cut, _beyond(values, rounds))
    return moved, cut


def _beyond(values: np.ndarray, rounds: Rounding) -> np.ndarray:
    """How far values lie outside of the range, where that is more than rounding."""
    distance = np.maximum(values - rounds.high, rounds.low - values)
    return np.where(distance > rounds.half, distance, 0).astype(values.dtype)
