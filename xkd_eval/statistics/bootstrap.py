"""Confidence intervals of scores that are functions of per-image means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

RESAMPLES = 2000

Means = Mapping[str, np.ndarray]
"""Column name -> its mean over the images, with a leading axis of resamples."""

Score = Callable[[Means], np.ndarray]
"""Means -> (R,) or (R, n); a ratio is computed anew in each resample."""


def scores_with_intervals(
    columns: Mapping[str, np.ndarray], scores: Mapping[str, Score], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Each score with its 95 % percentile bootstrap interval over images.

    Args:
        columns: name -> (n,) or (n, m) finite values, one row an image.
        scores: name -> function of the columns' means.
        resamples: bootstrap resamples of the images, shared by all scores.
        seed: of the resampling.

    Returns:
        name -> {"value": float | None, "ci95": [low, high] | None}, or a list of these for a score of n values. None
        where the score is undefined, as a ratio with a zero denominator is.
    """
    means = {name: np.asarray(values, dtype=np.float64).mean(0)[None] for name, values in columns.items()}
    resampled = resampled_means(columns, resamples=resamples, seed=seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: _with_interval(score(means)[0], score(resampled)) for name, score in scores.items()}


def resampled_means(
    columns: Mapping[str, np.ndarray], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, np.ndarray]:
    """Means of every column in each of `resamples` draws of n images with replacement: name -> (R,) or (R, m)."""
    flat = {name: np.asarray(values, dtype=np.float64).reshape(len(values), -1) for name, values in columns.items()}
    matrix = np.concatenate(list(flat.values()), axis=1)
    n = len(matrix)
    generator = np.random.Generator(np.random.PCG64(seed))
    means = np.empty((resamples, matrix.shape[1]))
    # Counts of a block of draws times the matrix: 50,000 images need 40 MB instead of the 4 GB of all draws at once.
    block = max(1, min(resamples, 5_000_000 // n))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        counts = np.stack([np.bincount(generator.integers(0, n, n), minlength=n) for _ in range(size)])
        means[start : start + size] = counts @ matrix / n
    widths = np.cumsum([0, *(values.shape[1] for values in flat.values())])
    return {
        name: means[:, low:high] if np.ndim(columns[name]) == 2 else means[:, low]
        for name, low, high in zip(flat, widths[:-1], widths[1:], strict=True)
    }


def _with_interval(value: np.ndarray, resampled: np.ndarray) -> Any:
    if np.ndim(value):
        return [_with_interval(value[i], resampled[:, i]) for i in range(len(value))]
    if not np.isfinite(value):
        return {"value": None, "ci95": None}
    defined = resampled[np.isfinite(resampled)]
    interval = np.percentile(defined, [2.5, 97.5]).tolist() if len(defined) else None
    return {"value": float(value), "ci95": interval}
