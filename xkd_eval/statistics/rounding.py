"""Differences that float64's rounding alone makes: 0.15 - 0.10 and 0.10 - 0.05 are equal, though it says otherwise."""

from __future__ import annotations

import numpy as np

_SHARE = 2.0**-44
"""By which share of themselves values may be off, whatever score they are of: sums of some hundred float64 are."""


def slack_of(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(n,) how far the difference of two values may be off."""
    return _SHARE * np.maximum(np.abs(ours), np.abs(theirs))


def difference_of(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(n,) ours - theirs; 0 where rounding alone tells them apart, NaN where one is not finite."""
    with np.errstate(invalid="ignore"):
        difference = ours - theirs
        return np.where(np.abs(difference) <= slack_of(ours, theirs), 0.0, difference)
