"""By which correlation a map is judged, and that over images from means over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from xkd_eval.statistics.correlation import pearson, spearman

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
