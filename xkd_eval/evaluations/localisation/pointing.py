"""Does a map point at a region: one map at a time."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.stats import rankdata

from xkd_eval.evaluations.ranks import tie_permutation


def points_at(values: np.ndarray, region: np.ndarray, tolerance: float, peak: str, tie_seed: int) -> bool:
    """Pointing game (Zhang et al., IJCV 2018): whether the maximum is nearer to the region than the tolerance.

    Args:
        values: (H, W).
        region: (H, W) booleans, some of them true.
        tolerance: in pixels; the region meets the open disc of that radius.
        peak: which of equal maxima points, "permutation", "first" or "any".
        tie_seed: of the permutation.
    """
    flat = values.ravel()
    peaks = np.flatnonzero(flat == flat.max())
    if peak == "permutation" and len(peaks) > 1:
        order = tie_permutation(len(flat), tie_seed).numpy()
        peaks = order[np.isin(order, peaks)]
    if peak != "any":
        peaks = peaks[:1]
    if region.ravel()[peaks].any():
        return True
    if len(peaks) > 1:
        return bool((distance_transform_edt(~region).ravel()[peaks] < tolerance).any())
    rows, columns = np.nonzero(region)
    y, x = divmod(int(peaks[0]), values.shape[1])
    return bool(((rows - y) ** 2 + (columns - x) ** 2 < tolerance**2).any())


def energy_within(values: np.ndarray, region: np.ndarray) -> float:
    """Energy pointing game (Wang et al., CVPRW 2020): the region's share of the sum of a map.

    Args:
        values: any shape, within [0, 1].
        region: booleans of that shape.

    Returns:
        Within [0, 1]; NaN of a map of zeros.
    """
    energy = values.astype(np.float64)  # of float32 sums, shares that are equal would be told apart
    total = energy.sum()
    return float(energy[region].sum() / total) if total > 0 else float("nan")


def top_shares(ranks: np.ndarray, region: np.ndarray, top: int) -> tuple[float, float]:
    """How many of the most relevant pixels lie on the region: of as many as it has, and of `top`.

    Args:
        ranks: any shape of integers, 0 the most relevant.
        region: booleans of that shape, some of them true.
        top: pixels.
    """
    own = ranks[region]
    return float((own < len(own)).mean()), float((own < top).sum() / top)


def roc_area(values: np.ndarray, region: np.ndarray) -> float:
    """Area under the ROC curve of the region's pixels against the others, equal values counting half.

    Args:
        values: (n,).
        region: (n,) booleans, some of them true.

    Returns:
        Within [0, 1]; NaN where the region is everything.
    """
    inside = int(region.sum())
    outside = len(region) - inside
    if not outside:
        return float("nan")
    above = rankdata(values)[region].sum() - inside * (inside + 1) / 2
    return float(above / (inside * outside))
