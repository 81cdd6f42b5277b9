"""mAP as a mean over images: by hand, against scikit-learn, and its draws against those of mAP itself."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from xkd_eval.evaluations.perturbation.ranking import map_values
from xkd_eval.statistics.bootstrap import all_images_means, clustered, resampled_means

N_PHOTOGRAPHS, N_CLASSES = 120, 5


@pytest.fixture
def images():
    """(n, K) logits, many of them tied, what each photograph holds, the class that is explained, and the photograph."""
    generator = np.random.default_rng(0)
    whole = generator.random((N_PHOTOGRAPHS, N_CLASSES)) < 0.35
    whole[~whole.any(1), 0] = True
    photographs, target = np.nonzero(whole)
    clean = generator.normal(size=whole.shape) + 1.5 * whole
    moved = clean[photographs] + generator.normal(size=(len(target), N_CLASSES))
    return moved.round(1), whole[photographs], target, photographs


def slow_map(logits, held, target, photographs, draws=None):
    """Class by class by scikit-learn, each image as often as it is drawn."""
    draws = np.ones(len(target)) if draws is None else draws
    counts = np.bincount(photographs)[photographs]
    found = []
    for index in range(logits.shape[1]):
        positive, negative = target == index, ~held[:, index]
        ranked = positive | negative
        weights = np.where(positive, 1.0, 1 / counts) * draws
        if weights[positive].any() and weights[negative].any():
            found.append(
                average_precision_score(positive[ranked], logits[ranked, index], sample_weight=weights[ranked])
            )
    return np.mean(found)


def test_by_hand():
    # Photograph 0 holds both classes, 1 the first, 2 the second. First class: its two images have 3 and 1, and the
    # photograph without it 2: precision 1 and 2/3. Second: 0.5 twice, tied, and the photograph without it 0: 1 and 1.
    held = np.array([[True, True], [True, True], [True, False], [False, True]])
    logits = np.array([[3, 9], [9, 0.5], [1, 0], [2, 0.5]])
    values = map_values(logits, held, np.array([0, 1, 0, 1]), np.array([0, 0, 1, 2]))
    assert values.mean() == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)


def test_images_that_hold_a_class_and_explain_another_are_not_ranked():
    # The second image's logit of class 0 would be the largest; its photograph holds class 0.
    held = np.array([[True, True], [True, True], [False, True]])
    logits = np.array([[1.0, 5], [99, 5], [0, 5]])
    values = map_values(logits, held, np.array([0, 1, 1]), np.array([0, 0, 1]))
    assert values.mean() == 1  # class 1 has no photograph without it


def test_ties_are_counted_whole():
    # One positive among four of the same logit: precision 1/4 wherever it stands.
    held = np.array([[True, False]] + [[False, True]] * 3)
    values = map_values(np.zeros((4, 2)), held, np.array([0, 1, 1, 1]), np.arange(4))
    assert values.mean() == pytest.approx((1 / 4 + 3 / 4) / 2)


def test_the_mean_is_scikit_learns(images):
    assert map_values(*images).mean() == pytest.approx(slow_map(*images), abs=1e-12)


def test_of_photographs_as_they_are_it_is_the_published_one(images):
    _, held, target, photographs = images
    first = np.unique(photographs, return_index=True)[1]
    whole, logits = held[first], np.random.default_rng(1).normal(size=(len(first), N_CLASSES)).round(1)
    published = np.mean([average_precision_score(whole[:, index], logits[:, index]) for index in range(N_CLASSES)])
    assert map_values(logits[photographs], held, target, photographs).mean() == pytest.approx(published, abs=1e-12)


def test_each_value_is_what_the_image_weighs(images):
    values = map_values(*images)
    n, step = len(values), 1e-5
    for place in (0, 7, 40, n - 1):
        more, less = np.ones(n), np.ones(n)
        more[place] += step
        less[place] -= step
        slope = (slow_map(*images, more) - slow_map(*images, less)) / (2 * step)
        assert (values[place] - values.mean()) / n == pytest.approx(slope, abs=1e-8)


def test_draws_of_photographs_spread_as_those_of_map_itself(images):
    values, photographs = map_values(*images), images[3]
    generator = np.random.default_rng(2)
    exact, first_order = [], []
    for _ in range(150):
        drawn = np.bincount(generator.integers(0, N_PHOTOGRAPHS, N_PHOTOGRAPHS), minlength=N_PHOTOGRAPHS)
        draws = drawn[photographs].astype(float)
        exact.append(slow_map(*images, draws))
        first_order.append((draws * values).sum() / draws.sum())
    assert np.std(first_order) == pytest.approx(np.std(exact), rel=0.1)
    assert np.corrcoef(exact, first_order)[0, 1] > 0.95


def test_no_class_with_a_photograph_without_it():
    assert np.isnan(map_values(np.zeros((2, 1)), np.ones((2, 1), bool), np.zeros(2, int), np.arange(2))).all()


def simulated(generator, n_photographs, n_classes=10):
    """Photographs that hold a fifth of ten classes each, whose logits are 1.2 standard deviations higher."""
    whole = generator.random((n_photographs, n_classes)) < 0.2
    whole[~whole.any(1), generator.integers(n_classes)] = True
    photographs, target = np.nonzero(whole)
    logits = generator.normal(size=whole.shape) + 1.2 * whole
    return logits[photographs], whole[photographs], target, photographs


def test_intervals_know_the_spread_of_map_and_not_that_it_is_too_high_of_few():
    """The figures of docs/protocols.md."""
    generator = np.random.default_rng(0)
    truth = np.mean([map_values(*simulated(generator, 4000)).mean() for _ in range(3)])
    estimates, deviations, held = [], [], []
    for _ in range(200):
        images = simulated(generator, 200)
        columns = clustered({"x": map_values(*images)}, images[3])
        drawn = resampled_means(columns, resamples=300)["x"]
        low, high = np.percentile(drawn, [2.5, 97.5])
        estimates.append(all_images_means(columns)["x"].item())
        deviations.append(drawn.std())
        held.append(low <= truth <= high)
    assert (truth, np.mean(estimates)) == pytest.approx((0.547, 0.558), abs=0.001)
    assert (np.mean(deviations), np.std(estimates)) == pytest.approx((0.023, 0.024), abs=0.001)
    assert np.mean(held) == pytest.approx(0.905, abs=0.005)
