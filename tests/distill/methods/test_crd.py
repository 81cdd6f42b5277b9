"""CRD: the estimator by hand, and a memory that does what the paper says."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch.nn import functional as F

from distill.methods import create_method
from distill.methods.crd import OtherClasses, nce_loss
from xkd_eval.errors import XkdError

SIZE = 12
INDICES = torch.tensor([3, 1, 7, 0, 11])
# Of the classes 0 to 3, and of unequal numbers; class 2 has no image.
CLASSES = torch.tensor([3, 1, 0, 0, 0, 1, 3, 3, 0, 0, 1, 3])


@pytest.fixture
def crd(student, teacher):
    method = create_method("crd", dimensions=4, negatives=6, temperature=0.5, momentum=0.25)
    method.see_labels(CLASSES)
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


@pytest.fixture
def labels():
    return CLASSES[INDICES]


def test_loss_by_hand(crd, student, teacher, labels):
    own = F.normalize(crd.student_embed(student.embedding()), dim=1)
    other = F.normalize(crd.teacher_embed(teacher.embedding()), dim=1)
    memories = {"student": crd.teacher_memory.clone(), "teacher": crd.student_memory.clone()}
    torch.manual_seed(1)
    rows = []
    for index, label in zip(INDICES.tolist(), labels.tolist(), strict=True):
        pool = [other for kind in range(4) for other in range(SIZE) if CLASSES[other] == kind != label]
        rows.append([index, *(pool[place] for place in torch.randperm(len(pool))[:6])])
    candidates = torch.tensor(rows)
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
    resumed.see_labels(CLASSES)
    resumed.setup(student, teacher, dataset_size=SIZE)
    resumed.load_state_dict(crd.state_dict())
    results = []
    for method in (crd, resumed):
        torch.manual_seed(2)
        results.append(method(student, teacher, labels, INDICES)["crd_student"])
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_negatives_are_images_of_other_classes_each_as_often():
    others = OtherClasses(CLASSES)
    torch.manual_seed(0)
    for label in (0, 1, 3):
        drawn = others.draw(torch.full((6000,), label), 4)
        pool = {image for image in range(SIZE) if CLASSES[image] != label}
        assert all(len(set(row)) == 4 for row in drawn.tolist()), "an image twice in a row"
        counts = drawn.flatten().bincount(minlength=SIZE)
        assert {image for image in range(SIZE) if counts[image]} == pool
        expected = 6000 * 4 / len(pool)
        assert all(abs(counts[image] - expected) < 5 * expected**0.5 for image in pool)


def test_more_negatives_than_other_images_are_drawn_again():
    torch.manual_seed(0)
    drawn = OtherClasses(CLASSES).draw(torch.tensor([0, 3]), 50)
    assert drawn.shape == (2, 50)
    assert set(drawn[0].tolist()) == {0, 1, 5, 6, 7, 10, 11} and set(drawn[1].tolist()) == {1, 2, 3, 4, 5, 8, 9, 10}


def test_as_many_negatives_as_other_images_are_all_of_them():
    (drawn,) = OtherClasses(CLASSES).draw(torch.tensor([1]), 9).tolist()
    assert sorted(drawn) == [0, 2, 3, 4, 6, 7, 8, 9, 11]


def test_a_pool_of_all_images_needs_no_labels(student, teacher, labels):
    method = create_method("crd", dimensions=4, negatives=200, pool="all")
    method.setup(student, teacher, dataset_size=SIZE)
    drawn = method._candidates(INDICES, labels)
    assert drawn[:, 0].tolist() == INDICES.tolist()
    assert all(set(row) == set(range(SIZE)) for row in drawn[:, 1:].tolist())
    assert method(student, teacher, labels, INDICES)["crd_student"].isfinite()


def test_memories_begin_with_about_unit_length(student, teacher):
    method = create_method("crd", dimensions=3, pool="all")
    method.setup(student, teacher, dataset_size=4000)
    for memory in (method.student_memory, method.teacher_memory):
        assert 0.999 < memory.abs().max() <= 1
        assert memory.square().sum(1).mean().item() == pytest.approx(1, abs=0.02)


def test_labels_that_are_missing_or_do_not_fit_are_errors(student, teacher):
    method = create_method("crd", negatives=6)
    with pytest.raises(XkdError, match=r"^crd: the classes of the training images are not known; call `see_labels`"):
        method.setup(student, teacher, dataset_size=SIZE)
    with pytest.raises(XkdError, match=r"^crd: the training images are all of one class"):
        method.see_labels(torch.ones(SIZE, dtype=torch.long))
    method.see_labels(CLASSES[:5])
    with pytest.raises(XkdError, match=r"^crd: `see_labels` was given 5 labels; expected one for each of 12 "):
        method.setup(student, teacher, dataset_size=SIZE)
