"""Do two tests say the same? The rank correlation, over images, of the scores of one study."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from xkd_eval.evaluations.scores import Role, ScoreSpec
from xkd_eval.statistics.correlation import spearman, spearman_bounds
from xkd_eval.study.result import EvaluationResult

COLUMNS = ("model", "maps", "test", "score", "other_test", "other_score", "spearman", "low", "high", "n_images")


def score_agreement(results: Sequence[EvaluationResult], role: Role) -> Iterator[dict[str, Any]]:
    """Every pair of scores of two tests that score some of the same images, of one model under one kind of maps.

    Scores count in the direction in which they are better, so that 1 says that two tests rank the images alike, and -1
    that what one calls a good map the other calls a bad one.

    Args:
        results: one a test.
        role: scores of which at least as much is made, and which are means over images.

    Yields:
        COLUMNS; "spearman" is None where one of the scores is the same for all images that both define, and the bounds
        (95 %, of the normal approximation of Fieller et al., Biometrika 1957) where there are fewer than four.
    """
    values = [(result, spec, _values(result, spec)) for result in results for spec in _compared(result, role)]
    for (first, spec, ours), (second, other, theirs) in combinations(values, 2):
        if first.test_name == second.test_name or set(first.ids).isdisjoint(second.ids):
            continue
        shared = [name for name in ours if name in theirs]
        correlation, (low, high) = _correlation([ours[name] for name in shared], [theirs[name] for name in shared])
        yield {
            "model": first.model,
            "maps": first.maps,
            "test": first.test_name,
            "score": spec.name,
            "other_test": second.test_name,
            "other_score": other.name,
            "spearman": correlation,
            "low": low,
            "high": high,
            "n_images": len(shared),
        }


def _compared(result: EvaluationResult, role: Role) -> list[ScoreSpec]:
    """Scores that depend on the maps, and say which direction is better."""
    specs = result.test.specs()
    return [spec for spec in specs if spec.per_image and spec.sign and spec.of_maps and spec.is_at_least(role)]


def _values(result: EvaluationResult, spec: ScoreSpec) -> dict[str, float]:
    """Image id -> what it is worth, higher better; without those that define nothing."""
    assert spec.per_image is not None
    values = spec.sign * np.asarray(spec.per_image(result.columns), dtype=np.float64)
    return {name: value for name, value in zip(result.ids, values.tolist(), strict=True) if math.isfinite(value)}


def _correlation(ours: list[float], theirs: list[float]) -> tuple[float | None, tuple[float | None, float | None]]:
    """The rank correlation and its bounds, where there are such."""
    correlation = spearman(np.array(ours), np.array(theirs)) if ours else math.nan
    if math.isnan(correlation):
        return None, (None, None)
    return correlation, spearman_bounds(correlation, len(ours)) or (None, None)
