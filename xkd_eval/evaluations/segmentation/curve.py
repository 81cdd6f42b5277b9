"""The precision-recall curve over the pixels of all images, from histograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def precision_recall(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and IoU at every lower bin edge, from histograms of [0, 1] over object and background."""
    found = np.cumsum(positives[::-1])[::-1].astype(np.float64)
    claimed = found + np.cumsum(negatives[::-1])[::-1]
    total = max(int(positives.sum()), 1)
    precision = np.divide(found, claimed, out=np.ones_like(found), where=claimed > 0)
    return precision, found / total, found / (total + claimed - found)


def histogram_scores(positives: np.ndarray, negatives: np.ndarray) -> dict[str, Any]:
    """The best IoU over all thresholds, and the curve, from (bins,) counts over object and over background pixels."""
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


def precision_recall_figure(name: str, summary: Mapping[str, Any], objects: int, background: int) -> Figure:
    """The curve of one run.

    Args:
        name: what the key calls it.
        summary: with "precision_recall".
        objects, background: pixels; their share is the precision of a guess.
    """
    from xkd_eval.figures.curves import Curve, precision_recall_curve

    points = summary["precision_recall"]
    # Beyond the last occupied bin nothing is recalled, and precision says nothing.
    found = [place for place, recall in enumerate(points["recall"]) if recall > 0]
    curve = Curve(
        name=name,
        x=[points["recall"][place] for place in found],
        y=[points["precision"][place] for place in found],
    )
    return precision_recall_curve([curve], objects / max(objects + background, 1))
