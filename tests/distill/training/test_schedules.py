"""Learning rates, by hand and against torch's."""

import numpy as np
import pytest
import torch
from torch import nn

from distill.recipe.optimisation import Constant, Cosine, MultiStep, OneCycle
from distill.training.schedules import factor


def test_multistep_falls_at_its_shares_of_the_training():
    schedule = MultiStep(name="multistep", milestones=(0.625, 0.75, 0.875))
    factors = [factor(schedule, epoch * 10, 2400, 10) for epoch in (0, 149, 150, 179, 180, 210, 239)]
    np.testing.assert_allclose(factors, [1, 1, 0.1, 0.1, 0.01, 0.001, 0.001])


def test_cosine_after_a_warm_up():
    schedule = Cosine(name="cosine", warmup_epochs=2, final=0.1)
    assert [factor(schedule, step, 104, 2) for step in (0, 1, 3)] == [0.25, 0.5, 1.0]
    assert factor(schedule, 4, 104, 2) == 1.0
    assert factor(schedule, 54, 104, 2) == pytest.approx(0.55)
    assert factor(schedule, 104, 104, 2) == pytest.approx(0.1)


def test_one_cycle_is_torchs():
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2.0, total_steps=101, pct_start=0.2)
    schedule = OneCycle(name="onecycle", rise=0.2)
    for step in range(100):
        # torch's ends on its last step and rises to the peak one step early.
        ours = 2.0 * factor(schedule, step, 100, 10)
        assert ours == pytest.approx(reference.get_last_lr()[0], abs=0.11)
        optimiser.step()
        reference.step()
    assert 2.0 * factor(schedule, 20, 100, 10) == pytest.approx(2.0)


def test_a_warm_up_starts_where_it_is_told():
    schedule = Constant(name="constant", warmup_epochs=2, warmup_start=0.2)
    assert [factor(schedule, step, 104, 2) for step in range(5)] == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0])
    with pytest.raises(ValueError, match="warmup_start: there is no warm-up; set warmup_epochs, or leave it out"):
        Constant(name="constant", warmup_start=0.2)


def test_constant():
    assert factor(Constant(name="constant"), 7, 10, 5) == 1.0
