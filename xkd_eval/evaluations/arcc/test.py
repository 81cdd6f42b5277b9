"""ARCC (arXiv 2605.14641): the harmonic mean of coherency, 1 - complexity and ROAD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch

from xkd_eval.evaluations.adcc.test import coherency_specs
from xkd_eval.evaluations.arcc.options import ArccOptions
from xkd_eval.evaluations.arcc.protocol import PRESETS, ArccProtocol
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.coherency import harmonic_mean, map_and_again
from xkd_eval.evaluations.means import defined_columns, mean_score
from xkd_eval.evaluations.presets import rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.road.protocol import checked_rules
from xkd_eval.evaluations.road.steps import combined, road_steps
from xkd_eval.evaluations.road.test import nothing_left_notes
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns

_EPSILON = 1e-8  # added to each part, as the authors do


class ArccTest(Evaluation):
    """Coherency, complexity and ROAD of each image in one score."""

    name = "arcc"
    title = "ARCC"
    citation = "Average ROAD, coherency and complexity, arXiv 2605.14641, 2026"
    question = "Is the map small, does it explain the image seen through it too, and do its pixels matter to the class?"
    cost = "1 + 4 a direction + E"
    takes_label_sets = True
    forwards_again = True
    explains_again = True
    in_comparisons = False
    about = (
        "The harmonic mean, image by image, of coherency, 1 - complexity and twice ROAD's combined score, cut to 0 to "
        "1. A map that does not depend on the image's pixels is coherent with itself whatever it shows."
    )
    presets = PRESETS
    Options = ArccOptions
    Protocol = ArccProtocol
    protocol: ArccProtocol

    @classmethod
    def create(cls, rules: Rules, options: ArccOptions) -> Self:
        """See Evaluation.create."""
        chosen = checked_rules(rules_of(PRESETS, options))
        return cls(ArccProtocol(**rules.shared(), **chosen, noise_seed=options.noise_seed))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows."""
        size = self.scored_size(batch.preprocess)
        maps, found = map_and_again(batch, self.protocol.form, size, self.protocol.tie_seed)
        steps = road_steps(batch, maps, self.protocol)
        _, _, road = combined(steps.probabilities(batch, self.protocol.probability))
        parts = torch.stack([found.coherency, 1 - found.complexity, (2 * road).clamp(0, 1)])
        columns = {
            "degenerate": found.degenerate,
            "nothing_left": steps.nothing_left,
            "arcc": harmonic_mean(parts + _EPSILON),
            "coherency": found.coherency,
            "complexity": found.complexity,
            "road_combined": road,
        }
        return {name: values.cpu().numpy() for name, values in columns.items()}

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        return defined_columns(rows, [spec.name for spec in self.specs()])

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return (
            mean_score("arcc", "ARCC", better="higher", range=(0, 1), role="headline"),
            *coherency_specs(),
            mean_score("road_combined", "ROAD combined", better="higher", range=(-0.5, 0.5)),
        )

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        return {**super().extras(rows), "nothing_left": int(rows["nothing_left"].sum())}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        return [*super().notes(summary), *nothing_left_notes(summary)]

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality."""
        return rows["arcc"]
