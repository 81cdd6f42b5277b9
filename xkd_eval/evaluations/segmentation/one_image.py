"""One map against one mask: every figure of an image."""

from __future__ import annotations

from typing import Any

import numpy as np


def score_image(relevance: np.ndarray, mask: np.ndarray, bins: int = 256) -> dict[str, Any]:
    """All figures of one image.

    Args:
        relevance: (H, W) float32 in [0, 1].
        mask: (H, W), 1 object, 0 background, -1 ignored.
        bins: of the two histograms of `relevance`, over object and over background pixels.

    Returns:
        One value a column; NaN where a figure is undefined (no object, no labelled pixel).
    """
    labelled = mask >= 0
    predicted = relevance > relevance.mean()
    truth, hit = mask[labelled] == 1, predicted[labelled]
    values = relevance[labelled]
    true_positive = int((hit & truth).sum())
    false_positive, false_negative = int((hit & ~truth).sum()), int((~hit & truth).sum())
    true_negative = len(truth) - true_positive - false_positive - false_negative
    positives, negatives = _histogram(values[truth], bins), _histogram(values[~truth], bins)
    energy = values.astype(np.float64)  # of float32 sums, shares that are equal would be told apart
    has_energy = truth.any() and energy.sum() > 0
    return {
        "object_pixels": int(truth.sum()),
        "background_pixels": int((~truth).sum()),
        "true_positive": true_positive,
        "false_positive": false_positive,
        "false_negative": false_negative,
        "true_negative": true_negative,
        "ap": _published_ap(values, truth),
        "foreground_ap": average_precision(values, truth),
        "f1_rows": _f1_rows(predicted, mask),
        "pointing_game": _pointing(values, truth),
        "energy_pointing_game": float(energy[truth].sum() / energy.sum()) if has_energy else np.nan,
        "otsu_iou": _otsu_iou(positives, negatives),
        "histogram_object": positives,
        "histogram_background": negatives,
    }


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the precision-recall step function, sum of (R_n - R_(n-1)) P_n over distinct scores.

    Args:
        scores: (n,) float.
        positive: (n,) bool.

    Returns:
        Within [0, 1]; NaN without a positive.
    """
    if not positive.any():
        return float("nan")
    # One integer a score, its bits made to fall as it rises, above the label: a plain sort of integers, several times
    # as fast as an argsort. How ties are ordered changes nothing, as only the last of them is read.
    keys = np.sort((_falling_bits(scores).astype(np.uint64) << 1) | positive)
    ranked = keys >> 1
    last_of_ties = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    found = np.cumsum(keys & 1, dtype=np.float64)[last_of_ties]
    precision, recall = found / (last_of_ties + 1), found / found[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _falling_bits(values: np.ndarray) -> np.ndarray:
    """(n,) float32 -> (n,) uint32 in the opposite order; equal values, 0.0 and -0.0 among them, stay equal."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))


def _published_ap(values: np.ndarray, truth: np.ndarray) -> float:
    """AP of the flattened [1 - R, R] against one-hot [background, object], as the published helper has it."""
    return average_precision(np.concatenate([1 - values, values]), np.concatenate([~truth, truth]))


def _f1_rows(predicted: np.ndarray, mask: np.ndarray) -> float:
    """F1 averaged over the rows of the image, 0 for a row with neither object nor prediction, as published."""
    labelled = mask >= 0
    truth, hit = (mask == 1), predicted & labelled
    both = 2 * (hit & truth).sum(1)
    either = hit.sum(1) + truth.sum(1)
    return float(np.mean(np.divide(both, either, out=np.zeros(len(mask)), where=either > 0)))


def _pointing(values: np.ndarray, truth: np.ndarray) -> float:
    """Share of the map's maxima that lie on the object: 0 or 1 unless the maximum is tied; NaN without an object."""
    return float(truth[values == values.max()].mean()) if truth.any() else float("nan")


def _histogram(values: np.ndarray, bins: int) -> np.ndarray:
    return np.bincount(np.minimum((values * bins).astype(np.int64), bins - 1), minlength=bins).astype(np.int32)


def _otsu_iou(positives: np.ndarray, negatives: np.ndarray) -> float:
    """IoU of the object under Otsu's threshold (Otsu, IEEE SMC 1979) of the image's own histogram."""
    counts = positives + negatives
    if np.count_nonzero(counts) < 2 or not positives.any():
        return float("nan")
    from skimage.filters import threshold_otsu

    above = np.arange(len(counts)) > threshold_otsu(hist=(counts, np.arange(len(counts))))
    union = positives.sum() + negatives[above].sum()
    return float(positives[above].sum() / union)
