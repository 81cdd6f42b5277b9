"""Segmentation test: a saliency map against the object's mask (ImageNet-Segmentation, Guillaumin et al., IJCV 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import MASK_SIZE, Batch
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.means import defined_columns, mean_score
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns
from xkd_eval.evaluations.segmentation.curve import histogram_scores, precision_recall_figure
from xkd_eval.evaluations.segmentation.one_image import score_image
from xkd_eval.evaluations.segmentation.protocol import SegmentationProtocol
from xkd_eval.statistics.bootstrap import Means

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SegmentationTest(Evaluation):
    """Pixel accuracy, mIoU, mAP, F1 and the pointing games of one map an image."""

    name = "segmentation"
    title = "Segmentation test"
    citation = "Guillaumin et al., ImageNet Auto-Annotation with Segmentation Propagation, IJCV 2014"
    question = "Is the object, and nothing else, where the map is above its mean?"
    cost = "1"
    takes_label_sets = True
    needs_masks = True
    reads_answers = False
    figure_names = ("precision_recall",)
    Protocol = SegmentationProtocol
    protocol: SegmentationProtocol

    def scored_size(self, preprocess: Preprocess) -> tuple[int, int]:
        """The masks', whatever the model's input."""
        return MASK_SIZE

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. The classifier is not asked again."""
        if batch.masks is None:
            raise XkdError("data: the set has no masks; segmentation needs one mask an image")
        made, degenerate = in_form(batch.required_maps(), "minmax", MASK_SIZE, self.protocol.tie_seed)
        maps, masks = made.cpu().numpy(), batch.masks.cpu().numpy()
        rows = [score_image(relevance, mask, self.protocol.bins) for relevance, mask in zip(maps, masks, strict=True)]
        return {
            "degenerate": degenerate.cpu().numpy(),
            **{name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]},
        }

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns; a figure that some images do not define has a column that says which do."""
        return defined_columns(rows, (*_COUNTS, *_PER_IMAGE))

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _SPECS

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        positives, negatives = (rows[f"histogram_{kind}"].sum(0) for kind in ("object", "background"))
        return {
            **histogram_scores(positives, negatives),
            "empty_masks": int((rows["object_pixels"] == 0).sum()),
            "full_masks": int((rows["background_pixels"] == 0).sum()),
        }

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality: the foreground's average precision."""
        return rows["foreground_ap"]

    def figures(self, name: str, summary: Mapping[str, Any], rows: StoredColumns) -> dict[str, Figure]:
        """See Evaluation.figures."""
        objects, background = (int(rows[f"{kind}_pixels"].sum()) for kind in ("object", "background"))
        return {"precision_recall": precision_recall_figure(name, summary, objects, background)}


_COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")
_PER_IMAGE = ("ap", "foreground_ap", "f1_rows", "pointing_game", "energy_pointing_game", "otsu_iou")


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


def _mean(column: str, title: str, **more: Any) -> ScoreSpec:
    return mean_score(column, title, better="higher", range=(0, 1), **more)


_SPECS = (
    ScoreSpec("pixel_accuracy", "pixel accuracy", _pixel_accuracy, better="higher", range=(0, 1)),
    ScoreSpec(
        "miou",
        "mIoU",
        lambda means: (_foreground_iou(means) + _background_iou(means)) / 2,
        better="higher",
        range=(0, 1),
        role="headline",
    ),
    _mean("ap", "mAP (published rule)", name="map", note="not rank-invariant"),
    _mean("foreground_ap", "foreground AP"),
    ScoreSpec("f1", "F1 over pixels", _f1, better="higher", range=(0, 1)),
    _mean("f1_rows", "F1 over rows (published)"),
    _mean("pointing_game", "pointing game", role="headline"),
    _mean("energy_pointing_game", "energy pointing game"),
    ScoreSpec("iou_object", "IoU of the object", _foreground_iou, better="higher", role="detail"),
    ScoreSpec("iou_background", "IoU of the background", _background_iou, better="higher", role="detail"),
    _mean("otsu_iou", "IoU of the object under Otsu's threshold", role="detail"),
)
