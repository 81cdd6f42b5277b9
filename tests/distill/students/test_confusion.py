"""Scores of classes, by hand and against scikit-learn; the figure."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as theirs
from sklearn.metrics import precision_recall_fscore_support

from distill.students.confusion import class_scores, confusion_matrix, most_confused
from distill.students.confusion_figure import confusion_figure
from distill.students.measure import answers_from


def answers(labels, predicted, num_classes):
    return answers_from(torch.eye(num_classes)[torch.tensor(predicted)], list(labels))


def test_by_hand():
    """Of class 2 there is no image; nothing is taken for class 3."""
    matrix = confusion_matrix(answers([0, 0, 0, 1, 3, 3], [0, 1, 1, 1, 2, 1], 4), 4)
    assert matrix.tolist() == [[1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]]
    scores = class_scores(matrix)
    np.testing.assert_allclose(scores.accuracy, [1 / 3, 1, np.nan, 0])
    np.testing.assert_allclose(scores.precision, [1, 1 / 4, 0, np.nan])
    np.testing.assert_allclose(scores.f1, [1 / 2, 2 / 5, 0, 0])
    assert scores.support.tolist() == [3, 1, 0, 2]
    assert most_confused(matrix) == [(0, 1, 2), (3, 1, 1), (3, 2, 1)]


def test_as_scikit_learn_has_them():
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, 12, (2, 500))
    predicted[:250] = labels[:250]
    matrix = confusion_matrix(answers(labels, predicted, 12), 12)
    assert (matrix == theirs(labels, predicted)).all()
    scores = class_scores(matrix)
    expected = precision_recall_fscore_support(labels, predicted)
    for ours, other in zip((scores.precision, scores.accuracy, scores.f1, scores.support), expected, strict=True):
        np.testing.assert_allclose(ours, other)


@pytest.mark.parametrize("count", [2, 100])
def test_the_figure_names_every_class(count):
    names = [f"class ${number}" for number in range(count)]
    figure = confusion_figure(np.eye(count, dtype=int), names, "many")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == names
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    size = axes.get_yticklabels()[0].get_fontsize()
    figure.draw_without_rendering()
    assert axes.get_window_extent().height / figure.dpi * 72 / count > size  # no name lies over the next
