"""Paired statistics against scipy, statsmodels' definitions by hand, and degenerate cases."""

import itertools

import numpy as np
import pytest
from scipy import stats

from xkd_eval.statistics.paired import (
    Interval,
    Resamples,
    bca_interval,
    hierarchical_interval,
    holm,
    mcnemar_p,
    rank_biserial,
    wilcoxon_p,
)


def difference(means):
    return means["a"] - means["b"]


def test_bca_is_scipys():
    generator = np.random.default_rng(0)
    a, b = generator.exponential(size=80), generator.exponential(size=80) * 0.7
    ours = bca_interval({"a": a, "b": b}, difference, resamples=20_000)
    theirs = stats.bootstrap((a - b,), np.mean, method="BCa", n_resamples=20_000, rng=1).confidence_interval
    assert ours.value == pytest.approx((a - b).mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_bca_of_a_ratio_is_scipys():
    generator = np.random.default_rng(1)
    a, b = generator.exponential(size=60), 1 + generator.exponential(size=60)

    def ratio(x, y, axis=-1):
        return np.mean(x, axis=axis) / np.mean(y, axis=axis)

    ours = bca_interval({"a": a, "b": b}, lambda means: means["a"] / means["b"], resamples=20_000)
    theirs = stats.bootstrap((a, b), ratio, method="BCa", paired=True, n_resamples=20_000, rng=1).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_equal_models_differ_by_exactly_nothing():
    values = np.random.default_rng(0).random(50)
    assert bca_interval({"a": values, "b": values}, difference) == Interval(0.0, 0.0, 0.0)
    assert wilcoxon_p(values - values) == 1.0
    assert rank_biserial(values - values) == 0.0
    assert mcnemar_p(values > 0.5, values > 0.5) == 1.0


def test_undefined_scores_have_no_interval():
    zeros = np.zeros(5)
    assert bca_interval({"a": zeros + 1, "b": zeros}, lambda means: means["a"] / means["b"]).value is None


def test_wilcoxon_and_its_effect_size():
    differences = np.array([3.0, -1.0, 2.0, 0.0, 5.0, 4.0])
    assert wilcoxon_p(differences) == pytest.approx(stats.wilcoxon(differences[differences != 0]).pvalue)
    # Ranks 3, 1, 2, 5, 4: fourteen of fifteen are positive.
    assert rank_biserial(differences) == pytest.approx((14 - 1) / 15)
    assert rank_biserial(-differences) == pytest.approx(-(14 - 1) / 15)
    assert rank_biserial(np.ones(4)) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_wilcoxon_with_ties_is_the_share_of_all_signs(seed):
    generator = np.random.default_rng(seed)
    moved = generator.integers(1, 5, 11) * generator.choice([-1.0, 1.0], 11)
    ranks = stats.rankdata(np.abs(moved))
    signs = np.array(list(itertools.product([0, 1], repeat=11)))
    sums, ours = signs @ ranks, ranks[moved > 0].sum()
    assert wilcoxon_p(moved) == pytest.approx(min(1, 2 * min((sums <= ours).mean(), (sums >= ours).mean())), abs=1e-14)


def test_wilcoxon_by_hand_and_by_scipy():
    # Ten equal ranks: P(X >= 6), X ~ B(10, 1/2), twice.
    assert wilcoxon_p(np.array([1.0] * 6 + [-1.0] * 4)) == pytest.approx(2 * 386 / 1024)
    for n in (30, 50, 51, 200):
        differences = np.random.default_rng(n).normal(0.2, 1, n)
        assert wilcoxon_p(differences) == pytest.approx(stats.wilcoxon(differences).pvalue, rel=1e-12)


def test_mcnemar_by_hand():
    hits = np.array([1, 1, 1, 1, 0, 0, 1], dtype=bool)
    other = np.array([0, 0, 0, 1, 0, 1, 0], dtype=bool)
    # Four images for one and one for the other: P(X <= 1 or X >= 4), X ~ B(5, 1/2) = 12 / 32.
    assert mcnemar_p(hits, other) == pytest.approx(12 / 32)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def of_seeds(shifts, images):
    return [Resamples.of({"x": images + shift}) for shift in shifts]


def mean(means):
    return means["x"]


def test_seeds_widen_what_images_alone_would_claim():
    images = np.random.default_rng(0).normal(size=300)
    narrow, wide = (
        hierarchical_interval(of_seeds(shifts, images), mean, of_seeds([0.0], images))
        for shifts in ([0.1] * 5, (-0.3, -0.1, 0.1, 0.3, 0.5))
    )
    assert narrow.value == pytest.approx(wide.value) == pytest.approx(0.1)
    # The images are the same on both sides, so the difference is exactly the shift: only seeds can spread it.
    assert narrow.high - narrow.low == pytest.approx(0, abs=1e-12)
    # The mean of five draws out of five equally likely shifts has variance 0.08 / 5, without Bessel's 5 / 4.
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * np.sqrt(5 / 4 * 0.08 / 5), rel=0.15)


def test_one_seed_has_the_interval_of_its_images():
    images = np.random.default_rng(0).normal(size=300)
    single = hierarchical_interval(of_seeds([0.1], images), mean)
    alone = bca_interval({"x": images + 0.1}, mean)
    assert (single.low, single.high) == pytest.approx((alone.low, alone.high), abs=0.02)


def test_several_seeds_of_undefined_scores_have_no_interval():
    zeros = [Resamples.of({"a": np.ones(5), "b": np.zeros(5)})] * 2
    assert hierarchical_interval(zeros, lambda means: means["a"] / means["b"]) == Interval(None, None, None)
