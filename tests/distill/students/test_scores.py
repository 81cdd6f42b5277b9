"""Accuracy, loss, agreement and calibration, by hand."""

import pytest
import torch
from torch import nn

from distill.data.batches import LabelledBatch
from distill.students.scores import expected_calibration_error, score


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
    batches = [
        LabelledBatch(logits[:3], labels[:3], torch.arange(3)),
        LabelledBatch(logits[3:], labels[3:], torch.arange(3, 4)),
    ]
    answers = torch.tensor([0, 6, 1, 0])
    scores = score(lambda pixels: pixels, batches, lambda batch: answers[batch.indices])
    assert scores.n_images == 4
    assert scores.top1 == 0.25
    assert scores.top5 == 0.75  # of ties the lower index may or may not be among the five: the third image is
    assert scores.agreement == 0.75
    expected = nn.functional.cross_entropy(logits.double(), labels).item()
    assert scores.loss == pytest.approx(expected, rel=1e-6)
