"""An interval from bootstrap draws: bias-corrected and accelerated, or the draws' own quantiles."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
"""Of an interval, unless it is said otherwise."""


@dataclass(frozen=True)
class Interval:
    """A value with its interval; all None where the score is undefined, the bounds where its spread is not known."""

    value: float | None
    low: float | None
    high: float | None


def corrected_level(comparisons: int, level: float = LEVEL) -> float:
    """Of intervals of which all together hold the truth at `level` (Bonferroni)."""
    return 1 - (1 - level) / max(comparisons, 1)


def widened(plain: Interval, corrected: Interval, level: float, freedom: int | None = None) -> Interval:
    """An interval at a higher level, no narrower than a normal distribution makes of the 95 % one, or Student's.

    The draws know their own tails badly: of 2,000 two lie beyond the bounds of twenty-five comparisons, and of three
    training seeds there are few means to be drawn at all.

    Args:
        plain: at `LEVEL`.
        corrected: of the same draws at `level`.
        level: of the latter.
        freedom: degrees of freedom of the seeds' spread, for Student's distribution; None of single seeds.
    """
    if plain.value is None or plain.low is None or plain.high is None:
        return corrected
    if corrected.low is None or corrected.high is None:
        return corrected
    normal = NormalDist()
    if freedom is None:
        reach = normal.inv_cdf((1 + level) / 2)
    else:
        from scipy import stats

        reach = float(stats.t.ppf((1 + level) / 2, freedom))
    factor = reach / normal.inv_cdf((1 + LEVEL) / 2)
    low, high = (plain.value + factor * (bound - plain.value) for bound in (plain.low, plain.high))
    return Interval(plain.value, min(low, corrected.low), max(high, corrected.high))


def bca(value: float, drawn: np.ndarray, left_out: np.ndarray, level: float = LEVEL) -> Interval:
    """Bias-corrected and accelerated bootstrap interval (Efron, JASA 1987).

    Args:
        value: of all images.
        drawn: (R,) of the draws; those that are not finite are left out.
        left_out: (n,) without each image.
        level: share of such intervals that hold the truth.

    Returns:
        [value, value] where no draw moves it; no bounds where a single image defines it.
    """
    if not np.isfinite(value):
        return Interval(None, None, None)
    drawn = drawn[np.isfinite(drawn)]
    if not (len(drawn) and np.isfinite(left_out).all()):  # a single image defines it
        return Interval(value, None, None)
    # Sums in another order move a constant score by rounding alone.
    scale = 1e-12 * max(abs(value), np.abs(drawn).max(), 1.0)
    if np.abs(drawn - value).max() <= scale:
        return Interval(value, value, value)
    below = (drawn < value - scale).mean() + 0.5 * (np.abs(drawn - value) <= scale).mean()
    if not 0 < below < 1:  # the value lies outside of all draws: no bias can be estimated
        return percentile(value, drawn, level)
    normal = NormalDist()  # scipy's takes a while to import, and every run has intervals
    bias = normal.inv_cdf(below)
    pull = left_out.mean() - left_out
    spread = (pull**2).sum() ** 1.5
    acceleration = (pull**3).sum() / (6 * spread) if spread > 0 else 0.0
    bounds = [bias + normal.inv_cdf(share) for share in ((1 - level) / 2, (1 + level) / 2)]
    if any(acceleration * bound >= 1 for bound in bounds):  # past the pole the bounds would change places
        return percentile(value, drawn, level)
    low, high = np.quantile(drawn, [normal.cdf(bias + bound / (1 - acceleration * bound)) for bound in bounds])
    return Interval(value, float(low), float(high))


def percentile(value: float, drawn: np.ndarray, level: float = LEVEL) -> Interval:
    """The draws' own quantiles.

    Args:
        value: of all images.
        drawn: (R,) of the draws; those that are not finite are left out.
        level: share of such intervals that hold the truth.
    """
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(drawn):
        return Interval(value if np.isfinite(value) else None, None, None)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
