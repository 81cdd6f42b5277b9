"""How alike two maps of one image are: the four measures of Adebayo et al., and a random logit's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.forms import unit

_WINDOW = 7
_K1, _K2 = 0.01, 0.03  # Wang et al., IEEE TIP 2004
_HOG_CELLS = 14  # a side of the map: 16 pixels each, of 224
_HOG_BLOCK, _HOG_BINS = 3, 9  # cells a side of a block; orientations, over 180 degrees


@dataclass(frozen=True)
class Measure:
    """A similarity, in two halves, so that one map is held against many at the price of one.

    Attributes:
        title: as tables call it.
        prepare: (B, H, W) maps -> what is compared of them.
        compare: two of these -> (B,) float64 in [-1, 1], NaN where there is nothing to compare.
    """

    title: str
    prepare: Callable[[Tensor], Any]
    compare: Callable[[Any, Any], np.ndarray]


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, lowest first, equal values sharing the mean of theirs.

    Args:
        values: (n,) float32, finite.

    Returns:
        (n,) float64.
    """
    # One integer a value, its bits made monotonic above its place: sorted several times faster than by argsort.
    bits = (values + np.float32(0)).view(np.int32)
    monotonic = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    keys = np.sort((monotonic << 32) | np.arange(len(values)))
    places, heights = keys & 0xFFFFFFFF, keys >> 32
    starts = np.flatnonzero(np.concatenate([[True], heights[1:] != heights[:-1]]))
    ends = np.append(starts[1:], len(values))
    ranks = np.empty(len(values))
    ranks[places] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return ranks


def structural_similarity(maps: Tensor, others: Tensor, spread: Tensor, window: tuple[int, int]) -> np.ndarray:
    """Structural similarity (Wang et al., IEEE TIP 2004), equal weights, over all windows that lie within the map.

    Args:
        maps, others: (B, H, W).
        spread: (B,) between the least and the greatest value that a map can have.
        window: (rows, columns).

    Returns:
        (B,) float64 in [-1, 1]; NaN where the spread is 0.

    Raises:
        XkdError: the map is smaller than the window.
    """
    if maps.shape[1] < window[0] or maps.shape[2] < window[1]:
        height, width = maps.shape[1:]
        raise XkdError(
            f"size: maps of {height}x{width} pixels are scored, and structural similarity compares windows of "
            f"{window[0]}x{window[1]}; give a larger `size`, or other `measures`"
        )
    ours, theirs = maps.double()[:, None], others.double()[:, None]
    sums = torch.cat([ours, theirs, ours * ours, theirs * theirs, ours * theirs], 1)
    mean, other_mean, square, other_square, product = F.avg_pool2d(sums, window, stride=1).unbind(1)
    count = window[0] * window[1]
    sample = count / (count - 1)
    variance, other_variance = (square - mean**2) * sample, (other_square - other_mean**2) * sample
    covariance = (product - mean * other_mean) * sample
    c1, c2 = ((k * spread.double()[:, None, None]) ** 2 for k in (_K1, _K2))
    above = (2 * mean * other_mean + c1) * (2 * covariance + c2)
    below = (mean**2 + other_mean**2 + c1) * (variance + other_variance + c2)
    return (above / below).mean((1, 2)).masked_fill(spread == 0, torch.nan).cpu().numpy()


def _ranks(maps: Tensor) -> np.ndarray:
    flat = maps.flatten(1).float().cpu().numpy()
    return _directions(np.stack([average_ranks(values) for values in flat]))


def _directions(vectors: np.ndarray) -> np.ndarray:
    """(B, n) less their mean, of length 1; NaN where they are constant."""
    centred = vectors - vectors.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.full_like(centred, np.nan), where=length > 0)


