"""Positive and negative perturbation test (Chefer et al., CVPR 2021): remove pixels by relevance, classify again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.drawing import summary_curves
from xkd_eval.evaluations.fractions import removed_pixels
from xkd_eval.evaluations.perturbation.label_sets import held_classes, label_columns, label_outcomes, label_specs
from xkd_eval.evaluations.perturbation.options import DIRECTIONS, Direction, PerturbationOptions
from xkd_eval.evaluations.perturbation.protocol import (
    PerturbationProtocol,
    area_under_curve,
    perturbation_protocol,
)
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.ranks import is_degenerate, removal_order, upsample
from xkd_eval.evaluations.removal import fill_image, masked_logits
from xkd_eval.evaluations.scores import Columns, Role, ScoreSpec, StoredColumns
from xkd_eval.statistics.bootstrap import Means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve


class PerturbationTest(Evaluation):
    """Top-1 accuracy while the most relevant ("positive") or the least relevant ("negative") pixels are removed; where
    a photograph may hold several classes, which the protocol's `probability` says, mAP.

    Args:
        protocol: the rules.
        directions: which of the two to run.
    """

    name = "perturbation"
    title = "Perturbation test"
    citation = "Chefer et al., Transformer Interpretability Beyond Attention Visualization, CVPR 2021"
    question = "Does the model fail sooner where the most relevant pixels are blackened than where the least are?"
    cost = "1 + 9 a direction"
    takes_label_sets = True
    needs_labels = True
    forwards_again = True
    crosses = True
    about: str = (
        "AUC is the trapezoid over the share of pixels removed. It grows with accuracy, so a broken model has a good "
        "positive one: compare models by the area between the curves, negative less positive, where all are right."
    )
    curve_caption: str = (
        "Accuracy while the most relevant (positive) or the least relevant (negative) pixels are removed; "
        "bands are 95 % intervals."
    )
    figure_names = ("perturbation_curves",)
    Options = PerturbationOptions
    Protocol = PerturbationProtocol
    protocol: PerturbationProtocol

    def __init__(self, protocol: PerturbationProtocol, directions: tuple[Direction, ...] = DIRECTIONS) -> None:
        super().__init__(protocol)
        self.directions = directions
        self._of_label_sets = protocol.probability == "sigmoid"
        if self._of_label_sets:
            self.columns_of_all = True  # a mean average precision ranks all images
            self.about, self.curve_caption = _ABOUT_LABEL_SETS, _CAPTION_OF_LABEL_SETS

    @classmethod
    def create(cls, rules: Rules, options: PerturbationOptions) -> Self:
        """See Evaluation.create."""
        return cls(perturbation_protocol(rules, options), options.directions)

    @classmethod
    def from_description(cls, protocol: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:
        """See Evaluation.from_description."""
        return cls(cls.Protocol.from_dict(protocol), tuple(settings["directions"]))

    def settings(self) -> dict[str, Any]:
        """See Evaluation.settings."""
        return {"directions": list(self.directions)}

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. Lists hold one value a fraction, in the order of the protocol's fractions."""
        size = self.scored_size(batch.preprocess)
        order = removal_order(size, self.protocol.tie_seed, batch.images.device)
        maps = upsample(batch.required_maps(), size)
        descending, tie_share = order.descending(maps)
        columns: dict[str, Tensor] = {
            "degenerate": is_degenerate(maps),
            "tie_share": tie_share,
            **self._outcomes("clean", batch.logits[:, None], batch),
        }
        if self._of_label_sets:
            columns["held"] = held_classes(batch)
        fill = fill_image(batch.pixels, batch.preprocess, self.protocol.fill)
        removed = removed_pixels(self.protocol.fractions, size)
        for direction in self.directions:
            ranks = descending if direction == "positive" else order.ascending(maps)
            logits = masked_logits(batch.images, fill, ranks, removed, batch.network)
            columns.update(self._outcomes(direction, logits, batch))
        return {name: values.cpu().numpy() for name, values in columns.items()}

    def _outcomes(self, prefix: str, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        if self._of_label_sets:
            return label_outcomes(prefix, logits, batch.target)
        return _outcomes(prefix, logits, batch.labels, batch.target)

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        return label_columns(rows, self.directions) if self._of_label_sets else super().columns(rows)

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        specs = label_specs if self._of_label_sets else _specs
        return specs(self.directions, self.protocol.fractions)

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        return {"fractions": [0.0, *self.protocol.fractions]}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        return [f"ties: {100 * summary['tie_share']['value']:.1f} % of the pixels share their value with another"]

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality.

        The target's mean probability while irrelevant pixels go, minus while relevant ones go (one direction alone
        where only that is run).
        """
        signs = {"positive": -1.0, "negative": 1.0}
        return sum(
            (signs[direction] * rows[f"{direction}_probability"].mean(1) for direction in self.directions), np.zeros(())
        )

    def curve_figure(self, curves: Mapping[str, Sequence[Curve]], num_classes: int | None) -> Figure | None:
        """See Evaluation.curve_figure."""
        from xkd_eval.figures.curves import perturbation_curves

        drawn = {name.partition(".")[0]: list(found) for name, found in curves.items()}
        if not drawn:
            return None
        return (
            perturbation_curves(drawn, None, "mAP") if self._of_label_sets else perturbation_curves(drawn, num_classes)
        )

    def figures(self, name: str, summary: Mapping[str, Any], rows: StoredColumns) -> dict[str, Figure]:
        """See Evaluation.figures."""
        figure = self.curve_figure(summary_curves(self, name, summary), summary["model"]["num_classes"])
        return {} if figure is None else {"perturbation_curves": figure}


_ABOUT_LABEL_SETS = (
    "Each label of a photograph is explained, and its pixels are removed. mAP ranks, class by class, the images that "
    "explain it against the photographs without it; the probability is the explained class's own. Areas are "
    "trapezoids over the share of pixels removed, and grow with the clean ones: compare models by the relative one."
)
_CAPTION_OF_LABEL_SETS = (
    "Mean average precision while the pixels that are most (positive) or least relevant (negative) to each label are "
    "removed; bands are 95 % intervals."
)


def _outcomes(prefix: str, logits: Tensor, labels: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Per image (and mask) of logits (B, F, K): hit, probability and logit of the target class, log ratio.

    The log ratio is that of the true class to the best other one. With F = 1, as for the clean images, (B,) tensors.
    """
    target_index = target[:, None, None].expand(-1, logits.shape[1], 1)
    label_index = labels[:, None, None].expand_as(target_index)
    label_logit = logits.gather(2, label_index)[..., 0]
    # Of a single class there is no other: NaN, as the ratio is undefined.
    best_other = logits.scatter(2, label_index, -torch.inf if logits.shape[2] > 1 else torch.nan).amax(2)
    outcomes = {
        f"{prefix}_hit": logits.argmax(2) == labels[:, None],
        f"{prefix}_probability": logits.softmax(2).gather(2, target_index)[..., 0],
        f"{prefix}_logit": logits.gather(2, target_index)[..., 0],
        f"{prefix}_log_ratio": label_logit - best_other,
    }
    return {name: values[:, 0] if prefix == "clean" else values for name, values in outcomes.items()}


