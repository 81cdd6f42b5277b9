"""The CAM head: found by trying every map against every head, and believed only when the logits come out again."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.classifier import CamHead, Classifier, frozen_layer_norm
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.refusal import why_refused
from xkd_eval.classifiers.trace import Layout, Trace, as_nchw, map_layout, norms, random_images, trace, working_copy
from xkd_eval.errors import CamHeadError

PROOF_TOLERANCE = 1e-4

_SEARCH_SEED, _PROOF_SEED, _NOISE_SEED = 0, 1, 2


@plain_torch()
@torch.no_grad()
def find_cam_head(model: nn.Module, preprocess: Preprocess) -> CamHead:
    """Find where a model's class activation map comes from, and prove it.

    Candidates for the map are the 4-D outputs of all submodules with more than one position, latest first, plain and
    after a ReLU; candidates for the head are the Linear layer or 1x1 convolution that puts out the logits, with or
    without a LayerNorm before it, or none where the map's channels are the classes. A candidate that fits on two random
    images is proven on two others: the logits are derived again from the class activation maps by the code that the
    evaluation runs. Both happen on a copy whose norms are perturbed, since a freshly made norm is close to the identity
    and would let a wrong candidate pass.

    Args:
        model: (B, 3, H, W) -> (B, K) logits; on any device, in any mode. It is left as it was.
        preprocess: its input convention.

    Returns:
        The head, with `map_size` at the size of `preprocess`.

    Raises:
        CamHeadError: the model has no CAM in closed form; the message says why, and what to use instead.
        XkdError: the model rejects images of its size, or puts out something else than (B, K) logits.
    """
    perturbed = working_copy(model)
    _perturb_norms(perturbed)
    found = trace(perturbed, random_images(preprocess, _SEARCH_SEED))
    for candidate in _candidates(found):
        error = _proof_error(perturbed, preprocess, candidate, found.logits.shape[1])
        if error <= PROOF_TOLERANCE:
            return CamHead(**{**vars(candidate), "proof_error": error})
    raise CamHeadError(why_refused(perturbed, preprocess, found, _first_candidate))


@plain_torch()
def find_embedding(model: nn.Module, preprocess: Preprocess) -> str | None:
    """The path of the layer whose input is the embedding: the Linear or 1x1 convolution that makes the logits.

    Where a network works on its logits further (a softmax, a scale, an average of two heads), it is the last such layer
    that puts out as many values as there are logits.

    Args:
        model: (B, 3, H, W) -> (B, K) logits; left as it was.
        preprocess: its input convention.

    Returns:
        None where there is no such layer.
    """
    found = trace(working_copy(model), random_images(preprocess, _SEARCH_SEED))
    wide = [
        call
        for call in reversed(found.vector_layers)
        if not isinstance(call.module, nn.LayerNorm) and call.output.shape == found.logits.shape
    ]
    return next((call.path for call in [*found.heads, *wide]), None)


@plain_torch()
def last_spatial_layer(model: nn.Module, preprocess: Preprocess) -> tuple[str, Layout] | None:
    """The module whose output is the last map with more than one position, and that output's layout.

    For explainers that weigh a map by gradients: they hold where no CAM head was found.

    Returns:
        (path, layout), or None for a token model (ViT), or one without any map.
    """
    found = trace(working_copy(model), random_images(preprocess, _SEARCH_SEED))
    if found.is_token_model or not found.feature_maps:
        return None
    path, output = next(reversed(found.feature_maps.items()))
    return path, map_layout(output, preprocess.size)


def _candidates(found: Trace) -> Iterator[CamHead]:
    for path, output in reversed(found.feature_maps.items()):
        for layout in ("NCHW", "NHWC"):
            features = as_nchw(output, layout)
            if features.shape[2:].numel() == 1:
                continue
            for relu in (False, True):
                activated = F.relu(features) if relu else features
                for linear, norm in _heads_for(activated, found):
                    yield CamHead(
                        path, linear, layout, relu, norm, (features.shape[2], features.shape[3]), proof_error=torch.inf
                    )


def _heads_for(features: Tensor, found: Trace) -> Iterator[tuple[str | None, str | None]]:
    """(linear, norm) that make the logits of the average of `features`."""
    channels = features.shape[1]
    if channels == found.logits.shape[1] and _relative_error(features.mean((2, 3)), found.logits) <= PROOF_TOLERANCE:
        yield None, None
    for head in found.heads:
        if head.input.shape[1] != channels:
            continue
        for norm in (None, *(norm for norm in found.norms if norm.input.shape[1] == channels)):
            pooled = (frozen_layer_norm(features, norm.module) if norm else features).mean((2, 3))
            if _relative_error(pooled, head.input) <= PROOF_TOLERANCE:
                yield head.path, norm.path if norm else None


def _first_candidate(found: Trace) -> CamHead | None:
    return next(_candidates(found), None)


def _proof_error(model: nn.Module, preprocess: Preprocess, head: CamHead, num_classes: int) -> float:
    classifier = Classifier(model, preprocess, name="proof", num_classes=num_classes, head=head)
    logits, features = classifier.forward_with_features(random_images(preprocess, _PROOF_SEED))
    derived = classifier.cams(features).mean((2, 3)) + classifier.head_bias
    # The bias is in both: left in, a large one would hide an error of the maps.
    return _relative_error(derived - classifier.head_bias, logits - classifier.head_bias)


def _relative_error(got: Tensor, expected: Tensor) -> float:
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float((got - expected).abs().max() / scale)


def _perturb_norms(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(_NOISE_SEED)
    for norm in norms(model):
        for parameter in norm.parameters(recurse=False):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
