"""Verdicts known by hand, and whether a gate keeps its promise where the truth lies at the margin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.gate.pairs import hits, verdict
from xkd_eval.gate.verdicts import Seen, decided, rounded_up
from xkd_eval.statistics.intervals import Interval

MANY = Seen(images=1000, apart=500, reach=100.0)


def around(value, low, high):
    return Interval(value, low, high)


@pytest.mark.parametrize(
    ("plain", "wide", "expected"),
    [
        pytest.param((-1, -1.9, 0.1), (-1, -2.5, 0.5), "pass", id="the lower end lies above"),
        pytest.param((-1, -2.0, 0.1), (-1, -2.5, 0.5), "undecided", id="it lies on the margin"),
        pytest.param((-4, -6, -2.1), (-4, -7, -1.9), "undecided", id="worse, but not at the divided level"),
        pytest.param((-4, -6, -2.5), (-4, -7, -2.1), "fail", id="worse at the divided level too"),
        pytest.param((9, -3, 21), (9, -5, 23), "undecided", id="better, and not known well"),
    ],
)
def test_the_ends_of_the_intervals_decide(plain, wide, expected):
    assert decided(around(*plain), around(*wide), 2.0, MANY, 4)[0] == expected


def test_how_many_images_would_decide_follows_from_the_root():
    # 0 - 1.75 against -1: the half must shrink by 1.75, so 1.75 ** 2 as many images.
    assert decided(around(0, -1.75, 1.75), around(0, -2, 2), 1.0, MANY, 2)[2] == pytest.approx(3062.5)
    # -5 against -2, at the wider interval: 3.5 must shrink to 3.
    assert decided(around(-5, -7, -2.5), around(-5, -9, -1.5), 2.0, MANY, 2)[2] == pytest.approx(1000 * (3.5 / 3) ** 2)
    _, reason, needed = decided(around(-2, -3, -1), around(-2, -3, -1), 2.0, MANY, 1)
    assert needed is None and reason == "the difference lies at the margin, where no number of images decides"
    assert decided(around(-1.99, -3.2, -1), around(-2, -3, -1), 2.0, MANY, 1)[2] is None


@pytest.mark.parametrize(
    ("number", "expected"), [(3, 3), (99.5, 100), (101, 110), (3062.5, 3100), (12001, 13000), (120, 120)]
)
def test_numbers_are_rounded_up_to_two_digits(number, expected):
    assert rounded_up(number) == expected


def test_an_undefined_difference_or_interval_is_no_pass():
    for found in (Interval(None, None, None), Interval(5.0, None, None)):
        word, reason, needed = decided(found, found, 2.0, MANY, 1)
        assert (word, needed) == ("undecided", None) and reason
    nothing = verdict([0.0] * 20, [np.nan] * 20)
    assert (nothing.verdict, nothing.reason) == ("undecided", "undefined for one of the two")


def test_no_image_that_differs_shows_as_little_as_none_in_n():
    # Of a share of 1 - 0.025 ** (1 / 40) = 8.8 %, 40 images show none in one case of forty.
    bound = 100 * (1 - 0.025 ** (1 / 40))
    same = hits(40, 0, 0)
    assert verdict(*same, margin=bound + 0.01).verdict == "pass"
    few = verdict(*same, margin=bound - 0.01)
    assert (few.verdict, few.low, few.high) == ("undecided", 0.0, 0.0)
    assert few.reason.startswith("none of 40 images tell the two apart; about 41 images")
    # ln(0.025) / ln(0.98) images leave no room for 2 %.
    assert verdict(*same, margin=2).needed == rounded_up(np.log(0.025) / np.log(0.98)) == 190


def test_few_images_never_pass_nor_fail_silently():
    for n in range(1, 10):
        found = verdict(*hits(n, 0, 0), margin=2)
        assert found.verdict == "undecided" and found.reason, n
        assert verdict(*hits(0, n, 0), margin=2).verdict == ("fail" if n > 5 else "undecided"), n
    ratio = verdict(np.full(9, 0.5), np.full(9, 0.9), per_image=None)
    assert (ratio.verdict, ratio.reason) == ("undecided", "it is of 9 images: too few to decide by")
    unbounded = verdict(np.zeros(40), np.r_[np.zeros(35), np.ones(5)], span=None)
    assert unbounded.reason == "only 5 of 40 images tell the two apart: too few to decide by"


def test_one_model_is_no_worse_than_itself_whatever_the_margin():
    same = hits(12, 0, 0, neither=3)
    assert verdict(*same, margin=0, same=True).verdict == "pass"
    assert verdict(*same, margin=0).verdict == "undecided"
    assert verdict(*hits(20, 20, 0), margin=0, same=True).verdict == "fail", "rows that differ are told as they are"


def test_lower_is_better_where_the_score_says_so():
    values = np.random.default_rng(0).random(400)
    lower = verdict(values, values + 0.1, margin=2, better="lower", span=None)
    assert (lower.verdict, lower.difference) == ("fail", pytest.approx(-10))
    assert verdict(values, values + 0.1, margin=2, span=None).verdict == "pass"
    own_unit = verdict(values, values - 0.1, margin=0.2, unit="", span=None)
    assert (own_unit.verdict, own_unit.difference) == ("pass", pytest.approx(-0.1))
    assert (own_unit.baseline, own_unit.candidate) == (pytest.approx(values.mean()), pytest.approx(values.mean() - 0.1))


def passes(simulated, margin, n_asked=1):
    return [verdict(*pair, margin=margin, n_asked=n_asked).verdict for pair in simulated]


def is_at_most(count: int, n: int, share: float) -> bool:
    """Whether so many of n are no sign of a larger share: one in a thousand would say so by chance."""
    return stats.binom.sf(count - 1, n, share) > 0.001


def test_at_the_margin_at_most_one_gate_in_forty_passes_or_fails():
    """Slow: the truth lies at the margin, in 400 sets of 200 images whose differences are normal."""
    generator = np.random.default_rng(1)
    shared = generator.normal(0.5, 0.1, (400, 200))
    pairs = [(row, row - 0.02 + generator.normal(0, 0.1, 200)) for row in shared]
    found = [verdict(*pair, margin=2, span=None).verdict for pair in pairs]
    assert is_at_most(found.count("pass"), 400, 0.025) and is_at_most(found.count("fail"), 400, 0.025)
    assert found.count("pass") + found.count("fail") > 4, "a gate that never decides keeps any promise"


def test_a_rare_fault_that_the_images_miss_does_not_pass():
    """One image in 45 fails: of 60 images a quarter of the sets show none, and their bootstrap is sure of itself."""
    generator = np.random.default_rng(2)
    faults = generator.random((300, 60)) < 1 / 45
    assert (faults.sum(1) == 0).sum() > 60
    found = passes([(np.ones(60, bool), ~row) for row in faults], margin=2)
    assert is_at_most(found.count("pass"), 300, 0.025)


def test_of_four_scores_at_their_margins_few_fail_by_chance():
    """Each fails with the level divided, so one of the four does in at most one gate of forty."""
    generator = np.random.default_rng(3)
    failed = 0
    for _ in range(150):
        difference = generator.normal(-0.02, 0.1, (4, 150))
        words = passes([(np.zeros(150), row) for row in difference], margin=2, n_asked=4)
        failed += "fail" in words
    assert is_at_most(failed, 150, 0.025)
