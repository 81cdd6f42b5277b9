"""VID: the density of a Gaussian, and what it learns of one that is known."""

from __future__ import annotations

from math import log, pi

import pytest
import torch
from torch.distributions import Normal
from torch.nn import functional as F

from distill.methods import create_method
from distill.methods.vid import VidRegressor, vid_loss
from xkd_eval.errors import XkdError


def test_it_is_a_negative_log_likelihood_without_its_constant():
    predicted, teacher = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    log_scale = torch.randn(3, dtype=torch.float64)
    deviation = (F.softplus(log_scale) + 1e-5).sqrt()
    total = 0.0
    for channel in range(3):
        density = Normal(predicted[:, channel], deviation[channel])
        total -= density.log_prob(teacher[:, channel]).mean().item() / 3
    assert vid_loss(predicted, teacher, log_scale).item() == pytest.approx(total - log(2 * pi) / 2)


@pytest.mark.parametrize("variance", [5.0, 2e-5, 900.0])
def test_the_variance_at_first_is_the_options(variance):
    """Where the mean is met, the loss is half of its logarithm."""
    log_scale = VidRegressor(2, 3, variance).log_scale.detach()
    maps = torch.randn(2, 3, 4, 4)
    assert vid_loss(maps, maps, log_scale).item() == pytest.approx(log(variance) / 2, rel=1e-3)


def test_the_student_is_averaged_before_it_is_regressed(student, teacher, labels):
    """Convolutions with ReLU between do not commute with an average."""
    method = create_method("vid", student_taps=["stage1"], teacher_taps=["stage3"])
    method.setup(student, teacher, dataset_size=1)
    (regress,) = method.regressors
    own, other = student.taps["stage1"], teacher.taps["stage3"]
    pooled = own.reshape(5, own.shape[1], 8, 2, 8, 2).mean((3, 5))
    weights = [layer.weight[:, :, 0, 0] for layer in regress.mean if hasattr(layer, "weight")]
    hidden = torch.einsum("oc,bchw->bohw", weights[0], pooled).relu()
    hidden = torch.einsum("oc,bchw->bohw", weights[1], hidden).relu()
    expected = vid_loss(torch.einsum("oc,bchw->bohw", weights[2], hidden), other, regress.log_scale)
    torch.testing.assert_close(method(student, teacher, labels)["vid"], expected)


def test_the_pairs_add_up(student, teacher, labels):
    method = create_method("vid")
    method.setup(student, teacher, dataset_size=1)
    assert len(method.regressors) == len(method.pairs(student, teacher)) == 3
    parts = [
        regress(own, other)
        for regress, (own, other) in zip(method.regressors, method.pairs(student, teacher), strict=True)
    ]
    torch.testing.assert_close(method(student, teacher, labels)["vid"], sum(parts))


def test_it_learns_the_variance_of_noise():
    """Of channels that the student says nothing of, whose variance is 1/4 and 4."""
    generator = torch.Generator().manual_seed(0)
    deviation = torch.tensor([0.5, 2.0])[:, None, None]
    teacher = deviation * torch.randn(64, 2, 4, 4, generator=generator)
    student = torch.zeros(64, 3, 4, 4)
    regress = VidRegressor(3, 2, variance=1.0)
    optimiser = torch.optim.Adam(regress.parameters(), lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        regress(student, teacher).backward()
        optimiser.step()
    found = F.softplus(regress.log_scale).detach() + 1e-5
    torch.testing.assert_close(found, teacher.square().mean((0, 2, 3)), rtol=1e-2, atol=0)


@pytest.mark.parametrize("variance", [0, -1, 1e-6])
def test_a_variance_is_above_the_smallest(variance):
    with pytest.raises(XkdError, match=r"^variance: .* found; expected a number above"):
        create_method("vid", variance=variance)
