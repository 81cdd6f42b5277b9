"""One map against one image's objects: every figure of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xkd_eval.evaluations.localisation.found_boxes import iou_by_level
from xkd_eval.evaluations.localisation.pointing import energy_within, points_at, roc_area, top_shares
from xkd_eval.evaluations.localisation.protocol import IOUS, LEVELS, SIDE, LocalisationProtocol, level_of


@dataclass(frozen=True)
class Truth:
    """Where an image's objects are, on the map.

    Attributes:
        boxes: (m, 4) int64 x0, y0, x1, y1, ends inclusive; m may be 0.
        region: (H, W) booleans: on an object.
        energy_region: (H, W) booleans, in which energy counts.
        known: (H, W) booleans: labelled as object or background.
    """

    boxes: np.ndarray
    region: np.ndarray
    energy_region: np.ndarray
    known: np.ndarray


def score_image(
    sharp: np.ndarray, smooth: np.ndarray, ranks: np.ndarray, truth: Truth, rules: LocalisationProtocol
) -> dict[str, Any]:
    """All figures of one image.

    Args:
        sharp: (H, W) float64 in [0, 1], bicubic, of which boxes are found.
        smooth: (H, W) float32 in [0, 1], bilinear, which points.
        ranks: (H, W) integers, 0 the most relevant of `smooth`.
        truth: on the map.
        rules: of the test.

    Returns:
        One value or list a column; NaN where a figure is undefined. "hits" is a byte a level, see `hit_columns`.
    """
    if not len(truth.boxes) or not truth.region.any():
        return _UNDEFINED
    iou, boxes = iou_by_level((255 * sharp).astype(np.uint8), truth.boxes, rules.largest)
    weights = 1 << np.arange(2 * len(IOUS)).reshape(2, -1, 1)
    hits = ((iou[:, None] >= np.array(IOUS)[None, :, None]) * weights).sum((0, 1))
    scale = min(smooth.shape) / SIDE
    top = max(1, round(rules.top_pixels * smooth.size / SIDE**2))
    points = points_at(smooth, truth.region, rules.tolerance * scale, rules.peak, rules.tie_seed)
    rank_accuracy, top_intersection = top_shares(ranks, truth.region, top)
    known, energy_region = truth.known, truth.energy_region
    return {
        "has_object": True,
        "hits": hits.astype(np.uint8),
        "best_iou": iou[0].max(),
        "best_iou_of_all": iou[1].max(),
        "box": boxes[level_of(rules.threshold)].astype(np.int32),
        "pointing_game": float(points),
        "energy_pointing_game": energy_within(smooth[known], energy_region[known]),
        "relevance_rank_accuracy": rank_accuracy,
        "top_k_intersection": top_intersection,
        "localisation_auc": roc_area(smooth[known], truth.region[known]),
    }


_UNDEFINED: dict[str, Any] = {
    "has_object": False,
    "hits": np.zeros(LEVELS, dtype=np.uint8),
    "best_iou": np.nan,
    "best_iou_of_all": np.nan,
    "box": np.zeros(4, dtype=np.int32),
    **dict.fromkeys(
        ("pointing_game", "energy_pointing_game", "relevance_rank_accuracy", "top_k_intersection", "localisation_auc"),
        np.nan,
    ),
}


def on_the_map(boxes: np.ndarray, image: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Boxes of an image brought to a map: each corner times the map's side over the image's, cut to whole pixels.

    Args:
        boxes: (n, 4) int64 x0, y0, x1, y1.
        image: (height, width) that they are of.
        size: (H, W) of the map.
    """
    (height, width), (high, wide) = image, size
    return np.asarray(boxes * [wide, high, wide, high] // [width, height, width, height])


def covered(boxes: np.ndarray, size: tuple[int, int], *, last: bool = True) -> np.ndarray:
    """(H, W) booleans: within any of the boxes, whose last row and column count or not."""
    region = np.zeros(size, dtype=bool)
    for x0, y0, x1, y1 in boxes:
        region[y0 : y1 + last, x0 : x1 + last] = True
    return region
