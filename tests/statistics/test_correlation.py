"""Correlations: by hand, against SciPy, and the interval against a simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from xkd_eval.statistics.correlation import pearson, spearman, spearman_bounds


def test_correlations_by_hand():
    assert pearson(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3]), np.array([9.0, 4, 0])) == pytest.approx(-1)
    assert math.isnan(pearson(np.ones(3), np.arange(3.0)))
    assert math.isnan(spearman(np.arange(3.0), np.ones(3)))


def test_correlations_equal_scipys_where_values_are_shared_and_tiny():
    x, y = np.random.default_rng(0).integers(0, 4, (2, 60))
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0])
    assert pearson(x * 1e-200, y * 1e-200) == pytest.approx(stats.pearsonr(x, y)[0])


def test_the_interval_holds_the_true_rank_correlation_in_95_of_100_draws():
    rng, true, hits = np.random.default_rng(0), 0.5, 0
    # Of two normal variables whose correlation is r, the rank correlation is 6 / pi arcsin(r / 2) (Pearson, 1907).
    covariance = [[1, 2 * math.sin(math.pi * true / 6)], [2 * math.sin(math.pi * true / 6), 1]]
    for _ in range(1000):
        x, y = rng.multivariate_normal([0, 0], covariance, 40).T
        low, high = spearman_bounds(spearman(x, y), 40)
        hits += low < true < high
    assert 0.93 < hits / 1000 < 0.97


def test_few_pairs_have_no_interval_and_a_perfect_correlation_has_no_width():
    assert spearman_bounds(0.5, 3) is None
    assert spearman_bounds(-1.0, 9) == (-1.0, -1.0)
