"""Is a difference over the same images more than chance? Exact tests of values and of hits, and the effect's size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import stats

from xkd_eval.statistics.rounding import difference_of, slack_of

_EXACT = 200  # differences; 20 ms


def signed_rank_p(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Two-sided p of the signed-rank test (Wilcoxon, 1945); 1 where no image differs.

    Exact up to 200 differences, ties or not, by the distribution over all signs (Streitberg and Röhmel, Statistical
    Software Newsletter 1986); by the normal distribution of that variance, which is the tie-corrected one, beyond.

    Args:
        ours, theirs: (n,) finite values of the same images, as they were stored. The two and not their differences,
            because only they tell which differences are equal: 0.15 - 0.10 and 0.10 - 0.05 are, though float64 says
            otherwise, and float32 even more so.

    Raises:
        ValueError: a value that is not finite.
    """
    ranks = _signed_ranks(ours, theirs)
    if len(ranks) > _EXACT:
        return float(2 * stats.norm.sf(abs(ranks.sum()) / np.sqrt((ranks**2).sum())))
    shares = np.ones(1)  # of the 2^n signs, by the sum of the positive ones' ranks
    for rank in np.abs(ranks):
        shares = (np.pad(shares, (0, rank)) + np.pad(shares, (rank, 0))) / 2
    positive = int(ranks[ranks > 0].sum())
    return float(min(1.0, 2 * min(shares[: positive + 1].sum(), shares[positive:].sum())))


def rank_biserial(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Matched-pairs effect size in [-1, 1]: the share of the ranks that are positive minus the negative ones'.

    Kerby, Comprehensive Psychology 2014. 0 where no image differs.

    Args:
        ours, theirs: as for `signed_rank_p`; of hits, as 0 and 1.
    """
    ranks = _signed_ranks(ours, theirs)
    return float(ranks.sum() / np.abs(ranks).sum()) if len(ranks) else 0.0


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


def _signed_ranks(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The ranks of the differences' sizes with their signs, doubled, so that tied ones are whole; zeros are dropped.

    Differences that rounding alone tells apart are tied.
    """
    ours, theirs = (values if values.dtype.kind == "f" else values.astype(np.float64) for values in (ours, theirs))
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise ValueError("ours, theirs: NaN or infinite values found; expected finite ones, one an image")
    difference, slack = difference_of(ours, theirs), slack_of(ours, theirs)
    moved = difference != 0
    order = np.argsort(np.abs(difference[moved]), kind="stable")
    difference, slack = difference[moved][order], slack[moved][order]
    tied = _tied(np.abs(difference), slack)
    last = np.cumsum(np.bincount(tied, minlength=1))
    first = np.concatenate([[0], last[:-1]])
    return np.sign(difference).astype(np.int64) * (first + last + 1)[tied]


def _tied(sizes: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """(n,) the number of the tie that each belongs to, none of them wider than rounding explains.

    Args:
        sizes: (n,) in ascending order.
        slack: (n,) how far each may be off.
    """
    begins = np.ones(len(sizes), dtype=np.int64)
    begins[1:] = np.diff(sizes) > np.maximum(slack[1:], slack[:-1])
    # Where many narrow floats lie close together, neighbours that are tied one by one would make a chain of any length.
    starts = np.flatnonzero(begins)
    for start, end in itertools.pairwise([*starts, len(sizes)]):
        while sizes[end - 1] - sizes[start] > (width := slack[start:end].max()):
            start += np.searchsorted(sizes[start:end], sizes[start] + width, side="right")
            begins[start] = 1
    return np.cumsum(begins) - 1
