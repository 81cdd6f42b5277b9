"""SRD, re-derived number by number, and where its logarithm ends."""

from __future__ import annotations

from math import log, sqrt

import pytest
import torch

from distill.methods import create_method
from distill.methods.srd import srd_loss


def _normalised(column):
    mean = sum(column) / len(column)
    variance = sum((value - mean) ** 2 for value in column) / len(column)
    return [(value - mean) / sqrt(variance + 1e-4) for value in column]


@pytest.mark.parametrize("power", [4, 1.5])
def test_it_is_the_logarithm_of_the_summed_powers(power):
    own, other = torch.randn(2, 5, 3, dtype=torch.float64)
    total = 0.0
    for channel in range(3):
        pair = _normalised(own[:, channel].tolist()), _normalised(other[:, channel].tolist())
        total += sum(abs(a - b) ** power for a, b in zip(*pair, strict=True))
    assert srd_loss(own, other, power).item() == pytest.approx(log(total))


def test_scale_and_offset_of_a_channel_do_not_count():
    own, other = 100 * torch.randn(2, 8, 3, dtype=torch.float64)
    moved = own * torch.tensor([2.0, 30, 1000]) + torch.tensor([5.0, -7, 1])
    assert srd_loss(moved, other).item() == pytest.approx(srd_loss(own, other).item(), rel=1e-5)


def test_equal_embeddings_have_a_finite_loss():
    own = torch.randn(4, 3).requires_grad_()
    loss = srd_loss(own, own.detach())
    loss.backward()
    assert loss.item() == pytest.approx(log(torch.finfo(torch.float32).tiny))
    assert own.grad.isfinite().all()


def test_the_student_goes_through_a_trained_layer(student, teacher, labels):
    method = create_method("srd")
    method.setup(student, teacher, dataset_size=1)
    embedding = student.embedding() @ method.projector.weight.T + method.projector.bias
    loss = method(student, teacher, labels)["srd"]
    torch.testing.assert_close(loss, srd_loss(embedding, teacher.embedding()))
    loss.backward()
    assert method.projector.weight.grad.any()
