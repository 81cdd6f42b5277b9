"""Scores of a classifier, against a loop over single images."""

import pytest
import torch
from torch.nn import functional as F

from distill.students.measure import measure
from xkd_eval import load_classifier
from xkd_eval.datasets import open_dataset


def test_measured_by_hand(teacher, cifar10):
    """Against a loop over single images."""
    classifier, dataset = load_classifier(teacher), open_dataset(str(cifar10), split="test")
    pixels = torch.stack([classifier.preprocess.pixels(dataset.load(place).image) for place in range(len(dataset))])
    with torch.inference_mode():
        logits = torch.cat([classifier(classifier.preprocess.normalise(image[None])) for image in pixels])
    labels = torch.tensor(dataset.labels)
    scores = measure(str(teacher), str(cifar10), teacher=str(teacher))
    assert scores.top1 == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert scores.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)
    assert scores.agreement == 1.0


def test_what_the_caller_has_set_changes_nothing():
    alone = measure("embedded/kd", "embedded", limit=20, device="cpu")
    with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        assert measure("embedded/kd", "embedded", limit=20, device="cpu") == alone
