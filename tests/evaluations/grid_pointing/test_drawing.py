"""Which photographs make a grid."""

from dataclasses import replace

import numpy as np
import pytest

from tests.evaluations.grid_pointing.conftest import Listed
from xkd_eval import XkdError
from xkd_eval.evaluations.answers import ModelAnswers
from xkd_eval.evaluations.grid_pointing.drawing import draw_grids, fill
from xkd_eval.evaluations.grid_pointing.protocol import GridPointingProtocol


def answers_of(predicted, probability, label):
    return ModelAnswers(np.array(predicted), np.array(probability, dtype=float), np.array(label))


class TestDrawing:
    RULES = GridPointingProtocol()

    def drawn(self, labels, rules=RULES, **others):
        known = answers_of(labels, [1.0] * len(labels), labels)
        return draw_grids(Listed(labels), {"one": known, **others}, rules)

    def test_grids_hold_distinct_classes_and_each_photograph_once(self):
        labels = [number % 5 for number in range(60)] + [0] * 10
        grids = self.drawn(labels)
        used = [place for grid in grids for place in grid]
        assert len(used) == len(set(used)) == 64  # one photograph of a class a grid: 16 of 22, and all 48 others
        assert all(len({labels[place] for place in grid}) == 4 for grid in grids)

    def test_a_photograph_must_be_known_to_every_model(self):
        labels = list(range(12))
        other = answers_of([0, 1, 2, 3, 9, *labels[5:]], [0.98] + [0.99] * 10 + [np.nan], labels)
        grids = self.drawn(labels, replace(self.RULES, order="listed"), other=other)
        assert grids == [(1, 2, 3, 5), (6, 7, 8, 9)]

    def test_the_seed_draws_others_and_the_sets_order_changes_nothing(self):
        labels = list(range(16))
        assert self.drawn(labels) == self.drawn(labels)
        assert self.drawn(labels) != self.drawn(labels, replace(self.RULES, seed=1))
        turned = Listed(labels)
        turned.ids = turned.ids[::-1]
        turned.labels = labels[::-1]
        again = draw_grids(turned, {"one": answers_of(labels[::-1], [1.0] * 16, labels[::-1])}, self.RULES)
        assert [[15 - place for place in grid] for grid in again] == [list(grid) for grid in self.drawn(labels)]

    def test_the_most_confident_first(self):
        labels = list(range(6))
        known = answers_of(labels, [0.995, 1.0, 0.991, 0.999, 0.998, 0.997], labels)
        rules = replace(self.RULES, order="confident")
        assert draw_grids(Listed(labels), {"one": known}, rules) == [(1, 3, 4, 5)]

    def test_without_labels_classes_are_as_predicted(self):
        dataset = Listed([None] * 8)
        known = answers_of([0, 0, 1, 1, 2, 2, 3, 3], [1.0] * 8, [-1] * 8)
        rules = replace(self.RULES, order="listed", correct_only=False)
        assert draw_grids(dataset, {"one": known}, rules) == [(0, 2, 4, 6), (1, 3, 5, 7)]

    def test_filling_wastes_next_to_nothing_of_many_classes(self):
        kinds = np.random.default_rng(0).permutation(np.arange(600) % 10).tolist()
        assert len(fill(kinds, 4)) >= 149

    def test_too_few_is_said_with_the_model_that_most_fail_for(self):
        labels = list(range(6))
        other = answers_of(labels, [1.0, 0.5, 0.5, 0.5, 1.0, 1.0], labels)
        with pytest.raises(
            XkdError,
            match=r"^data: a grid takes 4 .* 3 of 6 of listed pass, of 3 classes, and most "
            r"fail for other \(3\); lower `confidence`, or give photographs of more classes$",
        ):
            self.drawn(labels, other=other)
        with pytest.raises(XkdError, match=r"8 of 8 of listed pass, of 2 classes; give photographs of more classes$"):
            self.drawn([0, 1] * 4)
