"""The CAM head of a graph: what the head reads is matched with the mean of a map, and the logits are re-derived."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.classifier import CamHead
from xkd_eval.classifiers.graphs.affine import AffineHead, read_heads
from xkd_eval.classifiers.graphs.network import NORM, GraphNetwork
from xkd_eval.classifiers.graphs.proof import HALF, proof_images, prove, rounded
from xkd_eval.classifiers.graphs.refusal import last_map, why_refused
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.head import PROOF_TOLERANCE
from xkd_eval.classifiers.proof.places import Reading, as_map, readings
from xkd_eval.classifiers.proof.target import is_aligned
from xkd_eval.errors import CamHeadError, XkdError
from xkd_eval.foreign import reading

# How far back the map may lie, in operations, and how many of those are looked at in one forward.
_FURTHEST, _AT_ONCE = 64, 8

# A tolerance beyond this fraction of the largest logit is none: wrong maps would come within it.
_COARSEST = 0.25


@plain_torch()
@torch.no_grad()
@np.errstate(all="ignore")  # damaged scales overflow, and what is not finite does not hold
def find_graph_head(network: GraphNetwork, preprocess: Preprocess) -> CamHead:
    """Find where a graph's class activation map comes from, and prove it.

    The head's numbers are read on the way back from the logits. Whatever tensor on the way from the images has the
    vector that the head reads as its mean over the places is a candidate for the map, the last one first; of tokens the
    places have to answer to those of the image. One is believed when the logits of three batches of random images are
    re-derived from its class activation maps, as precisely as the graph's numbers are kept.

    Args:
        network: shows the map afterwards; where there is no CAM, the last spatial map, if there is any.
        preprocess: its input convention.

    Returns:
        The head, whose `tolerance` is what the graph's rounding may make of `proof_error`.

    Raises:
        CamHeadError: the graph has no CAM in closed form; the message says why.
        XkdError: the graph rejects images of its size, or puts out something else than (B, K) finite logits.
    """
    images = proof_images(preprocess)[0]
    logits = network(images)
    if not logits.isfinite().all():
        raise XkdError(f"{network.graph.where} gives logits that are not finite on noise; check its weights")
    found, last, coarse = None, None, ""
    with _where_it_can():
        for found in read_heads(network.graph):
            head = _proven(network, found, preprocess)
            if head is not None and head.tolerance <= _COARSEST:
                network.is_proven = True
                return head
            if head is not None:
                coarse = (
                    f"rounding alone may move its logits by {head.tolerance:.0%} of the largest: that proves no map"
                )
    network.take_head(None)
    refusal = "its insides cannot be looked at"
    with _where_it_can():
        last = last_map(network, images)
        refusal = why_refused(network, found, last, images, coarse)
    network.hide_map()
    with _where_it_can():
        if last is not None:
            network.show_map(last.name, last.reading)
    raise CamHeadError(refusal)


@contextmanager
def _where_it_can() -> Iterator[None]:
    """Leave off where the graph, which runs, is none whose insides can be looked at."""
    with suppress(XkdError), reading("model: its insides cannot be read", "use occlusion"):
        yield


class _Candidate(NamedTuple):
    """A tensor whose mean over the places is what the head reads."""

    name: str
    reading: Reading
    size: tuple[int, int]
    is_half: bool


def _proven(network: GraphNetwork, found: AffineHead, preprocess: Preprocess) -> CamHead | None:
    images = proof_images(preprocess)[0].numpy()
    for name, kind, size, is_half in _candidates(network, found, images):
        network.show_map(name, kind)
        if kind.layout == "tokens" and not is_aligned(network, preprocess, "features", Reading("NCHW")):
            continue
        network.take_head(found)
        linear = None if found.weight is None else "head"
        steps = () if found.norm is None else (NORM,)
        head = CamHead("features", linear, "NCHW", relu=False, steps=steps, map_size=size, proof_error=np.inf)
        proof = prove(network, found, head, preprocess, is_half=is_half)
        if proof.holds:
            return CamHead(**{**vars(head), "proof_error": proof.error, "tolerance": proof.tolerance})
    return None


def _candidates(network: GraphNetwork, found: AffineHead, images: np.ndarray) -> Iterator[_Candidate]:
    """The last one first."""
    graph, size = network.graph, (images.shape[2], images.shape[3])
    before = found.before_product if found.norm is None else found.before_norm
    before_it = (name for operation in graph.ancestors(found.vector) for name in operation.outputs if name)
    names = list(islice(before_it, _FURTHEST))
    for some in (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)):
        read, *arrays = graph.session([found.vector, *some])(images)
        vector = read.reshape(len(read), -1).astype(np.float32)
        for name, array in zip(some, arrays, strict=True):
            if len(array) != len(images) or array.dtype.kind != "f":
                continue
            values = torch.from_numpy(array.astype(np.float32))
            for kind in _readings(values, size):
                features = as_map(values, kind, size)
                if features.shape[2:].numel() > 1 and features.shape[1] == vector.shape[1]:
                    pooled = features.mean((2, 3)).numpy()
                    moved, cut = rounded(graph, before, pooled)
                    is_half = np.float16 in (array.dtype, read.dtype)
                    allowed = moved + cut + (HALF if is_half else PROOF_TOLERANCE) * np.abs(vector).max()
                    if (np.abs(pooled - vector) <= allowed).all():
                        yield _Candidate(name, kind, (features.shape[2], features.shape[3]), is_half)


def _readings(values: torch.Tensor, size: tuple[int, int]) -> Iterator[Reading]:
    if values.ndim == 4:
        yield from (Reading("NCHW"), Reading("NHWC"))
    elif values.ndim == 3:
        yield from readings(values, size)
