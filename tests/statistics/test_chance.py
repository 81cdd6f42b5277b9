"""Whether hits are more than guessing explains, by hand and against scipy's exact test."""

import pytest
from scipy import stats

from xkd_eval.statistics.chance import best_guess, guessing_p, is_guessing


@pytest.mark.parametrize(
    ("hits", "n", "chance", "p"),
    [(0, 5, 0.3, 1.0), (5, 5, 0.5, 1 / 32), (4, 5, 0.5, 6 / 32), (1, 2, 0.1, 0.19), (3, 3, 0.1, 0.001)],
)
def test_probabilities_by_hand(hits, n, chance, p):
    assert guessing_p(hits, n, chance) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize(("n", "chance"), [(1, 0.5), (97, 0.01), (1000, 0.1), (50_000, 0.001)])
def test_as_scipy_has_it(n, chance):
    for hits in {0, 1, round(n * chance), round(n * chance * 1.3), min(n, round(n * chance * 2) + 3)}:
        expected = stats.binomtest(hits, n, chance, alternative="greater").pvalue
        assert guessing_p(hits, n, chance) == pytest.approx(expected, rel=1e-6), hits


@pytest.mark.parametrize(
    ("labels", "num_classes", "expected"),
    [([0, 1, 2, 3], 4, 0.25), ([0, 0, 0, 1], 4, 0.75), ([0, 1], 10, 0.5), (list(range(10)) * 3, 10, 0.1)],
)
def test_the_best_constant_answer(labels, num_classes, expected):
    assert best_guess(labels, num_classes) == expected


@pytest.mark.parametrize(
    ("hits", "labels", "num_classes", "expected"),
    [
        (20, list(range(10)) * 10, 10, True),  # p 0.002
        (21, list(range(10)) * 10, 10, False),  # p 0.0008
        (90, [0] * 90 + list(range(1, 10)) + [1], 10, True),  # the commonest class alone
        (99, [0] * 90 + list(range(1, 10)) + [1], 10, False),  # p 0.0003
        (5, [0, 1] * 5, 2, True),
        (10, [0, 1] * 5, 2, False),  # p 0.00098
        (0, [0, 1] * 4, 2, False),  # of 8 images even all hits would not tell
        (0, [0] * 999 + [1], 2, False),
    ],
    ids=["20 of 100", "21 of 100", "commonest", "99 of 100", "5 of 10", "10 of 10", "too few", "too alike"],
)
def test_what_guessing_explains(hits, labels, num_classes, expected):
    assert is_guessing(hits, labels, num_classes) is expected


def test_of_images_of_one_class_nothing_but_the_number_of_classes_tells():
    assert best_guess([3, 3, 3], 10) == 0.1
