"""Faithfulness: what the map says of a part, against what the answer loses without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.faithfulness.correlations import over_images
from xkd_eval.evaluations.faithfulness.measures import MEASURES
from xkd_eval.evaluations.faithfulness.options import FaithfulnessOptions
from xkd_eval.evaluations.faithfulness.presets import PRESETS
from xkd_eval.evaluations.faithfulness.protocol import FaithfulnessProtocol, faithfulness_protocol
from xkd_eval.evaluations.faithfulness.units import Cells, Units, Values
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.means import curve_score, defined_columns, mean_score
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.ranks import removal_order, tie_permutation
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns
from xkd_eval.wording import counted


class FaithfulnessTest(Evaluation):
    """One of the measures that remove parts of an image and correlate; the preset says which."""

    name = "faithfulness"
    title = "Faithfulness"
    citation = (
        "Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020; Fel et al., NeurIPS "
        "2021 (cells); Alvarez-Melis and Jaakkola, NeurIPS 2018; Ancona et al., ICLR 2018; Arya et al., 2019; Nguyen "
        "and Martinez, 2020"
    )
    question = "Does the answer lose as much without a part of the image as the map says that the part is worth?"
    cost = "1 + 200; estimate, monotonicity 1 + 81; sensitivity-n 1 + 700; monotonicity-correlation 1 + 405"
    takes_label_sets = True
    forwards_again = True
    in_comparisons = False
    about = "Faithfulness is a correlation within each image: it knows no scale, and is undefined where nothing varies."
    presets = PRESETS
    Options = FaithfulnessOptions
    Protocol = FaithfulnessProtocol
    protocol: FaithfulnessProtocol

    def __init__(self, protocol: FaithfulnessProtocol) -> None:
        super().__init__(protocol)
        self.columns_of_all = protocol.measure == "cumulative"  # which is centred over all images

    @classmethod
    def create(cls, rules: Rules, options: FaithfulnessOptions) -> Self:
        """See Evaluation.create."""
        return cls(faithfulness_protocol(rules, options))

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. NaN where no correlation is defined."""
        rules = self.protocol
        size = self.scored_size(batch.preprocess)
        maps, degenerate = in_form(batch.required_maps(), rules.form, size, rules.tie_seed)
        relevance = maps.double().cpu().numpy()
        units: list[Units]
        if rules.units == "cells":
            ties = tie_permutation(rules.groups, rules.tie_seed).numpy()
            units = [Cells(values, rules.groups, ties) for values in relevance]
        else:
            ranks = removal_order(size, rules.tie_seed, maps.device).descending(maps)[0].cpu().numpy()
            channels, both = batch.images.shape[1], zip(relevance, ranks, strict=True)
            units = [Values(values, order, rules.groups, channels) for values, order in both]
        return {"degenerate": degenerate.cpu().numpy(), **MEASURES[rules.measure](batch, units, rules)}

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        if self.protocol.measure != "cumulative":
            return defined_columns(rows, _names(rows))
        x, y = rows["step_drop"], rows["step_relevance"]
        # Centred and scaled, so that means of squares lose nothing by cancellation.
        x, y = ((values - values.mean(0)) / np.maximum(values.std(0), np.finfo(float).tiny) for values in (x, y))
        return {"x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return _specs(self.protocol.measure, self.protocol.removed)

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        return {**super().extras(rows), "undefined_images": _undefined(rows)}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        lost = summary["undefined_images"]
        said = [f"undefined on {counted(lost, 'image')}, where nothing varies that is removed"] if lost else []
        return [*super().notes(summary), *said]


def _names(rows: StoredColumns) -> list[str]:
    """The columns of a measure."""
    return [name for name in rows if name.startswith(("faithfulness_", "sensitivity_n", "monotonicity"))]


def _undefined(rows: StoredColumns) -> int:
    """How many images leave a figure undefined."""
    found = [np.isnan(rows[name].astype(np.float64)).reshape(len(rows[name]), -1).any(1) for name in _names(rows)]
    return int(np.logical_or.reduce(found).sum()) if found else 0


def _score(column: str, title: str, **more: Any) -> ScoreSpec:
    return mean_score(column, title, **{"better": "higher", "range": (-1, 1), "unit": "", "role": "headline"} | more)


def _specs(measure: str, removed: tuple[float, ...]) -> tuple[ScoreSpec, ...]:
    if measure == "correlation":
        return (_score("faithfulness_correlation", "faithfulness correlation"),)
    if measure == "estimate":
        return (_score("faithfulness_estimate", "faithfulness estimate"),)
    if measure == "monotonicity":
        share = {"range": (0, 1), "unit": "%"}
        return (
            _score("monotonicity", "images on which no step lowers the probability", **share),
            _score("monotonicity_steps", "steps that do not lower the probability", **share, role="shown"),
        )
    if measure == "monotonicity_correlation":
        return (_score("monotonicity_correlation", "monotonicity correlation"),)
    curve: dict[str, Any] = {"better": "higher", "unit": "", "role": "compared", "range": (-1, 1)}
    if measure == "sensitivity_n":
        return (
            _score("sensitivity_n", "sensitivity-n, mean over sizes"),
            curve_score("sensitivity_n_curve", "sensitivity-n", removed, **curve),
        )
    return (
        ScoreSpec(
            "sensitivity_n",
            "sensitivity-n over images",
            lambda means: over_images(means).mean(1),
            **curve | {"role": "headline"},
        ),
        ScoreSpec(
            "sensitivity_n_curve",
            "sensitivity-n over images",
            over_images,
            x=removed,
            **curve,
        ),
    )
