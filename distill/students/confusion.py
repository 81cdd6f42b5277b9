"""Class by class: what each is taken for, and how well it is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distill.students.scores import Answers


@dataclass(frozen=True)
class ClassScores:
    """How well each of K classes is found; NaN where a score is undefined, as that of a class without images.

    Attributes:
        accuracy: (K,) float64, fraction of the class's images that are taken for it (recall).
        precision: (K,), fraction of the images taken for the class that are of it.
        f1: (K,), harmonic mean of the two.
        support: (K,) int64, images of the class.
    """

    accuracy: np.ndarray
    precision: np.ndarray
    f1: np.ndarray
    support: np.ndarray


def confusion_matrix(answers: Answers, num_classes: int) -> np.ndarray:
    """How many images of each class are taken for each.

    Args:
        answers: of N images.
        num_classes: K.

    Returns:
        (K, K) int64: rows are the true classes, columns the predicted ones; the sum is N.
    """
    places: Tensor = answers.labels * num_classes + answers.predicted
    return torch.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes).cpu().numpy()


def class_scores(matrix: np.ndarray) -> ClassScores:
    """The scores of each class; `matrix` is of `confusion_matrix`."""
    hits, support, taken = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is what is undefined
        return ClassScores(hits / support, hits / taken, 2 * hits / (support + taken), support)


def most_confused(matrix: np.ndarray) -> list[tuple[int, int, int]]:
    """The mistakes: (true class, predicted class, images), the most frequent first, of equals the lower classes."""
    mistakes = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    true, predicted = mistakes.nonzero()
    counts = mistakes[true, predicted]
    order = np.lexsort((predicted, true, -counts))
    return [(int(true[place]), int(predicted[place]), int(counts[place])) for place in order]
