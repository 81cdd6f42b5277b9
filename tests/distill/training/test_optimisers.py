"""Optimisers of a recipe, and the moving average by hand."""

import pytest
from torch import nn

from distill.recipe.optimisation import AdamW, Sgd
from distill.training.optimisers import average_of, create_optimiser


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
