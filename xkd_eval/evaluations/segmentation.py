"""Segmentation test: a saliency map against the object's mask (ImageNet-Segmentation, Guillaumin et al., IJCV 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Batch, Columns, Evaluation, Forward
from xkd_eval.evaluations.ranks import is_degenerate, tie_permutation, upsample
from xkd_eval.protocol import SegmentationProtocol
from xkd_eval.statistics.bootstrap import Means, Score, scores_with_intervals


class SegmentationTest(Evaluation):
    """Pixel accuracy, mIoU, mAP, F1 and the pointing games of one map an image."""

    name = "segmentation"
    needs_labels = False
    needs_masks = True
    forwards_again = False

    def __init__(self, protocol: SegmentationProtocol) -> None:
        self.protocol: SegmentationProtocol = protocol

    def scored_size(self, preprocess: Preprocess) -> tuple[int, int]:
        """The protocol's, whatever the model's input."""
        return self.protocol.size

    def rows(self, batch: Batch, forward: Forward, chunk: int) -> Columns:
        """See Evaluation.rows. The classifier is not asked again: `forward` is not called."""
        if batch.masks is None:
            raise XkdError("data: the set has no masks; segmentation needs one mask an image")
        upsampled = upsample(batch.maps, self.protocol.size)
        degenerate = is_degenerate(upsampled)
        maps = self._scaled(upsampled, degenerate).cpu().numpy()
        masks = batch.masks.cpu().numpy()
        rows = [image_scores(relevance, mask, self.protocol.bins) for relevance, mask in zip(maps, masks, strict=True)]
        return {
            "degenerate": degenerate.cpu().numpy(),
            **{name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]},
        }

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns; a figure that some images do not define has a column that says which do."""
        columns: Columns = {}
        for name in _SCORED:
            values = rows[name].astype(np.float64)
            columns[name] = np.nan_to_num(values)
            if np.isnan(values).any():
                columns[f"{name}_defined"] = ~np.isnan(values)
        return columns

    def scores(self) -> dict[str, Score]:
        """See Evaluation.scores."""
        return dict(_SCORES)

    def summarise(self, rows: Columns) -> dict[str, Any]:
        """See Evaluation.summarise."""
        positives, negatives = (rows[f"histogram_{kind}"].sum(0) for kind in ("object", "background"))
        return {
            **scores_with_intervals(self.columns(rows), self.scores()),
            **_histogram_scores(positives, negatives),
            "empty_masks": int((rows["object_pixels"] == 0).sum()),
            "full_masks": int((rows["background_pixels"] == 0).sum()),
        }

    def _scaled(self, maps: Tensor, degenerate: Tensor) -> Tensor:
        """Min-max to [0, 1] per image; a degenerate map becomes the protocol's permutation, a random map."""
        flat = maps.flatten(1)
        low, high = flat.amin(1)[:, None, None], flat.amax(1)[:, None, None]
        scaled = (maps - low) / (high - low)
        if degenerate.any():
            order = tie_permutation(flat.shape[1], self.protocol.tie_seed).to(maps) / (flat.shape[1] - 1)
            scaled[degenerate] = order.reshape(maps.shape[1:])
        return scaled


def image_scores(relevance: np.ndarray, mask: np.ndarray, bins: int = 256) -> dict[str, Any]:
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
    has_energy = truth.any() and values.sum() > 0
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
        "energy_pointing_game": float(values[truth].sum() / values.sum()) if has_energy else np.nan,
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
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_ties = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    found = np.cumsum(positive[order], dtype=np.float64)[last_of_ties]
    precision, recall = found / (last_of_ties + 1), found / found[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


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
    from skimage.filters import threshold_otsu

    counts = positives + negatives
    if np.count_nonzero(counts) < 2 or not positives.any():
        return float("nan")
    above = np.arange(len(counts)) > threshold_otsu(hist=(counts, np.arange(len(counts))))
    union = positives.sum() + negatives[above].sum()
    return float(positives[above].sum() / union)


def precision_recall(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and IoU at every lower bin edge, from histograms of [0, 1] over object and background."""
    found = np.cumsum(positives[::-1])[::-1].astype(np.float64)
    claimed = found + np.cumsum(negatives[::-1])[::-1]
    total = max(int(positives.sum()), 1)
    precision = np.divide(found, claimed, out=np.ones_like(found), where=claimed > 0)
    return precision, found / total, found / (total + claimed - found)


def _histogram_scores(positives: np.ndarray, negatives: np.ndarray) -> dict[str, Any]:
    precision, recall, iou = precision_recall(positives, negatives)
    best = int(iou.argmax())
    has_object = positives.any()
    return {
        "best_iou": {
            "value": float(iou[best]) if has_object else None,
            "threshold": best / len(iou) if has_object else None,
        },
        "precision_recall": {"precision": precision.tolist(), "recall": recall.tolist()},
    }


_COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")
_PER_IMAGE = ("ap", "foreground_ap", "f1_rows", "pointing_game", "energy_pointing_game", "otsu_iou")
_SCORED = (*_COUNTS, *_PER_IMAGE)


def _pixel_accuracy(means: Means) -> np.ndarray:
    return (means["true_positive"] + means["true_negative"]) / sum(means[name] for name in _COUNTS)


def _foreground_iou(means: Means) -> np.ndarray:
    wrong = means["false_positive"] + means["false_negative"]
    return means["true_positive"] / (means["true_positive"] + wrong)


def _background_iou(means: Means) -> np.ndarray:
    wrong = means["false_positive"] + means["false_negative"]
    return means["true_negative"] / (means["true_negative"] + wrong)


def _f1(means: Means) -> np.ndarray:
    wrong = means["false_positive"] + means["false_negative"]
    return 2 * means["true_positive"] / (2 * means["true_positive"] + wrong)


def _mean_where_defined(name: str) -> Score:
    return lambda means: means[name] / means[f"{name}_defined"] if f"{name}_defined" in means else means[name]


_SCORES: dict[str, Score] = {
    "pixel_accuracy": _pixel_accuracy,
    "miou": lambda means: (_foreground_iou(means) + _background_iou(means)) / 2,
    "iou_object": _foreground_iou,
    "iou_background": _background_iou,
    "f1": _f1,
    "map": _mean_where_defined("ap"),
    **{name: _mean_where_defined(name) for name in _PER_IMAGE[1:]},
}
