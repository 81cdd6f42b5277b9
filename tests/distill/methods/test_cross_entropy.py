"""Class weights of the cross-entropy, against the definition and scikit-learn's numbers."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from distill.methods import create_method
from distill.testing import check_method
from xkd_eval.errors import XkdError

COUNTS = torch.tensor([6, 3, 2, 1, 4, 4])


def ce(**options):
    method = create_method("ce", **options)
    method.see_classes(COUNTS)
    return method


def test_balanced_weights_are_those_of_scikit_learn(student, labels):
    images = torch.arange(6).repeat_interleave(COUNTS).numpy()
    expected = torch.tensor(compute_class_weight("balanced", classes=np.arange(6), y=images))
    torch.testing.assert_close(ce(class_weights="balanced").weights.double(), expected)
    losses = F.cross_entropy(student.logits, labels, reduction="none") * expected[labels]
    found = ce(class_weights="balanced")(student, None, labels)["ce"]
    torch.testing.assert_close(found, losses.sum() / expected[labels].sum())
    assert found != ce()(student, None, labels)["ce"]


def test_classes_without_images_weigh_nothing():
    method = create_method("ce", class_weights="balanced")
    method.see_classes(torch.tensor([3, 0, 1]))
    torch.testing.assert_close(method.weights, torch.tensor([4 / 6, 0, 4 / 2]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_of_ones_own(student, labels, smoothing):
    weights = [1, 2, 0.5, 3, 1, 1]
    method = ce(class_weights=weights, label_smoothing=smoothing)
    expected = F.cross_entropy(
        student.logits, labels, torch.tensor(weights, dtype=torch.float64), label_smoothing=smoothing
    )
    torch.testing.assert_close(method(student, None, labels)["ce"], expected)
    shares = F.one_hot(labels, 6).double()
    torch.testing.assert_close(method.losses(student, student, shares, None)["ce"], expected)


def test_weights_are_no_part_of_a_state():
    assert not ce(class_weights="balanced").state_dict()


@pytest.mark.parametrize("weights", ["equal", [], [1, 0], [1, -1.0], [True, 1], 3, [1, "x"]])
def test_no_weights(weights):
    with pytest.raises(XkdError, match=r"^class_weights: .* found; expected"):
        create_method("ce", class_weights=weights)


def test_weights_that_do_not_fit(student, labels):
    with pytest.raises(XkdError, match="class_weights: 2 numbers found; expected one for each of 6 classes"):
        ce(class_weights=[1, 2])
    with pytest.raises(XkdError, match="class_weights: the classes are not counted; call `see_classes`"):
        create_method("ce", class_weights="balanced")(student, None, labels)


def test_the_contract():
    check_method("ce", class_weights="balanced")
