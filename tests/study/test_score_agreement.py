"""Do two tests say the same of the images?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import spearmanr

from xkd_eval import Evaluation, ScoreSpec, evaluate
from xkd_eval.datasets.base import Subset
from xkd_eval.datasets.embedded import EmbeddedDataset


class Given(Evaluation):
    """Scores each image as a list says."""

    title, citation, values, better = "given", "for the test", {}, "higher"

    def rows(self, batch):
        return {self.name: np.array([self.values[name] for name in batch.ids])}

    def specs(self):
        name = self.name
        spec = ScoreSpec(
            name,
            name,
            lambda means: means[name],
            better=self.better,
            role="headline",
            per_image=lambda rows: rows[name],
        )
        return (spec,)

    def columns(self, rows):
        return {name: np.nan_to_num(values) for name, values in super().columns(rows).items()}


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=8)


def given(name, values, images, better="higher"):
    return type(name, (Given,), {"name": name, "values": dict(zip(images.ids, values, strict=True)), "better": better})


def agreement(images, *tests):
    return evaluate("embedded/kd", images, tests=list(tests), explainers="centre").agreement_of_scores()


def test_each_pair_is_what_scipy_says(images):
    drawn = np.random.default_rng(0).integers(0, 5, (3, 8)).astype(float)
    tests = [given(name, values, images) for name, values in zip("abc", drawn, strict=True)]
    found = agreement(images, *tests)
    assert list(zip(found["test"], found["other_test"], strict=True)) == list(combinations("abc", 2))
    for row in found.itertuples():
        expected = spearmanr(drawn["abc".index(row.test)], drawn["abc".index(row.other_test)])[0]
        assert row.spearman == pytest.approx(expected)
        assert row.low < row.spearman < row.high and row.n_images == 8


def test_scores_count_in_the_direction_in_which_they_are_better(images):
    values = np.arange(8.0)
    found = agreement(images, given("up", values, images), given("down", values, images, "lower"))
    assert found["spearman"].item() == -1


def test_an_image_that_a_score_does_not_define_does_not_count(images):
    values, holes = np.arange(8.0), np.array([np.nan, 9, 2, 3, 4, 5, 6, 7])
    found = agreement(images, given("all", values, images), given("some", holes, images))
    assert found["n_images"].item() == 7
    assert found["spearman"].item() == pytest.approx(spearmanr(values[1:], holes[1:])[0])


def test_what_is_the_same_for_all_images_has_no_correlation(images):
    found = agreement(images, given("flat", np.ones(8), images), given("other", np.arange(8.0), images))
    assert found["spearman"].isna().all() and found["low"].isna().all()


def test_two_scores_of_one_test_are_no_pair(images):
    found = evaluate("embedded/kd", images, tests=["perturbation"], explainers="centre").agreement_of_scores("shown")
    assert not len(found) and "spearman" in found


def test_tests_that_score_other_images_are_no_pair(images):
    class Others(given("others", np.arange(8.0), images)):
        def images(self, dataset, answers):
            return Subset(dataset, [0, 1]) if self.name == "others" else Subset(dataset, [2, 3])

    class Again(Others):
        name, values = "again", dict(zip(images.ids, np.arange(8.0), strict=True))

    assert not len(agreement(images, Others, Again))
