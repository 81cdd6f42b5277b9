"""Is a difference between two models real? Paired intervals, tests and effect sizes over the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from xkd_eval.statistics.bootstrap import RESAMPLES, Means, Score, resampled_means

_LEVEL = 0.95
_EXACT = 50  # scipy's number, too; it stops at 13 where there are ties


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; both None where the score is undefined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Resamples:
    """Means of a model's columns over all images, over bootstrap draws of them, and without each one of them.

    Two models' are paired where they are drawn from as many images, in the same order, with the same seed.

    Attributes:
        all_images: name -> (1,) or (1, m).
        drawn: name -> (R,) or (R, m).
        left_out: name -> (n,) or (n, m).
    """

    all_images: Means
    drawn: Means
    left_out: Means

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray], *, resamples: int = RESAMPLES, seed: int = 0) -> Resamples:
        """Draw them.

        Args:
            columns: name -> (n,) or (n, m) finite values, one row an image.
            resamples: R.
            seed: of the draws.
        """
        values = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}
        return cls(
            {name: column.mean(0)[None] for name, column in values.items()},
            resampled_means(values, resamples=resamples, seed=seed),
            _leave_one_out(values),
        )

    @property
    def n_images(self) -> int:
        """Images that were drawn from."""
        return len(next(iter(self.left_out.values())))

    def interval(self, score: Score) -> Interval:
        """A score's value over all images with its 95 % BCa interval."""
        return _bca(*self.values(score))

    def difference(self, other: Resamples, score: Score) -> Interval:
        """Of this model's score less the other's."""
        pairs = zip(self.values(score), other.values(score), strict=True)
        with np.errstate(invalid="ignore"):  # of two undefined values
            return _bca(*(ours - theirs for ours, theirs in pairs))

    def values(self, score: Score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A score of all images (1,), of every draw (R,), and without each image (n,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return tuple(np.asarray(score(means)) for means in (self.all_images, self.drawn, self.left_out))  # type: ignore[return-value]


def bca_interval(
    columns: Mapping[str, np.ndarray], score: Score, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Bias-corrected and accelerated bootstrap over images (Efron, JASA 1987).

    Args:
        columns: name -> (n,) or (n, m) finite values, one row an image; those of two models side by side for a
            difference, so that both are resampled together.
        score: function of the columns' means, such as a difference or a ratio.
        resamples: of the images.
        seed: of the resampling.

    Returns:
        The score of all images with its interval. [value, value] where no resample moves it, as for two equal models.
    """
    return Resamples.of(columns, resamples=resamples, seed=seed).interval(score)


def hierarchical_interval(
    ours: Sequence[Resamples], score: Score, theirs: Sequence[Resamples] = (), *, seed: int = 0
) -> Interval:
    """Percentile bootstrap over training seeds and images, of a score's mean over seeds or of a difference of two.

    Every draw of images is shared by all seeds and both sides, since all of them scored the same images: the effects
    of seeds and images are crossed and not nested. Seeds are drawn anew for each side.

    Args:
        ours: one a training seed, all of as many images drawn with the same seed.
        score: function of means.
        theirs: of the model that is subtracted; none for the score itself.
        seed: of the draws of training seeds.

    Returns:
        With a single seed a side, its spread is that of the images alone. A bootstrap of S seeds sees (S - 1) / S of
        their variance, so deviations from the mean over seeds are widened by the root of S / (S - 1). Of three seeds it
        still knows little: docs/statistics.md says how often it holds the truth.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    value, drawn = _over_seeds(ours, score, generator)
    if ours[0].n_images < 2:  # one image has no spread to draw from
        drawn = np.full_like(drawn, np.nan)
    if theirs:
        other, other_drawn = _over_seeds(theirs, score, generator)
        value, drawn = value - other, drawn - other_drawn
    return _percentile(value, drawn)


def _over_seeds(members: Sequence[Resamples], score: Score, generator: np.random.Generator) -> tuple[float, np.ndarray]:
    """The score's mean over the seeds, and over drawn seeds in each draw of images: (R,)."""
    values, draws = zip(
        *((found[0][0], found[1]) for found in (member.values(score) for member in members)), strict=True
    )
    scores = np.stack(draws)
    n_seeds, mean = len(scores), scores.mean(0)
    chosen = generator.integers(0, n_seeds, scores.shape)
    with np.errstate(invalid="ignore"):
        deviation = np.take_along_axis(scores, chosen, 0).mean(0) - mean
        return float(np.mean(values)), mean + deviation * np.sqrt(n_seeds / max(n_seeds - 1, 1))


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided p of the signed-rank test (Wilcoxon, 1945); 1 where all differences are zero.

    Exact up to 50 differences, ties or not, by the distribution over all signs (Streitberg and Röhmel, Statistical
    Software Newsletter 1986); by the tie-corrected normal distribution beyond.

    Args:
        differences: (n,) per image; zeros are dropped.
    """
    moved = np.asarray(differences, dtype=np.float64)
    moved = moved[moved != 0]
    if not len(moved):
        return 1.0
    if len(moved) > _EXACT:
        return float(stats.wilcoxon(moved).pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(moved))).astype(int)  # tied ranks are halves
    shares = np.ones(1)  # of the 2^n signs, by the sum of the positive ones' ranks
    for rank in doubled:
        shares = (np.pad(shares, (0, rank)) + np.pad(shares, (rank, 0))) / 2
    positive = int(doubled[moved > 0].sum())
    return float(min(1.0, 2 * min(shares[: positive + 1].sum(), shares[positive:].sum())))


def rank_biserial(differences: np.ndarray) -> float:
    """Matched-pairs effect size in [-1, 1]: the share of the ranks that are positive minus the negative ones'.

    Kerby, Comprehensive Psychology 2014. 0 where all differences are zero.

    Args:
        differences: (n,) per image; zeros are dropped.
    """
    moved = np.asarray(differences, dtype=np.float64)
    moved = moved[moved != 0]
    if not len(moved):
        return 0.0
    ranks = stats.rankdata(np.abs(moved))
    return float((np.sign(moved) * ranks).sum() / ranks.sum())


def mcnemar_p(hits: np.ndarray, other_hits: np.ndarray) -> float:
    """Exact two-sided p of McNemar's test on two models' hits over the same images; 1 without a discordant one.

    Args:
        hits, other_hits: (n,) booleans.
    """
    only, other_only = int((hits & ~other_hits).sum()), int((~hits & other_hits).sum())
    return float(stats.binomtest(only, only + other_only).pvalue) if only + other_only else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Family-wise corrected p-values (Holm, 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=np.float64)[order] * (len(p_values) - np.arange(len(p_values)))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected.tolist()


def _leave_one_out(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Means without image i: name -> (n,) or (n, m)."""
    return {name: (column.sum(0) - column) / max(len(column) - 1, 1) for name, column in columns.items()}


def _bca(all_images: np.ndarray, resampled: np.ndarray, left_out: np.ndarray) -> Interval:
    value = float(all_images[0])
    if not np.isfinite(value):
        return Interval(None, None, None)
    if len(left_out) < 2:  # one image has no spread to draw from
        return Interval(value, None, None)
    resampled, left_out = resampled[np.isfinite(resampled)], left_out[np.isfinite(left_out)]
    if not len(resampled):
        return Interval(value, None, None)
    # Sums in another order move a constant score by rounding alone.
    scale = 1e-12 * max(abs(value), np.abs(resampled).max(), 1.0)
    if np.abs(resampled - value).max() <= scale:
        return Interval(value, value, value)
    below = (resampled < value - scale).mean() + 0.5 * (np.abs(resampled - value) <= scale).mean()
    if not 0 < below < 1:  # the value lies outside of all resamples: no bias can be estimated
        return _percentile(value, resampled)
    bias = stats.norm.ppf(below)
    pull = left_out.mean() - left_out
    spread = (pull**2).sum() ** 1.5
    acceleration = (pull**3).sum() / (6 * spread) if spread > 0 else 0.0
    bounds = bias + stats.norm.ppf([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    shares = stats.norm.cdf(bias + bounds / (1 - acceleration * bounds))
    low, high = np.quantile(resampled, shares)
    return Interval(value, float(low), float(high))


def _percentile(value: float, resampled: np.ndarray) -> Interval:
    resampled = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or not len(resampled):
        return Interval(value if np.isfinite(value) else None, None, None)
    low, high = np.quantile(resampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(value, float(low), float(high))