def _product(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return np.clip((ours * theirs).sum(1), -1, 1)


def _ssim(ours: Tensor, theirs: Tensor) -> np.ndarray:
    return structural_similarity(ours, theirs, ours.new_ones(len(ours)), (_WINDOW, _WINDOW))


def _hog(maps: Tensor) -> np.ndarray:
    """Histograms of oriented gradients (Dalal and Triggs, CVPR 2005), as scikit-image computes them, as directions."""
    height, width = maps.shape[1:]
    if min(height, width) < _HOG_BLOCK:
        raise XkdError(f"size: maps of {height}x{width} pixels have no 3x3 cells; give a larger `size`, or no hog")
    down, across = torch.zeros(2, len(maps), height, width, dtype=torch.float64, device=maps.device)
    values = unit(maps).double()
    down[:, 1:-1], across[:, :, 1:-1] = values[:, 2:] - values[:, :-2], values[:, :, 2:] - values[:, :, :-2]
    angles = torch.rad2deg(torch.atan2(down, across)) % 180
    bins = F.one_hot((angles * (_HOG_BINS / 180)).long() % _HOG_BINS, _HOG_BINS).movedim(3, 1)
    cell = (max(1, height // _HOG_CELLS), max(1, width // _HOG_CELLS))
    cells = F.avg_pool2d(bins * torch.hypot(down, across)[:, None], cell)
    blocks = F.unfold(cells, _HOG_BLOCK)  # (B, 9 bins x 3 x 3, blocks)
    return _directions(_of_length_1(_of_length_1(blocks).clamp(max=0.2)).flatten(1).cpu().numpy())


def _of_length_1(blocks: Tensor) -> Tensor:
    """Each block at length 1; a block without gradients stays zero."""
    return blocks / (blocks.square().sum(1, keepdim=True) + 1e-10).sqrt()


MEASURES: dict[str, Measure] = {
    "spearman": Measure("MPRT Spearman", _ranks, _product),
    "absolute": Measure("MPRT Spearman of |R|", lambda maps: _ranks(maps.abs()), _product),
    "ssim": Measure("MPRT SSIM", unit, _ssim),
    "hog": Measure("MPRT HOG", _hog, _product),
}
"""Name -> measure: Spearman of the maps and of their magnitudes, SSIM of the min-maxed maps, Pearson of histograms of
oriented gradients (9 orientations, 14 x 14 cells, blocks of 3 x 3)."""


def by_magnitude(maps: Tensor) -> Tensor:
    """(B, H, W) -> each divided by its largest magnitude; what is zero stays so."""
    largest = maps.abs().amax((1, 2), keepdim=True)
    return maps / largest.where(largest > 0, 1)


def random_logit(rule: str, maps: Tensor, others: Tensor) -> np.ndarray:
    """How alike the maps of two classes are (Sixt et al., ICML 2020).

    Args:
        rule: "ssim", structural similarity of the min-maxed maps; "flattened", of the maps as one line of pixels, row
            after row, within the range of both (Quantus), which depends on the scale of each.
        maps, others: (B, H, W).

    Returns:
        (B,) float64.
    """
    if rule == "ssim":
        return _ssim(unit(maps), unit(others))
    line, other = maps.reshape(len(maps), 1, -1), others.reshape(len(others), 1, -1)
    both = torch.cat([line, other], 2).flatten(1)
    return structural_similarity(line, other, both.amax(1) - both.amin(1), (1, _WINDOW))


def complexity(maps: Tensor, bins: int) -> np.ndarray:
    """Entropy, in nats, of the histogram of each map's values.

    Args:
        maps: (B, H, W).
        bins: of equal width between the map's extremes.

    Returns:
        (B,) float64 in [0, ln bins].
    """
    entropies = []
    # Of float32 a map that hardly varies about a large value has fewer values than there are bins.
    for values in maps.flatten(1).double().cpu().numpy():
        shares = np.histogram(values, bins=bins)[0] / len(values)
        held = shares[shares > 0]
        entropies.append(float(-(held * np.log(held)).sum()))
    return np.array(entropies)
