"""TTM and WTTM, re-derived from powers of the teacher's probabilities."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from distill.methods import create_method
from distill.methods.kd import kd_loss
from distill.methods.ttm import ttm_loss
from distill.methods.wttm import wttm_loss
from xkd_eval.errors import XkdError


def _softmax(row):
    values = [exp(value) for value in row]
    return [value / sum(values) for value in values]


@pytest.mark.parametrize("exponent", [0.1, 0.7, 1.0])
def test_both_match_the_powers_of_the_teachers_probabilities(student, teacher, labels, exponent):
    plain = weighted = 0.0
    rows = list(zip(student.logits.tolist(), teacher.logits.tolist(), strict=True))
    for own, other in rows:
        powers = [p**exponent for p in _softmax(other)]
        target = [power / sum(powers) for power in powers]
        divergence = sum(p * log(p / q) for p, q in zip(target, _softmax(own), strict=True))
        plain += divergence / len(rows)
        weighted += sum(powers) * divergence / len(rows)
    assert ttm_loss(student.logits, teacher.logits, exponent).item() == pytest.approx(plain)
    assert wttm_loss(student.logits, teacher.logits, exponent).item() == pytest.approx(weighted)
    for name, expected in (("ttm", plain), ("wttm", weighted)):
        assert create_method(name, exponent=exponent)(student, teacher, labels)[name].item() == pytest.approx(expected)


def test_by_an_exponent_of_1_both_are_kd_without_temperature(student, teacher):
    expected = kd_loss(student.logits, teacher.logits, temperature=1)
    torch.testing.assert_close(ttm_loss(student.logits, teacher.logits, 1), expected)
    torch.testing.assert_close(wttm_loss(student.logits, teacher.logits, 1), expected)


def test_an_image_that_the_teacher_hesitates_about_weighs_more():
    """Of four classes that are alike to it the powers sum to 4^(1 - 1/2) = 2, of one that it is certain of to 1."""
    student = torch.tensor([[1.0, 0, 0, 0]])
    even, certain = torch.zeros(1, 4), torch.tensor([[200.0, 0, 0, 0]])
    assert wttm_loss(student, even, 0.5) == pytest.approx(2 * ttm_loss(student, even, 0.5).item())
    assert wttm_loss(student, certain, 0.5) == pytest.approx(ttm_loss(student, certain, 0.5).item())
    assert ttm_loss(student, certain, 0.5).item() == pytest.approx(log(exp(1) + 3) - 1)


@pytest.mark.parametrize("name", ["ttm", "wttm"])
def test_an_exponent_is_a_number_above_0(name):
    with pytest.raises(XkdError, match=r"^exponent: 0 found; expected a number above 0$"):
        create_method(name, exponent=0)
