"""Insertion and deletion (RISE, Petsiuk et al., BMVC 2018): put pixels in, or take them out, by relevance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from xkd_eval.evaluations.areas import area
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.drawing import summary_curves
from xkd_eval.evaluations.insertion_deletion.options import DIRECTIONS, PRESETS, Direction, InsertionDeletionOptions
from xkd_eval.evaluations.insertion_deletion.protocol import (
    InsertionDeletionProtocol,
    insertion_deletion_protocol,
    pixel_counts,
    shares,
)
from xkd_eval.evaluations.means import curve_score, mean_score
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.ranks import is_degenerate, removal_order, upsample
from xkd_eval.evaluations.removal import answer_values, fill_image, logit_notes, masked_answers
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve


class InsertionDeletionTest(Evaluation):
    """Areas under the curves of a class's probability while pixels are inserted or deleted, most relevant ones first.

    Args:
        protocol: the rules.
        directions: which of the two to run.
    """

    name = "insertion_deletion"
    title = "Insertion and deletion"
    citation = "Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018"
    question = "Does the class's probability rise fast as the most relevant pixels appear, and fall fast as they go?"
    cost = "57; torch-cam 40, xplique 20, latec 2007"
    takes_label_sets = True
    is_core = True
    forwards_again = True
    in_comparisons = False
    about = (
        "Insertion and deletion move more with the steps and with what replaces a pixel than many methods differ: "
        "compare them under one preset alone."
    )
    curve_caption = (
        "Probability of the explained class while the most relevant pixels are inserted into a substrate, or deleted "
        "from the image; bands are 95 % intervals."
    )
    figure_names = ("insertion_deletion_curves",)
    presets = PRESETS
    Options = InsertionDeletionOptions
    Protocol = InsertionDeletionProtocol
    protocol: InsertionDeletionProtocol

    def __init__(self, protocol: InsertionDeletionProtocol, directions: tuple[Direction, ...] = DIRECTIONS) -> None:
        super().__init__(protocol)
        self.directions = directions

    @classmethod
    def create(cls, rules: Rules, options: InsertionDeletionOptions) -> Self:
        """See Evaluation.create."""
        return cls(insertion_deletion_protocol(rules, options), options.directions)

    @classmethod
    def from_description(cls, protocol: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:
        """See Evaluation.from_description."""
        return cls(cls.Protocol.from_dict(protocol), tuple(settings["directions"]))

    def settings(self) -> dict[str, Any]:
        """See Evaluation.settings."""
        return {"directions": list(self.directions)}

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. A curve holds one value a point, in the order of the steps."""
        size = self.scored_size(batch.preprocess)
        maps = upsample(batch.required_maps(), size)
        ranks, tie_share = removal_order(size, self.protocol.tie_seed, maps.device).descending(maps)
        counts = pixel_counts(self.protocol, size)
        columns = {"degenerate": is_degenerate(maps).cpu().numpy(), "tie_share": tie_share.cpu().numpy()}
        for direction, curve in self._curves(batch, ranks, counts).items():
            values = curve.cpu().numpy()
            columns[f"{direction}_curve"] = values
            columns[direction] = area(self.protocol.area, values, np.array(counts) / math.prod(size))
        return columns

    def _curves(self, batch: Batch, ranks: Tensor, counts: list[int]) -> dict[Direction, Tensor]:
        """(B, n) answers a direction; no image is made whose answer is known."""
        rules, clean, whole = self.protocol, self._answers(batch.logits, batch.target), ranks[0].numel()
        curves = {}
        empty: dict[int, Tensor] = {}
        if "deletion" in self.directions:
            fill = fill_image(batch.pixels, batch.preprocess, rules.deletion_to)
            curve = self._curve(batch, batch.images, fill, ranks, counts, {0: clean})
            if rules.deletion_to == rules.insertion_from and counts[-1] == whole:
                empty[0] = curve[:, -1]
            curves["deletion"] = curve
        if "insertion" in self.directions:
            substrate = fill_image(batch.pixels, batch.preprocess, rules.insertion_from).expand_as(batch.images)
            curves["insertion"] = self._curve(batch, substrate, batch.images, ranks, counts, {**empty, whole: clean})
        return {direction: curves[direction] for direction in self.directions}

    def _curve(
        self, batch: Batch, start: Tensor, end: Tensor, ranks: Tensor, counts: list[int], known: dict[int, Tensor]
    ) -> Tensor:
        """(B, n) answers while `start` becomes `end`; `known` are those of some counts of pixels."""
        due = [count for count in counts if count not in known]
        found = dict(known)
        if due:
            asked, rules = (batch.network, batch.target), self.protocol
            made = masked_answers(start, end, ranks, due, *asked, rules.answer, rules.probability)
            found |= dict(zip(due, made.unbind(1), strict=True))
        return torch.stack([found[count] for count in counts], 1)

    def _answers(self, logits: Tensor, classes: Tensor) -> Tensor:
        return answer_values(logits, classes, self.protocol.answer, self.protocol.probability)

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _specs(self.directions, shares(self.protocol), self.protocol.answer)

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        return {**super().extras(rows), "answer": self.protocol.answer}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        return [*super().notes(summary), *logit_notes(self.protocol.answer)]

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality: insertion minus deletion, or one of them where only that is run."""
        signs = {"insertion": 1.0, "deletion": -1.0}
        return sum((signs[direction] * rows[direction] for direction in self.directions), np.zeros(()))

    def curve_figure(self, curves: Mapping[str, Sequence[Curve]], num_classes: int | None) -> Figure | None:
        """See Evaluation.curve_figure. Logits, which are no percentages, are not drawn."""
        from xkd_eval.figures.curves import removal_curves

        if not curves or self.protocol.answer != "probability":
            return None
        return removal_curves({_TITLES[name]: list(found) for name, found in curves.items()})

    def figures(self, name: str, summary: Mapping[str, Any], rows: StoredColumns) -> dict[str, Figure]:
        """See Evaluation.figures."""
        figure = self.curve_figure(summary_curves(self, name, summary), None)
        return {} if figure is None else {"insertion_deletion_curves": figure}


_TITLES = {
    "insertion_curve": "Insertion (higher is better)",
    "deletion_curve": "Deletion (lower is better)",
}


@lru_cache(maxsize=32)
def _specs(directions: tuple[Direction, ...], x: tuple[float, ...], answer: str) -> tuple[ScoreSpec, ...]:
    def each(direction: Direction) -> Iterator[ScoreSpec]:
        better: Any = "higher" if direction == "insertion" else "lower"
        bounds = {"range": (0, 1)} if answer == "probability" else {"unit": ""}
        shown: dict[str, Any] = {"better": better, **bounds}
        yield mean_score(direction, f"{direction} AUC", role="headline", **shown)
        yield curve_score(f"{direction}_curve", f"{direction} curve", x, area=direction, role="compared", **shown)

    ties = mean_score("tie_share", "pixels that share their value with another", role="detail")
    return (*(spec for direction in directions for spec in each(direction)), ties)
