"""Pixel flipping (Bach et al., PLOS ONE 2015): the most relevant features go first, the answer is read on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from xkd_eval.evaluations.areas import area
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.drawing import summary_curves
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.infills import settled_infill
from xkd_eval.evaluations.means import curve_score, mean_score
from xkd_eval.evaluations.pixel_flipping.options import PixelFlippingOptions
from xkd_eval.evaluations.pixel_flipping.protocol import (
    PRESETS,
    PixelFlippingProtocol,
    flipped_features,
    pixel_flipping_protocol,
)
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.ranks import removal_order
from xkd_eval.evaluations.removal import answer_values, masked_answers
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve

_PANEL = "Most relevant first (lower is better)"


class PixelFlippingTest(Evaluation):
    """Probability of the explained class while pixels are flipped, the most relevant first.

    Args:
        protocol: the rules.
    """

    name = "pixel_flipping"
    title = "Pixel flipping"
    citation = (
        "Bach et al., On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance "
        "Propagation, PLOS ONE 2015"
    )
    question = "How fast does the class's probability fall while the most relevant pixels are flipped?"
    cost = "1 + steps (32; quantus 48, latec 672)"
    takes_label_sets = True
    forwards_again = True
    in_comparisons = False
    about = "The area grows with the clean probability: compare explainers of one model, or read AOPC beside it."
    curve_caption = "Probability of the explained class while the most relevant features are flipped; 95 % intervals."
    figure_names = ("pixel_flipping",)
    presets = PRESETS
    Options = PixelFlippingOptions
    Protocol = PixelFlippingProtocol
    protocol: PixelFlippingProtocol

    @classmethod
    def create(cls, rules: Rules, options: PixelFlippingOptions) -> Self:
        """See Evaluation.create."""
        return cls(pixel_flipping_protocol(rules, options))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. `pixel_flipping_curve` has one probability a point of the curve."""
        rules, size = self.protocol, self.scored_size(batch.preprocess)
        maps, degenerate = in_form(batch.required_maps(), rules.form, size, rules.tie_seed)
        ranks, tie_share = removal_order(size, rules.tie_seed, maps.device).descending(maps)
        fill = settled_infill(batch, rules.infill)
        features = ranks if rules.feature == "pixels" else _by_value(ranks, batch.images.shape[1])
        removed = flipped_features(features[0].numel(), rules.steps)
        by, asked = rules.probability, (batch.network, batch.target)
        answers = masked_answers(batch.images, fill, features, removed, *asked, by=by)
        if rules.start:
            answers = torch.cat([answer_values(batch.logits, batch.target, by=by)[:, None], answers], 1)
        curve = answers.cpu().numpy()
        return {
            "degenerate": degenerate.cpu().numpy(),
            # A map without an order stands here as the permutation, which has no ties.
            "tie_share": torch.where(degenerate, 1.0, tie_share).cpu().numpy(),
            "pixel_flipping": area(rules.area, curve, np.array(rules.abscissae)),
            "pixel_flipping_curve": curve,
        }

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _specs(self.protocol.area, self.protocol.abscissae)

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality: the lower the curve, the better."""
        return -rows["pixel_flipping"]

    def curve_figure(self, curves: Mapping[str, Sequence[Curve]], num_classes: int | None) -> Figure | None:
        """See Evaluation.curve_figure."""
        from xkd_eval.figures.curves import removal_curves

        drawn = curves.get("pixel_flipping_curve")
        return removal_curves({_PANEL: drawn}, "Features flipped (%)", "Probability (%)") if drawn else None

    def figures(self, name: str, summary: Mapping[str, Any], rows: StoredColumns) -> dict[str, Figure]:
        """See Evaluation.figures."""
        figure = self.curve_figure(summary_curves(self, name, summary), None)
        return {} if figure is None else {"pixel_flipping": figure}


def _by_value(ranks: Tensor, channels: int) -> Tensor:
    """(B, H, W) ranks of pixels -> (B, C, H, W) ranks of their channels' values, C x the pixel's and the channel."""
    return channels * ranks[:, None] + torch.arange(channels, dtype=ranks.dtype, device=ranks.device)[:, None, None]


@lru_cache(maxsize=32)
def _specs(area_rule: str, abscissae: tuple[float, ...]) -> tuple[ScoreSpec, ...]:
    # Of unit steps the area is no fraction of 1: it grows with their number.
    top, unit = (len(abscissae) - 1, "") if area_rule == "unit_steps" else (1, "%")
    more: dict[str, Any] = {"better": "lower", "range": (0, top), "unit": unit, "role": "headline"}
    return (
        mean_score("pixel_flipping", "pixel flipping", **more),
        curve_score(
            "pixel_flipping_curve",
            "pixel flipping curve",
            abscissae,
            better="lower",
            range=(0, 1),
            role="compared",
            area="pixel_flipping",
        ),
        mean_score("tie_share", "pixels that share their value with another", role="detail"),
    )
