"""Is a map's relevance in few places? Measures of (B, n) values of which none is negative, float64."""

from __future__ import annotations

import numpy as np


def gini_index(values: np.ndarray, epsilon: float = 0.0) -> np.ndarray:
    """Sparseness (Chalasani et al., ICML 2020).

    Args:
        values: (B, n), at least 0.
        epsilon: added to each.

    Returns:
        (B,) in [0, 1 - 1 / n]: 0 where all values are equal, the greatest where a single one is not zero; NaN where
        there is none.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64) + epsilon, axis=1)
    n = ordered.shape[1]
    with np.errstate(invalid="ignore"):
        # Not a matrix product, whose order of adding depends on how many rows there are.
        return (ordered * (2.0 * np.arange(1, n + 1) - n - 1)).sum(1) / (n * ordered.sum(1))


def entropy(values: np.ndarray, epsilon: float = 0.0) -> np.ndarray:
    """Complexity (Bhatt et al., IJCAI 2020): the entropy of the values as shares of their sum, in nats.

    Args:
        values: (B, n), at least 0.
        epsilon: added to each share within the logarithm.

    Returns:
        (B,) in [0, ln n]; NaN where all values are zero.
    """
    values = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        shares = values / values.sum(1, keepdims=True)
    # A share of nothing adds nothing: the limit of x ln x.
    logarithms = np.log(shares + epsilon, out=np.zeros_like(shares), where=shares > 0)
    return np.where(np.isnan(shares[:, 0]), np.nan, 0.0 - (shares * logarithms).sum(1))


def effective_count(values: np.ndarray, threshold: float) -> np.ndarray:
    """(B,) how many of the values are above a threshold."""
    return (np.asarray(values) > threshold).sum(1)
