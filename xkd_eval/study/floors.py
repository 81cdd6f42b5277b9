"""Floors that win: a score on which maps that know nothing of the model do better says little of those that do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xkd_eval.evaluations.scores import ScoreSpec
    from xkd_eval.study.result import EvaluationResult

FLOORS = ("random", "centre", "edges", "fake_cam")
"""The explainers that look at no network and at no mask."""

ORACLE = "oracle"
"""The explainer that returns the mask: what finds the object best, which need not be what the model looks at."""

FLAG = "⚑"
"""Marks a score on which a floor is better."""


def better_floors(spec: ScoreSpec, value: float | None, floors: Mapping[str, float | None]) -> list[str]:
    """The floors whose score is strictly better.

    Args:
        spec: of the score; none where neither direction is better, or where it does not depend on maps.
        value: of a model's own maps.
        floors: name -> the same score.
    """
    if not spec.sign or not spec.of_maps or value is None or math.isnan(value):
        return []
    return [
        name
        for name, other in floors.items()
        if other is not None and not math.isnan(other) and spec.sign * (other - value) > 0
    ]


def best_floor(result: EvaluationResult, spec: ScoreSpec) -> tuple[str, float] | None:
    """The best of the maps that know nothing of the model, and its score; None where there is none, or no direction.

    Args:
        result: with its `floors`.
        spec: of a score of its test.
    """
    known = {name: spec.of(floor.summary)["value"] for name, floor in result.floors.items() if name in FLOORS}
    numbers = {name: value for name, value in known.items() if value is not None}
    if not numbers or not spec.of_maps or not spec.sign:
        return None
    best = max(numbers, key=lambda name: spec.sign * numbers[name])
    return best, numbers[best]


def floors_beside(result: EvaluationResult, others: Sequence[EvaluationResult]) -> dict[str, EvaluationResult]:
    """The floors among the results of one test that stand beside a result; none where it is a floor, or the oracle."""
    if result.summary["explainer"]["name"] in (*FLOORS, ORACLE) or not result.test.needs_maps:
        return {}
    return {
        other.maps: other
        for other in others
        if other.model == result.model
        and other.test_name == result.test_name
        and other.summary["explainer"]["name"] in FLOORS
    }
