"""Paired intervals against scipy, and degenerate cases."""

import numpy as np
import pytest
from scipy import stats

from xkd_eval.statistics.intervals import Interval, bca, corrected_level, percentile, widened
from xkd_eval.statistics.paired import (
    Resamples,
    bca_interval,
    hierarchical_interval,
    hierarchical_intervals,
)
from xkd_eval.statistics.rounding import difference_of


def difference(means):
    return means["a"] - means["b"]


def test_bca_is_scipys():
    generator = np.random.default_rng(0)
    a, b = generator.exponential(size=80), generator.exponential(size=80) * 0.7
    ours = bca_interval({"a": a, "b": b}, difference, resamples=20_000)
    theirs = stats.bootstrap((a - b,), np.mean, method="BCa", n_resamples=20_000, rng=1).confidence_interval
    assert ours.value == pytest.approx((a - b).mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_a_wider_interval_is_scipys_at_that_level():
    generator = np.random.default_rng(0)
    a, b = generator.exponential(size=80), generator.exponential(size=80) * 0.7
    level = corrected_level(6)
    drawn = [Resamples.of({"x": values}, resamples=20_000) for values in (a, b)]
    plain, wide = drawn[0].difference(drawn[1], mean, (0.95, level))
    theirs = stats.bootstrap((a - b,), np.mean, method="BCa", n_resamples=20_000, rng=1, confidence_level=level)
    assert (wide.low, wide.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)
    assert wide.low < plain.low < plain.value == wide.value < plain.high < wide.high


def test_bounds_do_not_change_places_where_the_acceleration_has_its_pole():
    # One of 200 images makes the score, and nearly no draw exceeds it: 1 - a z is negative at the upper bound.
    drawn = np.append(np.linspace(-1, -0.1, 4999), 0.1)
    level = corrected_level(190)
    interval = bca(0.0, drawn, -np.eye(200)[0], level)
    assert interval.low < interval.high and interval == percentile(0.0, drawn, level)


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


def test_undefined_scores_have_no_interval():
    zeros = np.zeros(5)
    assert bca_interval({"a": zeros + 1, "b": zeros}, lambda means: means["a"] / means["b"]).value is None


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


def test_an_interval_of_many_comparisons_is_no_narrower_than_a_normal_one():
    plain, level = Interval(0.0, -1.0, 2.0), corrected_level(100)
    factor = stats.norm.ppf(1 - 0.05 / 200) / stats.norm.ppf(0.975)
    found = widened(plain, Interval(0.0, -1.1, 5.0), level)
    assert (found.low, found.high) == (pytest.approx(-factor), 5.0) and factor > 1.7
    student = widened(plain, Interval(0.0, -1.1, 2.0), level, freedom=4)
    assert student.high == pytest.approx(2 * stats.t.ppf(1 - 0.05 / 200, 4) / stats.norm.ppf(0.975))
    assert widened(plain, Interval(0.0, None, None), level) == Interval(0.0, None, None)
    assert widened(Interval(0.0, 0.0, 0.0), Interval(0.0, 0.0, 0.0), level) == Interval(0.0, 0.0, 0.0)


def test_several_comparisons_share_the_error():
    assert corrected_level(1) == corrected_level(0) == 0.95
    assert corrected_level(10) == pytest.approx(0.995)
    images = np.random.default_rng(0).normal(size=300)
    drawn = [of_seeds(shifts, images) for shifts in ((0.1, 0.3, 0.2), (0.0, 0.1))]
    plain, wide = hierarchical_intervals(drawn[0], mean, drawn[1], levels=(0.95, corrected_level(10)))
    assert plain == hierarchical_interval(drawn[0], mean, drawn[1])
    assert wide.low < plain.low < plain.high < wide.high


def test_one_seed_has_the_interval_of_its_images():
    images = np.random.default_rng(0).normal(size=300)
    single = hierarchical_interval(of_seeds([0.1], images), mean)
    alone = bca_interval({"x": images + 0.1}, mean)
    assert (single.low, single.high) == pytest.approx((alone.low, alone.high), abs=0.02)


def test_several_seeds_of_undefined_scores_have_no_interval():
    zeros = [Resamples.of({"a": np.ones(5), "b": np.zeros(5)})] * 2
    assert hierarchical_interval(zeros, lambda means: means["a"] / means["b"]) == Interval(None, None, None)


@pytest.mark.parametrize("n_images", [0, 1])
def test_an_image_alone_has_no_interval(n_images):
    values = np.full(n_images, 0.5)
    expected = Interval(0.5 if n_images else None, None, None)
    assert bca_interval({"x": values}, mean) == expected
    assert hierarchical_interval(of_seeds([0.0, 0.0], values), mean) == expected


def test_a_score_that_one_image_defines_has_no_interval():
    # Only the third image is right, so every draw that has a ratio at all has the same one.
    hits, areas = np.eye(5)[2], 0.25 * np.eye(5)[2]

    def ratio(means):
        return means["area"] / means["hit"]

    assert bca_interval({"hit": hits, "area": areas}, ratio) == Interval(0.25, None, None)
    seeds = [Resamples.of({"hit": hits, "area": areas})] * 2
    assert hierarchical_interval(seeds, ratio) == Interval(0.25, None, None)


def test_a_bound_of_nothing_is_exactly_nothing():
    # Half of the images differ by a step up, half by one down: the median draw differs by nothing but rounding.
    ours = np.array([0.15, 0.35, 0.6, 0.1, 0.3, 0.7] * 7)
    theirs = np.array([0.1, 0.3, 0.55, 0.15, 0.35, 0.75] * 7)
    assert set((ours - theirs).round(3)) == {0.05, -0.05} and (ours - theirs).sum() != 0
    assert Resamples.of({"x": ours}).difference(Resamples.of({"x": theirs}), mean)[0].value == 0.0
    drawn = difference_of(*(Resamples.of({"x": values}).drawn["x"] for values in (ours, theirs)))
    steps = drawn * len(ours) / 0.05
    assert (drawn[np.abs(steps) < 0.5] == 0).all() and (np.abs(steps) < 0.5).any()


def test_values_that_are_not_finite_have_no_difference():
    assert np.isnan(difference_of(np.array([np.nan, np.inf]), np.array([0.0, np.inf]))).all()
