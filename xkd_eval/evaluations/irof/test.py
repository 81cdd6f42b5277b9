"""IROF (Rieger and Hansen, 2020): superpixels are removed by relevance, the area over the curve is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from torch import Tensor

from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.drawing import summary_curves
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.infills import settled_infill
from xkd_eval.evaluations.irof.options import IrofOptions
from xkd_eval.evaluations.irof.protocol import IrofProtocol, irof_protocol
from xkd_eval.evaluations.irof.segments import segment_ranks, superpixels
from xkd_eval.evaluations.means import curve_score, defined_columns, mean_score
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.removal import answer_values, masked_answers
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve

_POINTS = tuple(point / 20 for point in range(21))
"""Shares of the segments at which curves of images with different numbers of them are averaged."""
_PANEL = "Most relevant first (lower is better)"


class IrofTest(Evaluation):
    """Area over the curve of the class's probability, relative to the clean one, while superpixels are removed.

    Args:
        protocol: the rules.
    """

    name = "irof"
    title = "IROF"
    citation = "Rieger and Hansen, IROF: a low resource evaluation metric for explanation methods, 2020"
    question = "How much of the class's probability is lost, on average, while the most relevant superpixels go?"
    cost = "1 + one a superpixel (about 80)"
    takes_label_sets = True
    forwards_again = True
    in_comparisons = False
    about = (
        "1 minus the area under p / p of the clean image over the share of superpixels removed; below 0 where removal "
        "raises the probability."
    )
    curve_caption = "Probability relative to the clean image's while superpixels are removed; 95 % intervals."
    figure_names = ("irof",)
    Options = IrofOptions
    Protocol = IrofProtocol
    protocol: IrofProtocol

    @classmethod
    def create(cls, rules: Rules, options: IrofOptions) -> Self:
        """See Evaluation.create."""
        return cls(irof_protocol(rules, options))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. `irof` is NaN where the clean probability is 0; its curve has 21 points."""
        rules, size = self.protocol, self.scored_size(batch.preprocess)
        maps, degenerate = in_form(batch.required_maps(), rules.form, size, rules.tie_seed)
        clean = answer_values(batch.logits, batch.target, by=rules.probability).cpu().numpy()
        fills = settled_infill(batch, rules.infill)
        areas, curves, counts = [], [], []
        for place, relevance in enumerate(maps):
            segments = superpixels(batch.pixels[place], rules.segments, rules.compactness)
            ranks = segment_ranks(relevance, segments, rules.tie_seed)
            ratios = _ratios(batch, place, fills, ranks[None], clean[place], rules.probability)
            shares = np.linspace(0, 1, len(ratios))
            areas.append(1 - np.trapezoid(ratios, shares))
            curves.append(np.interp(_POINTS, shares, ratios))
            counts.append(len(ratios) - 1)
        return {
            "degenerate": degenerate.cpu().numpy(),
            "segments": np.array(counts),
            "irof": np.array(areas),
            "irof_curve": np.stack(curves),
        }

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        return defined_columns(rows, ("irof", "irof_curve"))

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _SPECS

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        return {"segments_an_image": float(rows["segments"].mean())}

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality."""
        return rows["irof"]

    def curve_figure(self, curves: Mapping[str, Sequence[Curve]], num_classes: int | None) -> Figure | None:
        """See Evaluation.curve_figure."""
        from xkd_eval.figures.curves import removal_curves

        drawn = curves.get("irof_curve")
        labels = ("Superpixels removed (%)", "Probability (% of the clean one)")
        return removal_curves({_PANEL: drawn}, *labels, "IROF") if drawn else None

    def figures(self, name: str, summary: Mapping[str, Any], rows: StoredColumns) -> dict[str, Figure]:
        """See Evaluation.figures."""
        figure = self.curve_figure(summary_curves(self, name, summary), None)
        return {} if figure is None else {"irof": figure}


def _ratios(batch: Batch, place: int, fills: Tensor, ranks: Tensor, clean: float, by: str) -> np.ndarray:
    """(1 + segments,) the class's probability over the clean one, from the clean image on, of one image of a batch."""
    one = slice(place, place + 1)
    removed = list(range(1, int(ranks.max()) + 2))
    answers = masked_answers(batch.images[one], fills[one], ranks, removed, batch.network, batch.target[one], by=by)
    left = answers[0].cpu().numpy()
    return np.array([1.0, *(left / clean)]) if clean > 0 else np.full(len(left) + 1, np.nan)


_SPECS = (
    mean_score("irof", "IROF", better="higher", range=(None, 1), role="headline"),
    curve_score("irof_curve", "IROF curve", _POINTS, better="lower", role="compared", area="irof"),
)
