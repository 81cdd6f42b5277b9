"""MLKD, re-derived by loops over images, classes and temperatures."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from statistics import median

import pytest
import torch

from distill.methods import Pass, create_method
from distill.methods.kd import standardise_logits
from distill.methods.mlkd import mlkd_loss, mlkd_losses
from xkd_eval.errors import XkdError


def _softmax(row, temperature):
    values = [exp(value / temperature) for value in row]
    return [value / sum(values) for value in values]


def _products(rows):
    return [[sum(a * b for a, b in zip(first, second, strict=True)) for second in rows] for first in rows]


def _squares(first, second):
    return sum((a - b) ** 2 for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True))


def _by_loops(own, other, temperatures):
    """Instance, batch and class alignment of logits as lists."""
    certainty = [_softmax(row, 1) for row in other]
    images = [max(row) for row in certainty]
    classes = [sum(column) for column in zip(*certainty, strict=True)]
    shares = [sum(value <= median(values) for value in values) / len(values) for values in (images, classes)]
    instance = batch = between_classes = 0.0
    for temperature in temperatures:
        p, q = ([_softmax(row, temperature) for row in rows] for rows in (other, own))
        divergences = [sum(a * log(a / b) for a, b in zip(*rows, strict=True)) for rows in zip(p, q, strict=True)]
        instance += temperature**2 * sum(divergences) / len(own)
        batch += _squares(_products(p), _products(q)) / len(own)
        columns = ([list(column) for column in zip(*rows, strict=True)] for rows in (p, q))
        between_classes += _squares(*map(_products, columns)) / len(own[0])
    return (1 + shares[0]) * instance, shares[0] * batch, shares[1] * between_classes


@pytest.mark.parametrize("images", [4, 5], ids=["of an even batch", "of an odd one"])
def test_all_three_levels(student, teacher, images):
    own, other = student.logits[:images], teacher.logits[:images]
    expected = _by_loops(own.tolist(), other.tolist(), (2, 5))
    found = mlkd_losses(own, other, (2, 5))
    assert [loss.item() for loss in found] == pytest.approx(expected)
    assert mlkd_loss(own, other, (2, 5)).item() == pytest.approx(sum(expected))


def test_the_method_names_its_levels(student, teacher, labels):
    terms = create_method("mlkd")(student, teacher, labels)
    expected = _by_loops(student.logits.tolist(), teacher.logits.tolist(), (2, 3, 4, 5, 6))
    assert list(terms) == ["mlkd_instance", "mlkd_batch", "mlkd_class"]
    assert [loss.item() for loss in terms.values()] == pytest.approx(expected)


def test_standardised_are_the_images_alone(student, teacher, labels):
    found = create_method("mlkd", standardise=True)(student, teacher, labels)
    plain = create_method("mlkd")(student, teacher, labels)
    scored = [replace(network, logits=standardise_logits(network.logits)) for network in (student, teacher)]
    instance = create_method("mlkd")(*scored, labels)["mlkd_instance"]
    assert found["mlkd_instance"].item() == pytest.approx(instance.item())
    assert found["mlkd_batch"] == plain["mlkd_batch"] and found["mlkd_class"] == plain["mlkd_class"]


def test_by_a_certain_teacher_every_image_counts():
    """Equally confident, all are at the median, so that the images' factor is 2 and not 3 / 2."""
    labels = torch.tensor([0, 1, 1, 0])
    certain = Pass(500.0 * torch.nn.functional.one_hot(labels, 2).double())
    even = Pass(torch.zeros(4, 2, dtype=torch.float64, requires_grad=True))
    terms = create_method("mlkd", temperatures=[1])(even, certain, labels)
    # KL is log 2. Of the images' products, 1 or 0, all are a half; of the classes', 2 and 0, all are 1.
    expected = {"mlkd_instance": 2 * log(2), "mlkd_batch": 16 * 0.25 / 4, "mlkd_class": 4 * 1 / 2}
    assert {name: loss.item() for name, loss in terms.items()} == pytest.approx(expected)


@pytest.mark.parametrize("temperatures", [[], "23", 4, [2, 0]], ids=["none", "a text", "a number", "a zero"])
def test_temperatures_are_numbers_above_0(temperatures):
    with pytest.raises(XkdError, match=r"^temperatures: .* found; expected a (list of )?numbers? above 0$"):
        create_method("mlkd", temperatures=temperatures)
