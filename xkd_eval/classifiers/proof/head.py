"""The CAM head: found by trying every map against every head, and believed only when the logits come out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.cosine import Cosine, cosines
from xkd_eval.classifiers.proof.linear import is_quantised, linear_weights
from xkd_eval.classifiers.proof.ordinary import of_ordinary_size, trace_of_ordinary_size
from xkd_eval.classifiers.proof.places import as_map, readings
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.classifiers.proof.refusal import PLACELESS, why_refused
from xkd_eval.classifiers.proof.steps import Step, kind_of, relative_error
from xkd_eval.classifiers.proof.target import is_aligned
from xkd_eval.classifiers.proof.trace import Call, Trace, trace, working_copy
from xkd_eval.errors import CamHeadError

PROOF_TOLERANCE = 1e-4
QUANTISED_TOLERANCE = 0.1
"""Of a network in whole numbers, whose map, pooled vector and logits are each rounded to a step, of which there are 127
up to their largest value. The average of a map is small beside its largest value, and its step the same: a ResNet-18
misses by 2 %, a network of 8 random channels by 8 %. A map of another place misses the logits by their own size."""

_SEARCH_SEED, _PROOF_SEED = 0, 1
_NOISE_SEED, _OTHER_NOISE_SEED = 2, 5
_MOST_STEPS = 4
_MOST_PLACELESS = 4  # tokens whose places were asked in vain: further ones are the same within other modules


@plain_torch()
@torch.no_grad()
def find_cam_head(model: nn.Module, preprocess: Preprocess) -> CamHead:
    """Find where a model's class activation map comes from, and prove it.

    Candidates for the map are the outputs of all submodules with more than one position, latest first, plain and after
    a ReLU: 4-D ones, and tokens. Candidates for the head are the layers that make the logits of its average, through
    norms and linear layers between, or none where the map's channels are the classes. A candidate that fits on random
    images is proven on others: the logits are derived again from the class activation maps by the code that the
    evaluation runs. Both happen on copies whose weights are all of ordinary size, since blocks that hardly count at
    birth would let a wrong candidate pass; a proof has to hold on two such copies and on the network as it is.

    Args:
        model: (B, 3, H, W) -> (B, K) logits; on any device, in any mode. It is left as it was.
        preprocess: its input convention.

    Returns:
        The head, with `map_size` at the size of `preprocess`.

    Raises:
        CamHeadError: the model has no CAM in closed form; the message says why.
        XkdError: the model rejects images of its size, or puts out something else than (B, K) logits.
    """
    exact = working_copy(model)
    images = random_images(preprocess, _SEARCH_SEED)
    trace(exact, images)  # what is no classifier is told before it is copied again
    traced = trace_of_ordinary_size(exact, images, _NOISE_SEED)
    second = of_ordinary_size(exact, images, _OTHER_NOISE_SEED)
    if traced is None or second is None:
        raise CamHeadError("its answers are not finite once its weights move, so that nothing can be proven of it")
    first, found = traced
    tolerance = QUANTISED_TOLERANCE if is_quantised(exact) else PROOF_TOLERANCE
    placeless = 0
    for candidate in _candidates(found, preprocess, tolerance):
        if candidate.layout == "tokens" and not (
            placeless < _MOST_PLACELESS
            and any(
                is_aligned(network, preprocess, candidate.features, candidate.reading) for network in (first, exact)
            )
        ):
            placeless += 1
            continue
        error = max(_proof_error(copy, preprocess, candidate, found.logits.shape[1]) for copy in (first, second, exact))
        if error <= tolerance:
            return replace(_fitted(exact, preprocess, candidate), proof_error=error, tolerance=tolerance)
    raise CamHeadError(PLACELESS if placeless else why_refused(first, preprocess, found, _first_candidate))


@plain_torch()
def find_embedding(model: nn.Module, preprocess: Preprocess) -> str | None:
    """The path of the layer whose input is the embedding: the last of those that make the logits.

    Args:
        model: (B, 3, H, W) -> (B, K) logits; left as it was.
        preprocess: its input convention.

    Returns:
        None where there is no such layer.
    """
    return next(iter(find_last_layers(model, preprocess)), None)


@plain_torch()
def find_last_layers(model: nn.Module, preprocess: Preprocess) -> tuple[str, ...]:
    """The paths of the Linear layers or 1x1 convolutions that make the logits.

    One, or two whose average the logits are, whatever each of them reads. Where a network works on its logits in
    another way (a softmax, a scale), it is the last such layer that puts out as many values as there are logits.

    Args:
        model: (B, 3, H, W) -> (B, K) logits; left as it was.
        preprocess: its input convention.

    Returns:
        Latest first; empty where there is none.
    """
    found = trace(working_copy(model), random_images(preprocess, _SEARCH_SEED))
    if found.heads:
        return (found.heads[0].path,)
    wide = [
        call
        for call in reversed(found.vector_calls)
        if linear_weights(call.module) is not None and call.output.shape == found.logits.shape
    ]
    for first, second in combinations(wide, 2):
        if _is_same((first.output + second.output) / 2, found.logits, PROOF_TOLERANCE):
            return first.path, second.path
    return tuple(call.path for call in wide[:1])


def _candidates(found: Trace, preprocess: Preprocess, tolerance: float = PROOF_TOLERANCE) -> Iterator[CamHead]:
    for path, output in reversed(found.outputs.items()):
        for reading in readings(output, preprocess.size):
            features = as_map(output, reading, preprocess.size)
            for relu in (False, True):
                pooled = (F.relu(features) if relu else features).mean((2, 3))
                size = (features.shape[2], features.shape[3])
                for way in _ways(pooled, found, tolerance):
                    yield CamHead(
                        path,
                        way.linear,
                        reading.layout,
                        relu,
                        way.steps,
                        size,
                        proof_error=torch.inf,
                        prefix=reading.prefix,
                        cosine=way.cosine,
                        averaged=way.averaged,
                    )


class _Way(NamedTuple):
    """From the pooled vector to the logits."""

    steps: tuple[Step, ...]
    linear: str | None
    cosine: Cosine | None = None
    averaged: str | None = None


def _ways(
    vector: Tensor, found: Trace, tolerance: float, start: int = 0, steps: tuple[Step, ...] = ()
) -> Iterator[_Way]:
    """All ways from a vector (B, C) to the logits, over the calls from `start` on."""
    if _is_same(vector, found.logits, tolerance):
        yield _Way(steps, None)
    if len(steps) == _MOST_STEPS:
        return
    for index, call in enumerate(found.vector_calls[start:], start):
        if _is_same(vector, call.input, tolerance):
            if linear_weights(call.module) is not None and _is_same(call.output, found.logits, tolerance):
                yield _Way(steps, call.path)
            elif (kind := kind_of(call.module, call.input, call.output)) is not None:
                yield from _ways(call.output, found, tolerance, index + 1, (*steps, Step(kind, call.path)))
    for norms, first, second in _averages(vector, found.vector_calls[start:], found.logits, tolerance):
        yield _Way((*steps, *norms), first, averaged=second)
    if not any(step.kind == "unit length" for step in steps):
        direction = (*steps, Step("unit length", ""))
        unit = F.normalize(vector)
        for path, matrix in found.matrices.items():
            for cosine in cosines(unit, matrix, found.logits):
                if _is_same(unit @ cosine.weight(matrix).T, found.logits, tolerance):
                    yield _Way(direction, path, cosine)
        if any(_is_same(unit, call.input, tolerance) for call in found.vector_calls[start:]):
            yield from _ways(unit, found, tolerance, start, direction)


def _averages(
    vector: Tensor, calls: Sequence[Call], logits: Tensor, tolerance: float
) -> Iterator[tuple[tuple[Step, ...], str, str]]:
    """Two layers, each of the vector or of what a batch norm of its own makes of it, whose average the logits are."""
    branches = [("", call) for call in calls if _is_same(vector, call.input, tolerance)]
    for own in [call for _, call in branches if kind_of(call.module, call.input, call.output) == "batch norm"]:
        branches += [(own.path, call) for call in calls if _is_same(own.output, call.input, tolerance)]
    heads = [
        (norm, call)
        for norm, call in branches
        if call.output.shape == logits.shape and linear_weights(call.module) is not None
    ]
    for (norm, first), (other, second) in combinations(heads, 2):
        if bool(norm) == bool(other) and _is_same((first.output + second.output) / 2, logits, tolerance):
            yield (Step("batch norm", norm, other),) if norm else (), first.path, second.path


def _first_candidate(found: Trace, preprocess: Preprocess) -> CamHead | None:
    return next(_candidates(found, preprocess), None)


def _proof_error(model: nn.Module, preprocess: Preprocess, head: CamHead, num_classes: int) -> float:
    head = _fitted(model, preprocess, head)
    classifier = Classifier(model, preprocess, name="proof", num_classes=num_classes, head=head).owned()
    logits, features = classifier.forward_with_features(random_images(preprocess, _PROOF_SEED))
    derived = classifier.cams(features).mean((2, 3)) + classifier.head_bias
    # The bias is in both: left in, a large one would hide an error of the maps.
    return relative_error(derived - classifier.head_bias, logits - classifier.head_bias)


def _fitted(model: nn.Module, preprocess: Preprocess, head: CamHead) -> CamHead:
    """The head with the scale that a network of these very weights multiplies its cosines by."""
    if head.cosine is None or head.linear is None:
        return head
    unscaled = replace(head, cosine=head.cosine._replace(scale=1.0))
    classifier = Classifier(model, preprocess, name="proof", num_classes=1, head=unscaled).owned()
    logits, features = classifier.forward_with_features(random_images(preprocess, _SEARCH_SEED))
    products = classifier.cams(features).mean((2, 3))
    scale = float((products * logits).sum() / products.square().sum())
    return replace(head, cosine=head.cosine._replace(scale=scale))


def _is_same(got: Tensor, expected: Tensor, tolerance: float) -> bool:
    return got.shape == expected.shape and relative_error(got, expected) <= tolerance
