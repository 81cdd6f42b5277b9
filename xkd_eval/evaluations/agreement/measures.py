"""Do two maps of one image look at the same place? Measures that do not depend on a map's scale or offset."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from xkd_eval.evaluations.ranks import upsample

MEASURES = ("spearman", "cosine", "ssim", "top20_iou", "shared_saliency", "js_divergence", "peak_distance")

COARSEST = 4
"""A map with fewer rows or columns says too little about place for any of the measures."""

_DISTANCES = ("js_divergence", "peak_distance")
_SSIM_WINDOW = 7
_TOP_SHARE = 0.2


def map_agreement(maps: Tensor, others: Tensor, input_size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Compare two models' maps image by image.

    Args:
        maps, others: (B, h, w) and (B, h', w'), raw. The coarser is up-sampled bilinearly to the finer.
        input_size: (H, W), for the structural similarity.

    Returns:
        Measure -> (B,) float64:
        spearman: rank correlation over places, in [-1, 1].
        cosine: of the maps less their minimum, in [0, 1].
        ssim: structural similarity (Wang et al., 2004) of the min-maxed maps at the input size, in [-1, 1].
        top20_iou: intersection over union of the 20 % highest places; places at the map's minimum are never among them.
        shared_saliency: share of the one's saliency, as a distribution over places, that the other has at the same
            places, in [0, 1]: UniCAM's question (Adhane et al., WACV 2025), asked of maps instead of features.
        js_divergence: Jensen-Shannon, in bits, of the maps less their minimum as distributions over places; in [0, 1].
        peak_distance: between the maxima, as a share of the diagonal.
        A map that is constant or not finite has no order: with every other it has the worst value (a correlation of
        0), with its like the best.
    """
    from scipy.stats import rankdata

    size = (max(maps.shape[1], others.shape[1]), max(maps.shape[2], others.shape[2]))
    ours, theirs = (_positive(_resized(values, size)) for values in (maps, others))
    large, other_large = (_unit(_resized(values, input_size)) for values in (maps, others))
    flat, other_flat = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
    shares, other_shares = _distribution(flat), _distribution(other_flat)
    measured = {
        "spearman": _correlation(rankdata(flat, axis=1), rankdata(other_flat, axis=1)),
        "cosine": _cosine(flat, other_flat),
        "ssim": np.array([_ssim(a, b) for a, b in zip(large, other_large, strict=True)]),
        "top20_iou": _top_iou(flat, other_flat),
        "shared_saliency": np.minimum(shares, other_shares).sum(1),
        "js_divergence": _jensen_shannon(shares, other_shares),
        "peak_distance": _peak_distance(flat, other_flat, size),
    }
    ordered, other_ordered = flat.max(1) > 0, other_flat.max(1) > 0
    for name, values in measured.items():
        distance = name in _DISTANCES
        values[~ordered & ~other_ordered] = 0.0 if distance else 1.0
        values[ordered != other_ordered] = 1.0 if distance else 0.0
    return measured


def _resized(maps: Tensor, size: tuple[int, int]) -> np.ndarray:
    return upsample(maps, size).double().cpu().numpy()


def _positive(maps: np.ndarray) -> np.ndarray:
    return maps - maps.min((1, 2), keepdims=True)


def _unit(maps: np.ndarray) -> np.ndarray:
    """Min-maxed; a constant map is zero."""
    maps = _positive(maps)
    highest = maps.max((1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


def _correlation(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    return _cosine(values - values.mean(1, keepdims=True), others - others.mean(1, keepdims=True))


def _cosine(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(B, n) and (B, n) -> (B,); 1 where both are zero, 0 where one is."""
    norm, other_norm = np.linalg.norm(values, axis=1), np.linalg.norm(others, axis=1)
    product = (values * others).sum(1)
    both = np.where((norm == 0) & (other_norm == 0), 1.0, 0.0)
    return np.divide(product, norm * other_norm, out=both, where=(norm > 0) & (other_norm > 0))


def _ssim(image: np.ndarray, other: np.ndarray) -> float:
    from skimage.metrics import structural_similarity

    return float(structural_similarity(image, other, win_size=_SSIM_WINDOW, data_range=1.0))


def _top_iou(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    count = max(1, round(_TOP_SHARE * values.shape[1]))
    tops = []
    for flat in (values, others):
        top = np.zeros(flat.shape, dtype=bool)
        np.put_along_axis(top, np.argsort(-flat, axis=1, kind="stable")[:, :count], True, axis=1)
        # Where fewer places are above the minimum, which of the others follow would be their row's and column's doing.
        tops.append(top & (flat > 0))
    return (tops[0] & tops[1]).sum(1) / np.maximum((tops[0] | tops[1]).sum(1), 1)


def _distribution(values: np.ndarray) -> np.ndarray:
    """Each row sums to one; a constant map is uniform."""
    total = values.sum(1, keepdims=True)
    return np.divide(values, total, out=np.full_like(values, 1 / values.shape[1]), where=total > 0)


def _jensen_shannon(shares: np.ndarray, others: np.ndarray) -> np.ndarray:
    middle = (shares + others) / 2

    def divergence(values: np.ndarray) -> np.ndarray:
        ratio = np.divide(values, middle, out=np.ones_like(values), where=values > 0)
        return (values * np.log2(ratio)).sum(1)

    return np.clip((divergence(shares) + divergence(others)) / 2, 0, 1)


def _peak_distance(values: np.ndarray, others: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    places = [np.stack(np.unravel_index(flat.argmax(1), size)) for flat in (values, others)]
    return np.linalg.norm(places[0] - places[1], axis=0) / np.hypot(*size)
