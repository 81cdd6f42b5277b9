"""Accuracy, loss, agreement, divergence and calibration, by hand and against other libraries."""

import pytest
import torch
from scipy.stats import entropy
from torch import nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from distill.data.batches import LabelledBatch
from distill.students.scores import (
    answers_of,
    divergence,
    expected_calibration_error,
    logits_of,
    score,
    scores_of,
)


def same(given):
    return given


def batches_of(logits, labels, order, size=7):
    """Batches whose "pixels" are logits, in any order."""
    return [LabelledBatch(logits[part], labels[part], part) for part in order.split(size)]


def test_calibration_error_by_hand():
    confidence = torch.tensor([0.95, 0.95, 0.55, 0.55], dtype=torch.float64)
    correct = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    # 0.95 with half of them right, 0.55 with both right: (2 x 0.45 + 2 x 0.45) / 4
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.45)
    assert expected_calibration_error(torch.tensor([1.0]), torch.tensor([1.0])) == pytest.approx(0.0)


def test_scores_by_hand():
    logits = torch.tensor(
        [[9.0, 8, 7, 6, 5, 4, 3], [1, 2, 3, 4, 5, 6, 7], [0, 0, 9, 0, 0, 0, 0], [7, 6, 5, 4, 3, 2, 1]]
    )
    labels = torch.tensor([0, 2, 3, 6])
    answers = torch.tensor([0, 6, 1, 0])
    batches = batches_of(logits, labels, torch.arange(4), size=3)
    scores = score(same, batches, lambda batch: answers[batch.indices])
    assert scores.n_images == 4
    assert scores.top1 == 0.25
    assert scores.top5 == 0.75  # of ties the lower index may or may not be among the five: the third image is
    assert scores.agreement == 0.75
    assert scores.divergence is None  # of a teacher of whom the class alone is known
    assert scores.loss == pytest.approx(nn.functional.cross_entropy(logits.double(), labels).item(), rel=1e-6)


def test_scores_of_other_libraries():
    logits, labels = 3 * torch.randn(200, 12), torch.randint(12, (200,))
    teacher = logits + torch.randn(200, 12)
    batches = batches_of(logits, labels, torch.randperm(200))
    scores = score(same, batches, lambda batch: teacher[batch.indices])
    expected = entropy(teacher.double().softmax(1), logits.double().softmax(1), axis=1)
    assert scores.divergence == pytest.approx(expected.mean(), rel=1e-5)
    assert scores.agreement == (logits.argmax(1) == teacher.argmax(1)).double().mean()
    for k, ours in ((1, scores.top1), (5, scores.top5)):
        assert ours == pytest.approx(MulticlassAccuracy(12, top_k=k, average="micro")(logits, labels).item())
    theirs = MulticlassCalibrationError(12, n_bins=15)(logits.softmax(1), labels).item()
    assert scores.calibration_error == pytest.approx(theirs, rel=1e-4)


def test_a_teacher_that_says_the_same_is_never_below_no_divergence():
    logits = 10 * torch.randn(500, 100)
    assert (divergence(logits, logits + 5) >= 0).all()
    assert divergence(logits, logits + 5).max() < 1e-5


def test_a_teacher_of_other_classes_has_no_divergence():
    logits, labels = torch.randn(10, 6), torch.randint(6, (10,))
    scores = score(same, batches_of(logits, labels, torch.arange(10)), lambda batch: torch.randn(len(batch.labels), 9))
    assert (scores.divergence, scores.agreement is None) == (None, False)


def test_a_teacher_is_asked_once_in_whatever_batches():
    logits, labels = torch.randn(40, 6), torch.randint(6, (40,))
    found = logits_of(same, batches_of(logits, labels, torch.randperm(40), size=9), 40)
    assert torch.equal(found, logits)
    mine = torch.arange(0, 40, 2)  # of two processes the first
    half = logits_of(same, batches_of(logits, labels, mine), 40)
    assert torch.equal(half[mine], logits[mine])
    assert half[1::2].isnan().all()


def test_two_processes_have_the_scores_of_one():
    logits, labels, teacher = torch.randn(40, 6), torch.randint(6, (40,)), torch.randn(40, 6)
    parts = [
        answers_of(same, batches_of(logits, labels, torch.arange(rank, 40, 2)), lambda batch: teacher[batch.indices])
        for rank in (0, 1)
    ]
    names = iter(list(vars(parts[0])))
    gathered = parts[0].each(lambda _: torch.cat([getattr(part, name) for name in [next(names)] for part in parts]))
    alone = answers_of(same, batches_of(logits, labels, torch.arange(40)), lambda batch: teacher[batch.indices])
    ours, theirs = scores_of(gathered).to_dict(), scores_of(alone).to_dict()
    assert ours == pytest.approx(theirs)
