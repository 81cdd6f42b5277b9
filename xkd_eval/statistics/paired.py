"""How far is a difference between two models known? Paired intervals over the same images, and over training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xkd_eval.statistics.bootstrap import (
    RESAMPLES,
    Means,
    Score,
    all_images_means,
    clustered,
    left_out_means,
    resampled_means,
)
from xkd_eval.statistics.intervals import LEVEL, Interval, bca, percentile
from xkd_eval.statistics.rounding import difference_of


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
        (value,), drawn, left_out = self.values(score)
        return bca(float(value), drawn, left_out)

    def difference(self, other: Resamples, score: Score, levels: Sequence[float] = (LEVEL,)) -> tuple[Interval, ...]:
        """Of this model's score less the other's: its BCa interval at each of these levels."""
        pairs = zip(self.values(score), other.values(score), strict=True)
        (value,), drawn, left_out = (difference_of(ours, theirs) for ours, theirs in pairs)
        return tuple(bca(float(value), drawn, left_out, level) for level in levels)

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
    """95 % percentile bootstrap interval over training seeds and images, see `hierarchical_intervals`."""
    (interval,) = hierarchical_intervals(ours, score, theirs, seed=seed)
    return interval


def hierarchical_intervals(
    ours: Sequence[Resamples],
    score: Score,
    theirs: Sequence[Resamples] = (),
    *,
    levels: Sequence[float] = (LEVEL,),
    seed: int = 0,
) -> tuple[Interval, ...]:
    """Percentile bootstrap over training seeds and images, of a score's mean over seeds or of a difference of two.

    Every draw of images is shared by all seeds and both sides, since all of them scored the same images: the effects
    of seeds and images are crossed and not nested. Seeds are drawn anew for each side.

    Args:
        ours: one a training seed, all of as many images drawn with the same seed.
        score: function of means.
        theirs: of the model that is subtracted; none for the score itself.
        levels: of the intervals.
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
    return tuple(percentile(value, drawn, level) for level in levels)


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
