"""Differences that float64's rounding alone makes: 0.15 - 0.10 and 0.10 - 0.05 are equal, though it says otherwise."""

from __future__ import annotations

import numpy as np

_SHARE = 2.0**-44
"""By which share of themselves values may be off, whatever score they are of: sums of some hundred float64 are."""

_STORED = 4
"""Of the values that narrower floats can hold, how many steps: two of rounding, and as much for what made them."""


def slack_of(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(n,) how far the difference of two values may be off, more for those that are float32 or float16."""
    share = max([_SHARE, *(_STORED * np.finfo(kind).eps for kind in (ours.dtype, theirs.dtype) if kind.kind == "f")])
    return share * np.maximum(np.abs(ours), np.abs(theirs)).astype(np.float64)


def difference_of(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(n,) ours - theirs; 0 where rounding alone tells them apart, NaN where one is not finite."""
    with np.errstate(invalid="ignore"):
        difference = np.subtract(ours, theirs, dtype=np.float64)
        return np.where(np.abs(difference) <= slack_of(ours, theirs), 0.0, difference)
