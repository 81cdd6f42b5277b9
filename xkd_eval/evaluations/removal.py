"""Removing pixels: what they are replaced by, and the answers to an image with more and more of them gone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations.batch import Network

_BLUR_KERNEL, _BLUR_SIGMA = 11, 5.0  # RISE (Petsiuk et al., BMVC 2018)


def _black(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    return preprocess.colour((0.0, 0.0, 0.0), like=pixels)[None]


def _mean(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    return preprocess.colour(preprocess.mean_colour, like=pixels)[None]


def _blur(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur

    return preprocess.normalise(gaussian_blur(pixels.float() / 255, [_BLUR_KERNEL] * 2, [_BLUR_SIGMA] * 2))


FILLS: dict[str, Callable[[Tensor, Preprocess], Tensor]] = {"black": _black, "mean": _mean, "blur": _blur}
"""Name -> what removed pixels are replaced by: black in [0, 1] space, the mean colour of the normalisation, or the
image blurred by a Gaussian (kernel 11, sigma 5)."""


def fill_image(pixels: Tensor, preprocess: Preprocess, fill: str) -> Tensor:
    """What removed pixels are replaced by, normalised: (1, 3, 1, 1) for a colour, (B, 3, H, W) for the blur.

    Args:
        pixels: (B, 3, H, W) uint8.
        preprocess: normalises the fill as it does the image.
        fill: of FILLS.
    """
    return FILLS[fill](pixels, preprocess)


def masked_logits(images: Tensor, fill: Tensor, ranks: Tensor, removed: list[int], network: Network) -> Tensor:
    """The answers to every image with its pixels of the `removed[f]` first ranks replaced.

    Args:
        images: (B, 3, H, W) normalised.
        fill: (1 or B, 3, H or 1, W or 1), see `fill_image`.
        ranks: (B, H, W) integers, 0 = removed first; or (B, 3, H, W) where the channels of a pixel go one by one.
            Pixels of one rank, as those of a region, go together.
        removed: F numbers of ranks.
        network: is asked; memory is bounded by its chunk and not by B F.

    Returns:
        (B, F, K) logits.
    """
    n_images, n_masks = len(images), len(removed)
    fills = fill.expand(n_images, *fill.shape[1:])
    ranks = ranks if ranks.ndim == 4 else ranks[:, None]
    limits = torch.tensor(removed, dtype=ranks.dtype, device=ranks.device)
    logits = []
    for copies in torch.arange(n_images * n_masks, device=images.device).split(network.chunk):
        image, mask = copies % n_images, copies // n_images
        hidden = ranks[image] < limits[mask, None, None, None]
        logits.append(network.classify(torch.where(hidden, fills[image], images[image])))
    return torch.cat(logits).unflatten(0, (n_masks, n_images)).transpose(0, 1)


def _probability(logits: Tensor, index: Tensor) -> Tensor:
    return logits.softmax(-1).gather(-1, index)


def _logit(logits: Tensor, index: Tensor) -> Tensor:
    return logits.gather(-1, index)


ANSWERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"probability": _probability, "logit": _logit}
"""Name -> what is read of an answer: the softmax probability of a class, or its logit."""


def answer_values(logits: Tensor, classes: Tensor, answer: str = "probability") -> Tensor:
    """What the answers say of one class an image.

    Args:
        logits: (B, K), or (B, F, K) of F images made of each.
        classes: (B,) int64.
        answer: of ANSWERS.

    Returns:
        (B,) or (B, F) float32.
    """
    index = classes.reshape(-1, *[1] * (logits.ndim - 1)).expand(*logits.shape[:-1], 1)
    return ANSWERS[answer](logits, index)[..., 0]
