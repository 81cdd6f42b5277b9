"""CRD: the estimator by hand, and a memory that does what the paper says."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch.nn import functional as F

from distill.methods import create_method
from distill.methods.crd import nce_loss

SIZE = 12
INDICES = torch.tensor([3, 1, 7, 0, 11])


@pytest.fixture
def crd(student, teacher):
    method = create_method("crd", dimensions=4, negatives=6, temperature=0.5, momentum=0.25)
    method.setup(student, teacher, dataset_size=SIZE)
    return method


def test_nce_by_hand():
    scores = torch.tensor([[0.5, 0.1, 0.2], [2.0, 1.0, 0.4]], dtype=torch.float64)
    noise = 2 / 10
    expected = 0.0
    for positive, *negatives in scores.tolist():
        expected -= log(positive / (positive + noise))
        expected -= sum(log(noise / (negative + noise)) for negative in negatives)
    assert nce_loss(scores, dataset_size=10).item() == pytest.approx(expected / 2, rel=1e-5)


def test_loss_by_hand(crd, student, teacher, labels):
    own = F.normalize(crd.student_embed(student.embedding()), dim=1)
    other = F.normalize(crd.teacher_embed(teacher.embedding()), dim=1)
    memories = {"student": crd.teacher_memory.clone(), "teacher": crd.student_memory.clone()}
    torch.manual_seed(1)
    candidates = torch.cat((INDICES[:, None], torch.randint(SIZE, (5, 6))), dim=1)
    torch.manual_seed(1)
    terms = crd(student, teacher, labels, INDICES)
    for role, anchors in (("student", own), ("teacher", other)):
        scores = torch.stack(
            [(memories[role][candidates[row]] @ anchor / 0.5).exp() for row, anchor in enumerate(anchors)]
        )
        normalised = scores / (scores.mean() * SIZE)
        torch.testing.assert_close(terms[f"crd_{role}"], nce_loss(normalised, SIZE))


def test_the_memory_moves_after_the_loss_and_only_where_seen(crd, student, teacher, labels):
    before = crd.student_memory.clone()
    own = F.normalize(crd.student_embed(student.embedding()), dim=1).detach()
    crd(student, teacher, labels, INDICES)
    torch.testing.assert_close(crd.student_memory[INDICES], F.normalize(0.25 * before[INDICES] + 0.75 * own, dim=1))
    unseen = torch.ones(SIZE, dtype=torch.bool).index_fill(0, INDICES, False)
    torch.testing.assert_close(crd.student_memory[unseen], before[unseen])


def test_normalisers_stay_what_the_first_batch_made_them(crd, student, teacher, labels):
    crd(student, teacher, labels, INDICES)
    first = crd.normalisers.clone()
    crd(student, teacher, labels, INDICES)
    assert (first > 0).all()
    torch.testing.assert_close(crd.normalisers, first)


def test_evaluation_leaves_the_memory_alone(crd, student, teacher, labels):
    crd.eval()
    before = crd.student_memory.clone()
    crd(student, teacher, labels, INDICES)
    torch.testing.assert_close(crd.student_memory, before)


def test_memories_are_resumed_with_the_module(crd, student, teacher, labels):
    crd(student, teacher, labels, INDICES)
    resumed = create_method("crd", dimensions=4, negatives=6, temperature=0.5, momentum=0.25)
    resumed.setup(student, teacher, dataset_size=SIZE)
    resumed.load_state_dict(crd.state_dict())
    results = []
    for method in (crd, resumed):
        torch.manual_seed(2)
        results.append(method(student, teacher, labels, INDICES)["crd_student"])
    torch.testing.assert_close(*results, rtol=0, atol=0)
