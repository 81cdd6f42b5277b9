"""The losses on logits and regions, re-derived from their papers one number at a time."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt

import pytest
import torch

from distill.methods import create_method
from distill.methods.dist import dist_losses
from distill.methods.dkd import dkd_losses
from distill.methods.kd import kd_loss, standardise_logits
from distill.methods.sdd import consistent_regions, region_logits
from xkd_eval.errors import XkdError


def _softmax(row, temperature):
    values = [exp(value / temperature) for value in row]
    return [value / sum(values) for value in values]


def _divergence(p, q):
    return sum(a * log(a / b) for a, b in zip(p, q, strict=True))


def test_kd(student, teacher):
    rows = list(zip(student.logits.tolist(), teacher.logits.tolist(), strict=True))
    expected = sum(9 * _divergence(_softmax(t, 3), _softmax(s, 3)) for s, t in rows) / len(rows)
    assert kd_loss(student.logits, teacher.logits, 3).item() == pytest.approx(expected)


def test_kd_of_equal_but_shifted_logits_is_zero(student):
    assert kd_loss(student.logits, student.logits + 7, 4).item() == pytest.approx(0, abs=1e-12)


def test_standardised_logits_have_zero_mean_and_unit_spread(student, teacher, labels):
    standardised = standardise_logits(100 * student.logits + 3)
    torch.testing.assert_close(standardised.mean(1), torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(standardised.std(1), torch.ones(5, dtype=torch.float64))
    for name in ("kd", "dkd", "dist"):
        method = create_method(name, standardise=True)
        by_hand = create_method(name)
        passes = [type(network)(logits=standardise_logits(network.logits)) for network in (student, teacher)]
        if name != "dkd":
            method.temperature = by_hand.temperature = 2.0
        assert sum(method(student, teacher, labels).values()).item() == pytest.approx(
            sum(by_hand(*passes, labels).values()).item()
        )


def test_dkd_splits_the_divergence_by_the_target(student, teacher, labels):
    tckd, nckd = dkd_losses(student.logits, teacher.logits, labels, temperature=2)
    for row, label in enumerate(labels.tolist()):
        p, q = (_softmax(network.logits[row].tolist(), 2) for network in (teacher, student))
        others = [k for k in range(len(p)) if k != label]
        binary = _divergence([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        rest = _divergence([p[k] / (1 - p[label]) for k in others], [q[k] / (1 - q[label]) for k in others])
        assert tckd[row].item() == pytest.approx(4 * binary)
        assert nckd[row].item() == pytest.approx(4 * rest)
        # The paper's identity: KD = TCKD + (1 - p_target) NCKD.
        assert _divergence(p, q) == pytest.approx(binary + (1 - p[label]) * rest)


def test_dkd_stays_finite_when_the_target_is_certain(labels):
    certain = torch.zeros(5, 6).scatter(1, labels[:, None], 200.0)
    tckd, nckd = dkd_losses(torch.zeros(5, 6), certain, labels, temperature=1)
    torch.testing.assert_close(tckd, torch.full((5,), log(6)))
    torch.testing.assert_close(nckd, torch.zeros(5))


def _pearson(first, second):
    a, b = ([value - sum(row) / len(row) for value in row] for row in (first, second))
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_dist_correlates_rows_and_columns(student, teacher):
    temperature = 3.0
    own, other = ([_softmax(row, temperature) for row in network.logits.tolist()] for network in (student, teacher))
    rows = [_pearson(*pair) for pair in zip(own, other, strict=True)]
    columns = [_pearson(*pair) for pair in zip(zip(*own, strict=True), zip(*other, strict=True), strict=True)]
    inter, intra = dist_losses(student.logits, teacher.logits, temperature)
    assert inter.item() == pytest.approx(9 * (1 - sum(rows) / len(rows)), rel=1e-5)
    assert intra.item() == pytest.approx(9 * (1 - sum(columns) / len(columns)), rel=1e-5)


def test_region_logits_are_the_head_on_averaged_features(student):
    regions = region_logits(student.cams(), student.head_bias, (1, 2))
    assert regions.shape == (5, 1 + 4, 6)
    torch.testing.assert_close(regions[:, 0], student.logits)
    # The third of the 2 x 2 regions is the lower left one.
    corner = student.features[:, :, 2:, :2].mean((2, 3)) @ student.head_weight.T + student.head_bias
    torch.testing.assert_close(regions[:, 3], corner)


def _window(index, size, count):
    """From where to where the index-th of `count` regions reaches on a side of `size` places."""
    return index * size // count, -(-(index + 1) * size // count)


def _averaged(values, count):
    """Rows of numbers averaged over count x count regions, which overlap where count does not divide their number."""
    windows = [_window(index, len(values), count) for index in range(count)]
    return [
        [sum(sum(row[left:right]) for row in values[top:bottom]) / ((bottom - top) * (right - left))
         for left, right in windows]
        for top, bottom in windows
    ]  # fmt: skip


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 8])
def test_regions_are_averages_of_a_grid_of_4_on_maps_of_any_size(side):
    cams = torch.randn(1, 2, side, side, dtype=torch.float64)
    regions = region_logits(cams, None, (1, 2, 4, 3))
    for k in range(2):
        finest = _averaged(cams[0, k].tolist(), 4)
        expected = [_averaged(finest, 1), _averaged(finest, 2), finest, _averaged(cams[0, k].tolist(), 3)]
        flat = [value for grid in expected for row in grid for value in row]
        torch.testing.assert_close(regions[0, :, k], torch.tensor(flat, dtype=torch.float64))
    is_divided = side % 4 == 0 or side <= 2
    assert torch.allclose(regions[:, 0], cams.mean((2, 3))) == is_divided


@pytest.mark.parametrize("reference", ["label", "teacher"])
@pytest.mark.parametrize("base", ["kd", "dkd"])
def test_sdd_weighs_complementary_regions(student, teacher, labels, base, reference):
    # Features that differ from place to place, so that regions disagree with the whole.
    features = 5 * torch.randn_like(teacher.features)
    logits = features.mean((2, 3)) @ teacher.head_weight.T + teacher.head_bias
    teacher = replace(teacher, features=features, logits=logits)
    # The teacher is right about three images; in a corner of the two others it sees the label's class all the same.
    corner = region_logits(teacher.cams(), teacher.head_bias, (2,))[:, 0]
    labels = torch.where(torch.arange(5) < 3, logits.argmax(1), corner.argmax(1))
    assert (logits.argmax(1) == labels).tolist() == [True, True, True, False, False]
    options = {"base": base, "beta": 5.0, "reference": reference}
    terms = create_method("sdd", scales=[1, 2], complementary=3.0, temperature=2.0, **options)(student, teacher, labels)
    consistent = complementary = 0.0
    for row, label in enumerate(labels):
        for region in range(5):
            own, other = (
                region_logits(network.cams(), network.head_bias, (1, 2))[row, region][None]
                for network in (student, teacher)
            )
            if base == "kd":
                loss = kd_loss(own, other, 2.0).item()
            else:
                tckd, nckd = dkd_losses(own, other, label[None], 2.0)
                loss = (tckd + 5 * nckd).item()
            seen, whole = other.argmax(), teacher.logits[row].argmax()
            is_same = seen == whole if reference == "teacher" else (seen == label) == (whole == label)
            if is_same:
                consistent += loss / 25
            else:
                complementary += loss / 25
    assert complementary > 0
    assert terms["sdd_consistent"].item() == pytest.approx(consistent)
    assert terms["sdd_complementary"].item() == pytest.approx(3 * complementary)


def test_regions_are_consistent_by_the_label_or_by_the_teacher():
    # The image's label is 0. Rows: the image as 0, as 1; columns: regions as 0, 1, 2.
    regions, whole = torch.eye(3)[None].expand(2, 3, 3), torch.eye(3)[:2]
    labels = torch.zeros(2, dtype=torch.long)
    by_label = [[True, False, False], [False, True, True]]
    assert consistent_regions(regions, whole, labels).tolist() == by_label
    assert consistent_regions(regions, whole, labels, "teacher").tolist() == [
        [True, False, False],
        [False, True, False],
    ]


def test_tf_kd_is_the_divergence_from_a_teacher_that_is_always_right(student, labels):
    correct, temperature = 0.9, 5.0
    expected = 0.0
    for row, label in zip(student.logits.tolist(), labels.tolist(), strict=True):
        virtual = [log(correct if k == label else (1 - correct) / (len(row) - 1)) for k in range(len(row))]
        divergence = _divergence(_softmax(virtual, temperature), _softmax(row, temperature))
        expected += temperature**2 * divergence / len(labels)
    method = create_method("tf_kd", correct=correct, temperature=temperature)
    assert method(student, None, labels)["tf_kd"].item() == pytest.approx(expected)


def test_tf_kd_of_the_authors_code_softens_probabilities_and_the_teacher_alone(student, labels):
    expected = 0.0
    for row, label in zip(student.logits.tolist(), labels.tolist(), strict=True):
        virtual = [0.9 if k == label else 0.1 / (len(row) - 1) for k in range(len(row))]
        expected += _divergence(_softmax(virtual, 5.0), _softmax(row, 1)) / len(row) / len(labels)
    method = create_method("tf_kd", correct=0.9, temperature=5.0, variant="author")
    assert method(student, None, labels)["tf_kd"].item() == pytest.approx(expected)


@pytest.mark.parametrize("correct", [0, 1, 1.5, True, "0.9"])
def test_tf_kds_teacher_is_neither_certain_nor_always_wrong(correct):
    with pytest.raises(XkdError, match=r"^correct: .* found; expected a number above 0 and below 1$"):
        create_method("tf_kd", correct=correct)