@lru_cache(maxsize=32)
def _specs(directions: tuple[Direction, ...], fractions: tuple[float, ...]) -> tuple[ScoreSpec, ...]:
    accuracy = ScoreSpec(
        "clean_accuracy",
        "accuracy",
        lambda means: means["clean_hit"],
        better="higher",
        role="headline",
        range=(0, 1),
        per_image=lambda rows: rows["clean_hit"].astype(bool),
        of_maps=False,
    )
    ties = ScoreSpec(
        "tie_share",
        "pixels that share their value with another",
        lambda means: means["tie_share"],
        role="detail",
        per_image=lambda rows: rows["tie_share"],
    )
    both = set(directions) == set(DIRECTIONS)
    areas = [list(_direction_specs(direction, fractions, "shown" if both else "headline")) for direction in directions]
    between = [_between(fractions)] if both else []
    return (accuracy, *between, *(spec for specs in areas for spec in specs), ties)


def _between(fractions: tuple[float, ...]) -> ScoreSpec:
    """The negative area less the positive one: a model that answers wrongly has neither, and gains nothing by it."""

    def area(means: Means) -> np.ndarray:
        # The clean accuracy is both curves' first point.
        curve = means["negative_hit"] - means["positive_hit"]
        return area_under_curve(np.concatenate([np.zeros((len(curve), 1)), curve], axis=1), fractions)

    return ScoreSpec(
        "between.auc",
        "area between the curves",
        area,
        better="higher",
        range=(-fractions[-1], fractions[-1]),
        role="headline",
        per_image=lambda rows: area({name: rows[name].astype(np.float64) for name in ("negative_hit", "positive_hit")}),
        note="negative less positive AUC",
        where_right=True,
    )


def _direction_specs(direction: Direction, fractions: tuple[float, ...], role: Role) -> Iterator[ScoreSpec]:
    better: Any = "lower" if direction == "positive" else "higher"
    x = (0.0, *fractions)

    def curve(means: Means, outcome: str = "hit") -> np.ndarray:
        return np.concatenate([means[f"clean_{outcome}"][:, None], means[f"{direction}_{outcome}"]], axis=1)

    def area(means: Means, outcome: str = "hit") -> np.ndarray:
        return area_under_curve(curve(means, outcome), fractions)

    def per_image(outcome: str, rows: Columns) -> np.ndarray:
        values = {name: column.astype(np.float64) for name, column in rows.items() if name.endswith(outcome)}
        return area(values, outcome)

    yield ScoreSpec(
        f"{direction}.auc",
        f"{direction} AUC",
        area,
        better=better,
        range=(0, fractions[-1]),
        role=role,
        per_image=lambda rows: per_image("hit", rows),
        where_right=True,
    )
    yield ScoreSpec(
        f"{direction}.auc_relative",
        f"{direction} AUC / (range x clean)",
        lambda means: area(means) / (fractions[-1] * means["clean_hit"]),
        better=better,
        range=(0, None),
    )
    yield ScoreSpec(
        f"{direction}.probability_auc",
        f"{direction} AUC of the probability",
        lambda means: area(means, "probability"),
        better=better,
        range=(0, fractions[-1]),
        role="compared",
        per_image=lambda rows: per_image("probability", rows),
    )
    yield ScoreSpec(
        f"{direction}.curve", f"{direction} curve", curve, better=better, role="compared", x=x, area=f"{direction}.auc"
    )
    yield ScoreSpec(
        f"{direction}.probability_curve",
        f"{direction} curve of the probability",
        lambda means: curve(means, "probability"),
        better=better,
        role="detail",
        x=x,
    )
    yield ScoreSpec(
        f"{direction}.log_ratio_curve",
        f"{direction} curve of the log ratio",
        lambda means: curve(means, "log_ratio"),
        better=better,
        unit="",
        role="detail",
        x=x,
    )
