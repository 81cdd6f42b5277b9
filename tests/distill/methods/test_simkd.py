"""SimKD's loss: at which size maps are compared, and through whose projector."""

from __future__ import annotations

import pytest
import torch

from distill.methods import create_method
from distill.methods.simkd import simkd_loss
from xkd_eval.errors import XkdError


def test_the_larger_map_is_averaged():
    small, large = torch.randn(2, 3, 2, 2, dtype=torch.float64), torch.randn(2, 3, 4, 6, dtype=torch.float64)
    pooled = large.reshape(2, 3, 2, 2, 2, 3).mean((3, 5))
    expected = (small - pooled).square().mean()
    torch.testing.assert_close(simkd_loss(small, large), expected)
    torch.testing.assert_close(simkd_loss(large, small), expected)


def test_other_channels_are_refused():
    with pytest.raises(XkdError, match=r"^teacher: shape \(2, 4, 2, 2\) found; expected \(2, 3, ...\)"):
        simkd_loss(torch.zeros(2, 3, 2, 2), torch.zeros(2, 4, 2, 2))


@pytest.mark.parametrize(("factor", "hidden"), [(2, 8), (8, 2), (100, 1)])
def test_a_projector_of_its_own_narrows_by_the_factor(student, teacher, labels, factor, hidden):
    method = create_method("simkd", factor=factor)
    method.setup(student, teacher, dataset_size=1)
    convolutions = [layer for layer in method.projector if isinstance(layer, torch.nn.Conv2d)]
    assert [tuple(layer.weight.shape) for layer in convolutions] == [
        (hidden, 8, 1, 1),
        (hidden, hidden, 3, 3),
        (16, hidden, 1, 1),
    ]
    pooled = teacher.features.reshape(5, 16, 4, 2, 4, 2).mean((3, 5))
    expected = (method.projector(student.features) - pooled).square().mean()
    torch.testing.assert_close(method(student, teacher, labels)["simkd"], expected)


def test_a_student_that_has_it_built_in_is_not_projected_again(teacher, labels):
    method = create_method("simkd")
    method.is_built_in = True
    method.setup(teacher, teacher, dataset_size=1)
    assert not list(method.parameters())
    assert method(teacher, teacher, labels)["simkd"] == 0
