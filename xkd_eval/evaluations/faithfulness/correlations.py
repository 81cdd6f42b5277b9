"""Correlations of two lists of numbers, undefined where one of them does not vary."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


def pearson(values: np.ndarray, others: np.ndarray) -> float:
    """(n,) and (n,) -> in [-1, 1]; NaN where either is constant."""
    if values.min() == values.max() or others.min() == others.max():
        return float("nan")
    first, second = values - values.mean(), others - others.mean()
    first, second = first / np.abs(first).max(), second / np.abs(second).max()
    return float(np.clip((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()), -1, 1))


def spearman(values: np.ndarray, others: np.ndarray) -> float:
    """The same of their ranks, equal values sharing the mean of theirs."""
    from scipy.stats import rankdata  # scipy.stats takes a while to import

    return pearson(rankdata(values), rankdata(others))


CORRELATIONS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"pearson": pearson, "spearman": spearman}


def over_images(means: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pearson over images, from means over them.

    Args:
        means: of "x", "y" and of their products "xx", "yy" and "xy": (R, n).

    Returns:
        (R, n), NaN where either does not vary.
    """
    x, y = means["x"], means["y"]
    spreads = (means["xx"] - x**2) * (means["yy"] - y**2)
    with np.errstate(invalid="ignore"):
        return (means["xy"] - x * y) / np.sqrt(np.where(spreads > 0, spreads, np.nan))
