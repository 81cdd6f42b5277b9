"""The perturbation test where a photograph may hold several classes: mAP, and the explained class's own probability."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.means import mean_score
from xkd_eval.evaluations.perturbation.options import DIRECTIONS, Direction
from xkd_eval.evaluations.perturbation.protocol import area_under_curve
from xkd_eval.evaluations.perturbation.ranking import map_values
from xkd_eval.evaluations.removal import answer_values
from xkd_eval.evaluations.scores import PHOTOGRAPH, Columns, Role, ScoreSpec
from xkd_eval.statistics.bootstrap import Means


def label_outcomes(prefix: str, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Per image (and mask) of logits (B, F, K): the target's probability and logit, and all logits (B, F K)."""
    index = target[:, None, None].expand(-1, logits.shape[1], 1)
    outcomes = {
        f"{prefix}_probability": answer_values(logits, target, by="sigmoid").float(),
        f"{prefix}_logit": logits.gather(2, index)[..., 0],
    }
    outcomes = {name: values[:, 0] if prefix == "clean" else values for name, values in outcomes.items()}
    return outcomes | {f"{prefix}_logits": logits.flatten(1)}


def held_classes(batch: Batch) -> Tensor:
    """(B, K) booleans: what each photograph holds; its label alone in a set of one class a photograph."""
    if batch.held is not None:
        return batch.held
    return torch.nn.functional.one_hot(batch.target, batch.logits.shape[1]).bool()


def label_columns(rows: Columns, directions: tuple[Direction, ...]) -> Columns:
    """For `Evaluation.columns`: of the logits, which are none an image, what each image makes of the mAP of a step."""
    photographs = rows.get(PHOTOGRAPH, np.arange(len(rows["target"])))
    held, target = rows["held"].astype(bool), rows["target"]

    def values(logits: np.ndarray) -> np.ndarray:
        return map_values(logits, held, target, photographs)

    kept = [f"{name}_probability" for name in ("clean", *directions)]
    columns = {name: rows[name] for name in ("tie_share", "degenerate", *kept)}
    columns["clean_map"] = values(rows["clean_logits"])
    for direction in directions:
        steps = rows[f"{direction}_logits"].reshape(len(target), -1, held.shape[1])
        columns[f"{direction}_map"] = np.stack([values(steps[:, step]) for step in range(steps.shape[1])], 1)
    return columns


@lru_cache(maxsize=32)
def label_specs(directions: tuple[Direction, ...], fractions: tuple[float, ...]) -> tuple[ScoreSpec, ...]:
    """The scores; those of probabilities are called as where a photograph holds one class."""
    clean = ScoreSpec(
        "clean_map",
        "mAP",
        lambda means: means["clean_map"],
        better="higher",
        role="headline",
        range=(0, 1),
        of_maps=False,
    )
    ties = mean_score("tie_share", "pixels that share their value with another", role="detail")
    both = set(directions) == set(DIRECTIONS)
    role: Role = "shown" if both else "headline"
    areas = [spec for direction in directions for spec in _direction_specs(direction, fractions, role)]
    return (clean, *(_between_specs(fractions) if both else ()), *areas, ties)


def _between_specs(fractions: tuple[float, ...]) -> Iterator[ScoreSpec]:
    """The negative areas less the positive ones."""

    def area(means: Means, outcome: str) -> np.ndarray:
        # The clean images are both curves' first point.
        curve = means[f"negative_{outcome}"] - means[f"positive_{outcome}"]
        return area_under_curve(np.concatenate([np.zeros((len(curve), 1)), curve], axis=1), fractions)

    shown: dict[str, Any] = {"better": "higher", "role": "headline", "note": "negative less positive"}
    yield ScoreSpec(
        "between.map_auc_relative",
        "area between the curves of mAP / (range x clean)",
        lambda means: area(means, "map") / (fractions[-1] * means["clean_map"]),
        **shown,
    )
    yield ScoreSpec(
        "between.probability_auc",
        "area between the curves of the probability",
        lambda means: area(means, "probability"),
        range=(-fractions[-1], fractions[-1]),
        per_image=lambda rows: area(
            {name: column.astype(np.float64) for name, column in rows.items() if name.endswith("_probability")},
            "probability",
        ),
        **shown,
    )


def _direction_specs(direction: Direction, fractions: tuple[float, ...], role: Role) -> Iterator[ScoreSpec]:
    better: Any = "lower" if direction == "positive" else "higher"
    shown: dict[str, Any] = {"better": better}
    points: dict[str, Any] = {"better": better, "x": (0.0, *fractions)}

    def curve(means: Means, outcome: str) -> np.ndarray:
        return np.concatenate([means[f"clean_{outcome}"][:, None], means[f"{direction}_{outcome}"]], axis=1)

    def area(means: Means, outcome: str) -> np.ndarray:
        return area_under_curve(curve(means, outcome), fractions)

    yield ScoreSpec(
        f"{direction}.map_auc",
        f"{direction} AUC of mAP",
        lambda means: area(means, "map"),
        range=(0, fractions[-1]),
        **shown,
    )
    yield ScoreSpec(
        f"{direction}.map_auc_relative",
        f"{direction} AUC of mAP / (range x clean)",
        lambda means: area(means, "map") / (fractions[-1] * means["clean_map"]),
        range=(0, None),
        role=role,  # which classes are found in the clean photographs must not decide whose maps are better
        **shown,
    )
    yield ScoreSpec(
        f"{direction}.probability_auc",
        f"{direction} AUC of the probability",
        lambda means: area(means, "probability"),
        range=(0, fractions[-1]),
        role=role,
        per_image=lambda rows: area(
            {name: column.astype(np.float64) for name, column in rows.items() if name.endswith("_probability")},
            "probability",
        ),
        **shown,
    )
    yield ScoreSpec(
        f"{direction}.map_curve",
        f"{direction} curve of mAP",
        lambda means: curve(means, "map"),
        role="compared",
        area=f"{direction}.map_auc",
        **points,
    )
    yield ScoreSpec(
        f"{direction}.probability_curve",
        f"{direction} curve of the probability",
        lambda means: curve(means, "probability"),
        role="detail",
        **points,
    )
