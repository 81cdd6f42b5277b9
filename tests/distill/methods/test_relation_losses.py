"""The losses on the relations between a batch's images, re-derived by loops."""

from __future__ import annotations

from itertools import product
from math import log

import numpy as np
import pytest
import torch

from distill.methods import create_method
from distill.methods.pkt import pkt_loss
from distill.methods.rkd import rkd_angle_loss, rkd_distance_loss
from distill.methods.sp import sp_loss


def _huber(x):
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


@pytest.fixture
def embeddings(student, teacher):
    return student.embedding().detach(), teacher.embedding()


def test_sp(student, teacher):
    similarities = []
    for network in (student, teacher):
        rows = network.features.detach().flatten(1).numpy()
        gram = np.array([[sum(a * b) for b in rows] for a in rows])
        similarities.append(np.array([row / np.sqrt(sum(row**2)) for row in gram]))
    expected = sum((a - b) ** 2 for a, b in zip(*(s.ravel() for s in similarities), strict=True)) / 5**2
    assert sp_loss(student.features, teacher.features).item() == pytest.approx(expected)


def test_rkd_distances(embeddings):
    relative = []
    for points in embeddings:
        points = points.numpy()
        distances = [np.linalg.norm(a - b) for a, b in product(points, points)]
        mean = sum(distances) / (5 * 4)
        relative.append([distance / mean for distance in distances])
    expected = sum(_huber(a - b) for a, b in zip(*relative, strict=True)) / 25
    assert rkd_distance_loss(*embeddings).item() == pytest.approx(expected)


def test_rkd_angles(embeddings):
    def cosine(points, at, first, second):
        if at in (first, second):
            return 0.0
        one, two = points[first] - points[at], points[second] - points[at]
        return one @ two / (np.linalg.norm(one) * np.linalg.norm(two))

    own, other = (points.numpy() for points in embeddings)
    triplets = list(product(range(5), repeat=3))
    expected = sum(_huber(cosine(own, *triplet) - cosine(other, *triplet)) for triplet in triplets) / 125
    assert rkd_angle_loss(*embeddings).item() == pytest.approx(expected)


def test_rkd_ignores_scale_and_rotation(embeddings):
    points = embeddings[0]
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))
    assert rkd_distance_loss(3 * points @ rotation, points).item() == pytest.approx(0, abs=1e-12)
    assert rkd_angle_loss(3 * points @ rotation, points).item() == pytest.approx(0, abs=1e-12)


def test_rkd_has_a_finite_gradient_on_the_diagonal(student, teacher, labels):
    sum(create_method("rkd")(student, teacher, labels).values()).backward()
    assert torch.isfinite(student.features.grad).all()


def test_pkt(embeddings):
    distributions = []
    for points in embeddings:
        points = points.numpy()
        similarity = [[(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) + 1) / 2 for b in points] for a in points]
        distributions.append([[value / sum(row) for value in row] for row in similarity])
    own, other = distributions
    expected = sum(
        q * log(q / p) for row, column in zip(other, own, strict=True) for q, p in zip(row, column, strict=True)
    )
    assert pkt_loss(*embeddings).item() == pytest.approx(expected / 25, rel=1e-4)
