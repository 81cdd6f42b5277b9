"""Tests and effect sizes against exact arithmetic, scipy, and figures known by hand."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy import stats

from tests.statistics.exact import exact_areas, exact_effect, exact_p
from xkd_eval.evaluations.perturbation.options import DEFAULT_FRACTIONS
from xkd_eval.evaluations.perturbation.protocol import area_under_curve
from xkd_eval.statistics.significance import holm, mcnemar_p, rank_biserial, signed_rank_p

ZEROS = np.zeros(300)


def p_of(differences):
    return signed_rank_p(np.asarray(differences), ZEROS[: len(differences)])


def effect_of(differences):
    return rank_biserial(np.asarray(differences), ZEROS[: len(differences)])


@pytest.mark.parametrize("fractions", [DEFAULT_FRACTIONS, (0.5,), (0.05, 0.15, 0.3, 0.95)], ids=len)
@pytest.mark.parametrize(("n_images", "count"), [(1, 20), (5, 180), (12, 180), (25, 180), (40, 180), (70, 30)])
def test_areas_of_hits_are_tested_as_in_exact_arithmetic(fractions, n_images, count):
    """2,310 comparisons in all."""
    generator = np.random.default_rng(n_images)
    for _ in range(count):
        ours, theirs = generator.random((2, n_images, 1 + len(fractions))) < generator.uniform(0.2, 0.9)
        differences = [a - b for a, b in zip(exact_areas(ours, fractions), exact_areas(theirs, fractions), strict=True)]
        areas = [area_under_curve(hits.astype(np.float64), fractions) for hits in (ours, theirs)]
        assert signed_rank_p(*areas) == pytest.approx(exact_p(differences), abs=1e-12)
        assert rank_biserial(*areas) == pytest.approx(exact_effect(differences), abs=1e-12)


def test_ratios_of_counts_are_tested_as_in_exact_arithmetic():
    """IoUs and shares, which are no multiples of a step: 1/3 - 1/6 ties with 1/6 - 0."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        denominators = generator.integers(1, 13, (2, 30))
        counts = generator.integers(0, denominators + 1)
        ours, theirs = (
            [Fraction(int(a), int(b)) for a, b in zip(*pair, strict=True)]
            for pair in zip(counts, denominators, strict=True)
        )
        differences = [a - b for a, b in zip(ours, theirs, strict=True)]
        for kind in (np.float64, np.float32):  # a test of torch's gives what torch computes in
            values = (counts / denominators).astype(kind)
            assert signed_rank_p(*values) == pytest.approx(exact_p(differences), abs=1e-12)
            assert rank_biserial(*values) == pytest.approx(exact_effect(differences), abs=1e-12)


def test_equal_models_differ_by_nothing():
    values = np.random.default_rng(0).random(50)
    assert signed_rank_p(values, values) == 1.0
    assert rank_biserial(values, values) == 0.0
    assert mcnemar_p(values > 0.5, values > 0.5) == 1.0
    assert signed_rank_p(values[:0], values[:0]) == 1.0
    assert rank_biserial(values[:0], values[:0]) == 0.0


def test_values_that_rounding_alone_tells_apart_do_not_differ():
    assert signed_rank_p(np.array([0.1 + 0.2, 0.7 + 0.1]), np.array([0.3, 0.8])) == 1.0
    # As small as they are, these do.
    assert effect_of([1e-30, 2e-30, -3e-30]) == 0.0
    assert effect_of([1e-30, 2e-30, 3e-30]) == 1.0


def test_many_narrow_floats_do_not_tie_one_by_one_to_any_length():
    generator = np.random.default_rng(0)
    ours = generator.random(10_000).astype(np.float32)
    theirs = (ours + generator.normal(6e-6, 3e-4, 10_000)).astype(np.float32)
    expected = stats.wilcoxon(ours.astype(float) - theirs, method="asymptotic", correction=False).pvalue
    assert signed_rank_p(ours, theirs) == pytest.approx(expected, rel=0.01)


def test_six_up_and_four_down_by_the_same_step():
    # Ten equal ranks: P(X >= 6), X ~ B(10, 1/2), twice. In float64 these ten are of three sizes.
    ours = np.array([0.15, 0.1, 0.25, 0.35, 0.6, 0.75, 0.1, 0.2, 0.3, 0.7])
    theirs = np.array([0.1, 0.05, 0.2, 0.3, 0.55, 0.7, 0.15, 0.25, 0.35, 0.75])
    assert len(set(np.abs(ours - theirs))) > 1
    expected = 2 * sum(comb(10, k) for k in range(6, 11)) / 1024
    assert signed_rank_p(ours, theirs) == pytest.approx(expected, abs=1e-15)
    assert round(expected, 3) == 0.754
    assert rank_biserial(ours, theirs) == pytest.approx((6 - 4) / 10)


def test_effect_size_by_hand():
    # Ranks 3, 1, 2, 5, 4: fourteen of fifteen are positive.
    differences = [3.0, -1.0, 2.0, 0.0, 5.0, 4.0]
    assert effect_of(differences) == pytest.approx((14 - 1) / 15)
    assert effect_of(np.negative(differences)) == pytest.approx(-(14 - 1) / 15)
    assert effect_of(np.ones(4)) == 1.0
    assert p_of(differences) == pytest.approx(stats.wilcoxon([3.0, -1.0, 2.0, 5.0, 4.0]).pvalue)


@pytest.mark.parametrize("seed", range(5))
def test_p_with_ties_is_the_share_of_all_signs(seed):
    generator = np.random.default_rng(seed)
    moved = generator.integers(1, 5, 11) * generator.choice([-1.0, 1.0], 11)
    ranks = stats.rankdata(np.abs(moved))
    signs = np.array(list(itertools.product([0, 1], repeat=11)))
    sums, ours = signs @ ranks, ranks[moved > 0].sum()
    assert p_of(moved) == pytest.approx(min(1, 2 * min((sums <= ours).mean(), (sums >= ours).mean())), abs=1e-14)


def test_many_differences_are_scipys():
    for n in (30, 50):
        differences = np.random.default_rng(n).normal(0.2, 1, n)
        assert p_of(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue, rel=1e-12)
    for step in (1e-9, 0.5):  # without ties and with them
        differences = np.rint(np.random.default_rng(300).normal(0.1, 1, 300) / step) * step
        ours = p_of(differences)
        expected = stats.wilcoxon(differences[differences != 0], method="approx").pvalue
        assert (len(differences[differences != 0]) > 200) and ours == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match=r"^ours, theirs: NaN or infinite"):
        signed_rank_p(np.array([0.0, value]), np.zeros(2))


def test_mcnemar_by_hand():
    hits = np.array([1, 1, 1, 1, 0, 0, 1], dtype=bool)
    other = np.array([0, 0, 0, 1, 0, 1, 0], dtype=bool)
    # Four images for one and one for the other: P(X <= 1 or X >= 4), X ~ B(5, 1/2) = 12 / 32.
    assert mcnemar_p(hits, other) == pytest.approx(12 / 32)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
