"""Linear centred kernel alignment of two models' features, debiased (Kornblith et al., ICML 2019), as means of images.

The Hilbert-Schmidt independence criterion's unbiased estimator (Song et al., JMLR 2012) is a U-statistic, so it is the
mean of its jackknife pseudo-values, one an image. CKA is then a function of three means over images, which the
bootstrap over images can draw; and for linear kernels each pseudo-value has a closed form without an n x n matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

FEWEST = 5
"""The estimator takes four images, and one must be left out."""

BETWEEN, OURS, THEIRS = "hsic_between", "hsic_own", "hsic_reference"

_CONSTANT = 1e-18  # of the mean square: less spread than this is what float64 makes of equal features


@dataclass(frozen=True)
class _Side:
    """Features (n, C), centred, and of their kernel without its diagonal: row sums (n,); the diagonal (n,)."""

    features: np.ndarray
    rows: np.ndarray
    diagonal: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> _Side:
        centred = features - features.mean(0)
        spread = (centred**2).sum(1).mean()
        # CKA knows no scale: one is taken at which nothing overflows.
        known = spread > _CONSTANT * (features**2).sum(1).mean()
        centred = centred / np.sqrt(spread) if known else np.zeros_like(centred)
        diagonal = (centred**2).sum(1)
        return cls(centred, centred @ centred.sum(0) - diagonal, diagonal)

    def products(self, values: np.ndarray) -> np.ndarray:
        """The kernel without its diagonal, times (n,) values."""
        return self.features @ (self.features.T @ values) - self.diagonal * values


def hsic_columns(features: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
    """Pseudo-values of HSIC between two models' features, and of each with itself.

    Args:
        features, others: (n, C) and (n, C') finite, of the same images; widths may differ.

    Returns:
        BETWEEN, OURS, THEIRS -> (n,) float64, whose means are the unbiased estimates, at one scale. None of fewer than
        FEWEST images.
    """
    if len(features) < FEWEST:
        return {}
    ours, theirs = _Side.of(features), _Side.of(others)
    return {
        BETWEEN: _pseudo_values(ours, theirs),
        OURS: _pseudo_values(ours, ours),
        THEIRS: _pseudo_values(theirs, theirs),
    }


def alignment(means: Mapping[str, np.ndarray]) -> np.ndarray:
    """CKA (R,) of the means of `hsic_columns`, in [-1, 1]; NaN where a side is constant, or the columns are absent."""
    if BETWEEN not in means:
        return np.full(len(next(iter(means.values()))), np.nan)
    between, ours, theirs = (np.asarray(means[name]) for name in (BETWEEN, OURS, THEIRS))
    defined = (ours > 0) & (theirs > 0)
    found = between / np.sqrt(np.where(defined, ours * theirs, np.nan))
    return np.clip(found, -1, 1)  # a draw of pseudo-values may pass what no draw of images does


def _pseudo_values(ours: _Side, theirs: _Side) -> np.ndarray:
    n = len(ours.rows)
    # Sums over j other than i of products of the two kernels' entries (i, j).
    both = ((ours.features @ (ours.features.T @ theirs.features)) * theirs.features).sum(1)
    both -= ours.diagonal * theirs.diagonal
    crossed = ours.rows * theirs.rows
    whole = _hsic(both.sum(), ours.rows.sum(), theirs.rows.sum(), crossed.sum(), n)
    without = _hsic(
        both.sum() - 2 * both,
        ours.rows.sum() - 2 * ours.rows,
        theirs.rows.sum() - 2 * theirs.rows,
        crossed.sum() - crossed - ours.products(theirs.rows) - theirs.products(ours.rows) + both,
        n - 1,
    )
    return n * whole - (n - 1) * without


def _hsic(both: np.ndarray, ours: np.ndarray, theirs: np.ndarray, crossed: np.ndarray, n: int) -> np.ndarray:
    """The unbiased estimate from sums over kernels without diagonal: of products, of each, and of products of rows."""
    return (both + ours * theirs / ((n - 1) * (n - 2)) - 2 * crossed / (n - 2)) / (n * (n - 3))
