"""Confidence intervals of scores that are functions of per-image means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from xkd_eval.statistics.groups import GROUPS, MEMBERS, GroupSums, group_numbers
from xkd_eval.statistics.intervals import bca

RESAMPLES = 2000

_BLOCK = 5_000_000  # counts at a time

# What is not finite makes a score undefined, which its value says.
_UNDEFINED = np.errstate(over="ignore", invalid="ignore")

Means = Mapping[str, np.ndarray]
"""Column name -> its mean over the images, with a leading axis of resamples."""

Score = Callable[[Means], np.ndarray]
"""Means -> (R,) or (R, n); a ratio is computed anew in each resample."""


def clustered(columns: Mapping[str, np.ndarray], clusters: np.ndarray | None) -> Mapping[str, np.ndarray]:
    """Columns of which the functions here draw and leave out whole clusters; their means stay those over images.

    More clusters than `groups.GROUPS` are put together at random.

    Args:
        columns: name -> (n,) or (n, m), one row an image.
        clusters: (n,) integers, equal for images that are drawn together; None where each is drawn alone.

    Returns:
        name -> (clusters,) or (clusters, m): sums over the images of each, in the order of its number, and how many
        these are. The columns themselves where there is nothing to put together.
    """
    if clusters is None:
        sums = GroupSums()
        sums.add(columns)
        return sums.columns()
    numbers, places = np.unique(clusters, return_inverse=True)
    if len(numbers) > GROUPS:
        numbers, places = np.unique(group_numbers(len(numbers))[places], return_inverse=True)
    found = {MEMBERS: np.bincount(places).astype(np.float64)}
    for name, values in columns.items():
        found[name] = np.zeros((len(numbers), *values.shape[1:]))
        np.add.at(found[name], places, values)
    return found


def _of_images(means: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Means over images, where those over clusters were taken."""
    members = means.pop(MEMBERS, None)
    if members is None:
        return means
    return {name: values / (members if values.ndim == 1 else members[:, None]) for name, values in means.items()}


def scores_with_intervals(
    columns: Mapping[str, np.ndarray], scores: Mapping[str, Score], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Each score with its 95 % BCa bootstrap interval over images.

    Args:
        columns: name -> (n,) or (n, m), one row an image; a score of values that are not finite is undefined.
        scores: name -> function of the columns' means.
        resamples: bootstrap resamples of the images, shared by all scores.
        seed: of the resampling.

    Returns:
        name -> {"value": float | None, "ci95": [low, high] | None}, or a list of these for a score of n values. A value
        is None where the score is undefined, as a ratio with a zero denominator is; an interval also where a single
        image defines the score, which says nothing about its spread.
    """
    means, left_out = all_images_means(columns), left_out_means(columns)
    resampled = resampled_means(columns, resamples=resamples, seed=seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: _with_interval(score(means)[0], score(resampled), score(left_out)) for name, score in scores.items()
        }


@_UNDEFINED
def all_images_means(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Means over all images, NaN of none: name -> (1,) or (1, m)."""
    return _of_images({name: _sums(values)[None] / (len(values) or np.nan) for name, values in columns.items()})


@_UNDEFINED
def left_out_means(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Means without image i, NaN where it is the only one: name -> (n,) or (n, m)."""
    return _of_images(
        {name: (_sums(values) - values) / (len(values) - 1 or np.nan) for name, values in columns.items()}
    )


@_UNDEFINED
def resampled_means(
    columns: Mapping[str, np.ndarray], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, np.ndarray]:
    """Means of every column in each of `resamples` draws of n images with replacement: name -> (R,) or (R, m).

    NaN of fewer than two images, which have no spread to draw from.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    flat = {name: values.reshape(len(values), *values.shape[1:] or (1,)) for name, values in arrays.items()}
    matrix = np.concatenate(list(flat.values()), axis=1)
    n = len(matrix)
    means = np.full((resamples, matrix.shape[1]), np.nan)
    start = 0
    blocks = [] if n < 2 else [_draws(n, resamples, seed)] if n * resamples <= _BLOCK else _blocks(n, resamples, seed)
    # Counts of a block of draws times the matrix: 50,000 images need 40 MB instead of the 4 GB of all draws at once.
    for counts in blocks:
        means[start : start + len(counts)] = counts.astype(np.float64) @ matrix / n
        start += len(counts)
    widths = np.cumsum([0, *(values.shape[1] for values in flat.values())])
    return _of_images(
        {
            name: means[:, low:high] if np.ndim(columns[name]) == 2 else means[:, low]
            for name, low, high in zip(flat, widths[:-1], widths[1:], strict=True)
        }
    )


@lru_cache(maxsize=32)
def _draws(n: int, resamples: int, seed: int) -> np.ndarray:
    """All draws of few images. The models of a comparison are paired by the same ones, so they are drawn once."""
    (counts,) = _blocks(n, resamples, seed)
    return counts


def _blocks(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n images is in a draw of n with replacement: (block, n) of draws at a time."""
    generator = np.random.Generator(np.random.PCG64(seed))
    block = max(1, min(resamples, _BLOCK // n))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        counts = [np.bincount(generator.integers(0, n, n), minlength=n) for _ in range(size)]
        yield np.stack(counts).astype(np.uint16 if n < 2**16 else np.uint32)


def _sums(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64).sum(0)


def _with_interval(value: np.ndarray, resampled: np.ndarray, left_out: np.ndarray) -> Any:
    if np.ndim(value):
        return [_with_interval(value[i], resampled[:, i], left_out[:, i]) for i in range(len(value))]
    interval = bca(float(value), resampled, left_out)
    bounds = None if interval.low is None else [interval.low, interval.high]
    return {"value": interval.value, "ci95": bounds}
