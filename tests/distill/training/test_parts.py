"""Schedules, augmentation, scores and moving averages, against values by hand or a slow re-derivation."""

import numpy as np
import pytest
import torch
from torch import nn

from distill.data.augmentation import crop_and_flip, plan_epoch
from distill.data.batches import LabelledBatch
from distill.recipe.schema import AdamW, Constant, Cosine, MultiStep, OneCycle, Sgd
from distill.runs.tables import mean_and_deviation
from distill.students.scores import expected_calibration_error, score
from distill.training.optimisers import average_of, create_optimiser
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


def test_constant():
    assert factor(Constant(name="constant"), 7, 10, 5) == 1.0


def test_crops_and_flips_are_those_of_slow_numpy():
    images = torch.randint(0, 256, (40, 7, 9, 3), dtype=torch.uint8)
    plan = plan_epoch(40, seed=3, epoch=5, padding=2, flip=True)
    ours = crop_and_flip(images[plan.order], plan.shifts, plan.flips, padding=2)
    assert ours.shape == (40, 3, 7, 9)
    assert ours.dtype == torch.uint8
    for place, image in enumerate(plan.order.tolist()):
        padded = np.pad(images[image].numpy(), ((2, 2), (2, 2), (0, 0)))
        top, left = plan.shifts[place].tolist()
        crop = padded[top : top + 7, left : left + 9]
        crop = crop[:, ::-1] if plan.flips[place] else crop
        np.testing.assert_array_equal(ours[place].permute(1, 2, 0).numpy(), crop)
    assert sorted(plan.order.tolist()) == list(range(40))
    assert 0 < plan.flips.float().mean() < 1
    assert set(plan.shifts.flatten().tolist()) == set(range(5))


def test_every_epoch_and_seed_draws_afresh_and_the_same_again():
    plans = {key: plan_epoch(50, *key, padding=4, flip=True) for key in ((0, 0), (0, 1), (1, 0))}
    again = plan_epoch(50, 0, 1, padding=4, flip=True)
    assert torch.equal(plans[0, 1].order, again.order)
    assert torch.equal(plans[0, 1].shifts, again.shifts)
    orders = [plan.order.tolist() for plan in plans.values()]
    assert len({tuple(order) for order in orders}) == 3


def test_calibration_error_by_hand():
    confidence = torch.tensor([0.95, 0.95, 0.55, 0.55], dtype=torch.float64)
    correct = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    # 0.95 with half of them right, 0.55 with both right: (2 x 0.45 + 2 x 0.45) / 4
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.45)
    assert expected_calibration_error(torch.tensor([1.0]), torch.tensor([1.0])) == pytest.approx(0.0)


def test_scores_by_hand():
    logits = torch.tensor(
        [[9.0, 8, 7, 6, 5, 4, 3], [1, 2, 3, 4, 5, 6, 7], [0, 0, 9, 0, 0, 0, 0], [7, 6, 5, 4, 3, 2, 1]]
    )
    labels = torch.tensor([0, 2, 3, 6])
    batches = [
        LabelledBatch(logits[:3], labels[:3], torch.arange(3)),
        LabelledBatch(logits[3:], labels[3:], torch.arange(3, 4)),
    ]
    answers = torch.tensor([0, 6, 1, 0])
    scores = score(lambda pixels: pixels, batches, lambda batch: answers[batch.indices])
    assert scores.n_images == 4
    assert scores.top1 == 0.25
    assert scores.top5 == 0.75  # of ties the lower index may or may not be among the five: the third image is
    assert scores.agreement == 0.75
    expected = nn.functional.cross_entropy(logits.double(), labels).item()
    assert scores.loss == pytest.approx(expected, rel=1e-6)


def test_the_moving_average_by_hand():
    network = nn.Linear(1, 1, bias=False)
    average = average_of(network, decay=0.9)
    values = [1.0, 2.0, 4.0]
    expected = None
    for value in values:
        network.weight.data.fill_(value)
        average.update_parameters(network)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
    assert average.module.weight.item() == pytest.approx(expected)


def test_optimisers_take_the_recipes_values_and_leave_the_frozen_alone():
    layer, frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    parameters = [*layer.parameters(), *frozen.parameters()]
    sgd = create_optimiser(Sgd(name="sgd", learning_rate=0.3, nesterov=True, weight_decay=0.02), parameters)
    assert len(sgd.param_groups[0]["params"]) == 2
    group = sgd.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.3, 0.9, True, 0.02)
    adamw = create_optimiser(AdamW(name="adamw", learning_rate=0.1, betas=(0.8, 0.9)), parameters)
    assert adamw.param_groups[0]["betas"] == (0.8, 0.9)


def test_means_over_seeds():
    assert mean_and_deviation([71.0, 72.0, 73.0]) == "72.00 ± 1.00"
    assert mean_and_deviation([71.234]) == "71.23"
    assert mean_and_deviation([]) == ""
