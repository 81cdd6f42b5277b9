"""How far is a difference between two models known? Paired intervals over the same images, and over training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from xkd_eval.statistics.bootstrap import (
    RESAMPLES,
    Means,
    Score,
    all_images_means,
    clustered,
    left_out_means,
    resampled_means,
)
from xkd_eval.statistics.rounding import difference_of

_LEVEL = 0.95


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
    def of(
        cls,
        columns: Mapping[str, np.ndarray],
        *,
        clusters: np.ndarray | None = None,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> Resamples:
        """Draw them.

        Args:
            columns: name -> (n,) or (n, m) finite values, one row an image.
            clusters: of images that are drawn together, see `clustered`.
            resamples: R.
            seed: of the draws.
        """
        columns = clustered(columns, clusters)
        return cls(
            all_images_means(columns), resampled_means(columns, resamples=resamples, seed=seed), left_out_means(columns)
        )

    def interval(self, score: Score) -> Interval:
        """A score's value over all images with its 95 % BCa interval."""
        return _bca(*self.values(score))

    def difference(self, other: Resamples, score: Score) -> Interval:
        """Of this model's score less the other's."""
        pairs = zip(self.values(score), other.values(score), strict=True)
        return _bca(*(difference_of(ours, theirs) for ours, theirs in pairs))

    def values(self, score: Score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A score of all images (1,), of every draw (R,), and without each image (n,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return tuple(np.asarray(score(means)) for means in (self.all_images, self.drawn, self.left_out))  # type: ignore[return-value]


def bca_interval(
    columns: Mapping[str, np.ndarray],
    score: Score,
    *,
    clusters: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Bias-corrected and accelerated bootstrap over images (Efron, JASA 1987).

    Args:
        columns: name -> (n,) or (n, m) finite values, one row an image; those of two models side by side for a
            difference, so that both are resampled together.
        score: function of the columns' means, such as a difference or a ratio.
        clusters: of images that are drawn together, see `clustered`.
        resamples: of the images.
        seed: of the resampling.

    Returns:
        The score of all images with its interval. [value, value] where no resample moves it, as for two equal models;
        none where a single image defines it.
    """
    return Resamples.of(columns, clusters=clusters, resamples=resamples, seed=seed).interval(score)


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
    if theirs:
        other, other_drawn = _over_seeds(theirs, score, generator)
        value, drawn = float(difference_of(np.array(value), np.array(other))), difference_of(drawn, other_drawn)
    return _percentile(value, drawn)


def _over_seeds(members: Sequence[Resamples], score: Score, generator: np.random.Generator) -> tuple[float, np.ndarray]:
    """The score's mean over the seeds, and over drawn seeds in each draw of images: (R,)."""
    found = [member.values(score) for member in members]
    # Where a single image defines a seed's score, its draws say nothing about the spread.
    scores = np.stack([drawn if np.isfinite(left_out).all() else drawn * np.nan for _, drawn, left_out in found])
    n_seeds, mean = len(scores), scores.mean(0)
    chosen = generator.integers(0, n_seeds, scores.shape)
    with np.errstate(invalid="ignore"):
        deviation = np.take_along_axis(scores, chosen, 0).mean(0) - mean
        return float(np.mean([values[0] for values, _, _ in found])), mean + deviation * np.sqrt(
            n_seeds / max(n_seeds - 1, 1)
        )


def _bca(all_images: np.ndarray, resampled: np.ndarray, left_out: np.ndarray) -> Interval:
    value = float(all_images[0])
    if not np.isfinite(value):
        return Interval(None, None, None)
    resampled = resampled[np.isfinite(resampled)]
    if not (len(resampled) and np.isfinite(left_out).all()):  # a single image defines it
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
