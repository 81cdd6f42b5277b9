"""Agreement of a model's maps with the reference's, image by image."""

from __future__ import annotations

from typing import Literal

import numpy as np

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.agreement.measures import COARSEST, map_agreement
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.means import mean_score
from xkd_eval.evaluations.ranks import is_degenerate
from xkd_eval.evaluations.scores import Columns, Role, ScoreSpec


class AgreementTest(Evaluation):
    """Rank correlation, structural similarity and five more measures of a model's map and the reference's."""

    name = "agreement"
    title = "Agreement of maps"
    citation = "see the measures: Wang et al., IEEE TIP 2004 (SSIM); Adhane et al., WACV 2025 (shared saliency)"
    question = "Does the model look where the reference looks?"
    cost = "1"
    takes_label_sets = True
    needs_labels = True
    needs_reference = True

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. "coarse": a map has too few rows or columns to say much about place."""
        if batch.reference is None:
            raise XkdError("models: agreement holds a model against a reference; give at least two")
        maps, others = batch.required_maps(), batch.reference.required_maps()
        coarse = min(*maps.shape[1:], *others.shape[1:]) < COARSEST
        return {
            "degenerate": is_degenerate(maps).cpu().numpy(),
            "coarse": np.full(len(maps), coarse),
            **map_agreement(maps, others, self.scored_size(batch.preprocess)),
        }

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _SPECS


def _spec(name: str, title: str, better: Literal["higher", "lower"] = "higher", role: Role = "shown") -> ScoreSpec:
    least = -1 if name in ("spearman", "ssim") else 0
    return mean_score(name, title, better=better, range=(least, 1), unit="", role=role)


_SPECS = (
    _spec("spearman", "rank correlation", role="headline"),
    _spec("ssim", "structural similarity"),
    _spec("top20_iou", "IoU of the top 20 %"),
    _spec("shared_saliency", "shared saliency"),
    _spec("cosine", "cosine"),
    _spec("js_divergence", "JS divergence, bits", "lower"),
    _spec("peak_distance", "distance of the maxima", "lower"),
)
