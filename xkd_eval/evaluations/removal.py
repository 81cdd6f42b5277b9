"""Removing pixels: what they are replaced by, and the answers to an image with more and more of them gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from xkd_eval.classifiers.preprocess import Preprocess, in_unit_range
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.batch import Network
from xkd_eval.evaluations.blurs import reflecting_blur, rise_blur

_BLUR_KERNEL, _BLUR_SIGMA = 11, 5.0  # RISE (Petsiuk et al., BMVC 2018)


def _black(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    return preprocess.colour((0.0, 0.0, 0.0), like=pixels)[None]


def _mean(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    if not preprocess.takes_photographs:  # no colour is the mean of each channel
        return torch.zeros(1, preprocess.channels, 1, 1, device=pixels.device)
    return preprocess.colour(preprocess.mean_colour, like=pixels)[None]


def _blur(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur

    return preprocess.normalise(gaussian_blur(in_unit_range(pixels), [_BLUR_KERNEL] * 2, [_BLUR_SIGMA] * 2))


def _rise_blur(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    return rise_blur(preprocess.normalise(pixels))


def _reflecting_blur(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    return reflecting_blur(preprocess.normalise(pixels))


FILLS: dict[str, Callable[[Tensor, Preprocess], Tensor]] = {
    "black": _black,
    "mean": _mean,
    "blur": _blur,
    "rise_blur": _rise_blur,
    "reflecting_blur": _reflecting_blur,
}
"""Name -> what removed pixels are replaced by. black: in [0, 1] space; mean: the mean colour of the normalisation, 0 as
the network sees it; blur: the image blurred in [0, 1] space by a Gaussian (kernel 11, sigma 5); rise_blur,
reflecting_blur: blurred as the network sees it, see blurs.py."""


def fill_image(pixels: Tensor, preprocess: Preprocess, fill: str) -> Tensor:
    """What removed pixels are replaced by, normalised: (1, 3, 1, 1) for a colour, (B, 3, H, W) for the blur.

    Args:
        pixels: (B, 3, H, W) uint8, see `Batch.pixels`.
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
    return (
        torch.cat(list(_masked(images, fill, ranks, removed, network))).unflatten(0, (-1, len(images))).transpose(0, 1)
    )


def masked_answers(
    images: Tensor,
    fill: Tensor,
    ranks: Tensor,
    removed: list[int],
    network: Network,
    classes: Tensor,
    answer: str = "probability",
    by: str = "softmax",
) -> Tensor:
    """What `masked_logits` says of one class an image; a thousand masks cost no memory for the other classes' logits.

    Args:
        images, fill, ranks, removed, network: as there.
        classes: (B,) int64.
        answer: of ANSWERS.
        by: of PROBABILITIES.

    Returns:
        (B, F) float64.
    """
    found = _masked(images, fill, ranks, removed, network)
    asked = classes.repeat(len(removed)).split(network.chunk)
    values = [answer_values(logits, part, answer, by) for logits, part in zip(found, asked, strict=True)]
    return torch.cat(values).unflatten(0, (-1, len(images))).transpose(0, 1)


def _masked(images: Tensor, fill: Tensor, ranks: Tensor, removed: list[int], network: Network) -> Iterator[Tensor]:
    """Logits a chunk at a time, of all images under the first mask, then under the second."""
    n_images = len(images)
    fills = fill.expand(n_images, *fill.shape[1:])
    ranks = ranks if ranks.ndim == 4 else ranks[:, None]
    limits = torch.tensor(removed, dtype=ranks.dtype, device=ranks.device)
    for copies in torch.arange(n_images * len(removed), device=images.device).split(network.chunk):
        image, mask = copies % n_images, copies // n_images
        hidden = ranks[image] < limits[mask, None, None, None]
        yield network.classify(torch.where(hidden, fills[image], images[image]))


def product_logits(images: Tensor, maps: Tensor, network: Network) -> Tensor:
    """The answers to images times their maps, so that what a map leaves out fades to the mean colour.

    Args:
        images: (B, 3, H, W) normalised.
        maps: (B, H, W) in [0, 1].
        network: is asked.

    Returns:
        (B, K) logits.
    """
    parts = zip(images.split(network.chunk), maps.split(network.chunk), strict=True)
    return torch.cat([network.classify(part * map_[:, None]) for part, map_ in parts])


def _softmax(logits: Tensor, index: Tensor) -> Tensor:
    if logits.shape[-1] == 1:
        raise XkdError("model: it has a single class, whose probability is 1 whatever the image; expected two or more")
    return logits.softmax(-1).gather(-1, index)


def _sigmoid(logits: Tensor, index: Tensor) -> Tensor:
    return own_probability(logits.gather(-1, index))


def own_probability(logits: Tensor) -> Tensor:
    """The sigmoid of each logit, as a softmax over it and 0: row by row, so that none depends on where it stands.

    torch.sigmoid rounds the last elements of a tensor in another way, and a row of a run depends on its image alone.

    Args:
        logits: of any shape.

    Returns:
        The same shape, 0 to 1.
    """
    return torch.stack([logits, torch.zeros_like(logits)], -1).softmax(-1)[..., 0]


PROBABILITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"softmax": _softmax, "sigmoid": _sigmoid}
"""`Rules.probability` -> the probability of a class: of one class a photograph, or of several."""

ANSWERS = ("probability", "logit")
"""What is read of an answer: the probability of a class, or its logit."""


def answer_values(logits: Tensor, classes: Tensor, answer: str = "probability", by: str = "softmax") -> Tensor:
    """What the answers say of one class an image.

    Args:
        logits: (B, K), or (B, F, K) of F images made of each.
        classes: (B,) int64.
        answer: of ANSWERS.
        by: of PROBABILITIES, as the protocol's `probability` says.

    Returns:
        (B,) or (B, F) float64, in which 1 - p of a sure answer is not rounded away.
    """
    index = classes.reshape(-1, *[1] * (logits.ndim - 1)).expand(*logits.shape[:-1], 1)
    values = logits.double()
    return (values.gather(-1, index) if answer == "logit" else PROBABILITIES[by](values, index))[..., 0]


def logit_notes(answer: str) -> list[str]:
    """For `Evaluation.notes`: a sentence where logits are scored, as some tools do unless told otherwise."""
    return ["logits are scored, and not probabilities"] if answer == "logit" else []
