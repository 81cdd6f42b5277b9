"""Correlations of two lists of numbers, undefined where one of them does not vary."""

from __future__ import annotations

import math

import numpy as np


def pearson(values: np.ndarray, others: np.ndarray) -> float:
    """(n,) and (n,), n > 0 -> in [-1, 1]; NaN where either is constant."""
    if values.min() == values.max() or others.min() == others.max():
        return float("nan")
    first, second = values - values.mean(), others - others.mean()
    first, second = first / np.abs(first).max(), second / np.abs(second).max()
    return float(np.clip((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()), -1, 1))


def spearman(values: np.ndarray, others: np.ndarray) -> float:
    """The same of their ranks, equal values sharing the mean of theirs."""
    from scipy.stats import rankdata  # scipy.stats takes a while to import

    return pearson(rankdata(values), rankdata(others))


def spearman_bounds(correlation: float, n: int) -> tuple[float, float] | None:
    """The 95 % interval of a rank correlation of n pairs, by the approximation of Fieller et al. (Biometrika 1957).

    Returns:
        None where there are fewer than four pairs.
    """
    if n < 4:
        return None
    if abs(correlation) == 1:
        return correlation, correlation
    half = 1.96 * math.sqrt(1.06 / (n - 3))
    return math.tanh(math.atanh(correlation) - half), math.tanh(math.atanh(correlation) + half)
