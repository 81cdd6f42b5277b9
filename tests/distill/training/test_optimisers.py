"""Optimisers of a recipe against their libraries' own, what they continue from, and the moving average by hand."""

from __future__ import annotations

from copy import deepcopy
from io import BytesIO

import pytest
import torch
from pydantic import TypeAdapter
from timm.optim import create_optimizer_v2, get_optimizer_info
from torch import nn

from distill.recipe.optimisation import AdamW, Optimiser, Sgd, TimmOptimiser
from distill.training.optimiser_state import load_optimiser
from distill.training.optimisers import MovingAverage, create_optimiser

TIMMS = (
    *("adam", "nadam", "nadamw", "radam", "adabelief", "adan", "lamb", "lion"),
    *("lars", "rmsprop", "rmsproptf", "sgdw"),
)
OURS = [{"name": "sgd", "momentum": 0.0}, {"name": "sgd", "nesterov": True}, {"name": "adamw"}]
EACH = [*OURS, *({"name": name} for name in TIMMS)]


def optimiser_recipe(values) -> Optimiser:
    return TypeAdapter(Optimiser).validate_python({"learning_rate": 0.01, **values})


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def step(model: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    images = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    (model(images) - 1).square().sum().backward()
    optimiser.step()
    optimiser.zero_grad()


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", TIMMS)
def test_a_step_is_timms_own(name):
    ours, theirs, before = network(), network(), network()
    optimiser = create_optimiser(optimiser_recipe({"name": name, "weight_decay": 0.1}), ours, ours.parameters())
    other = create_optimizer_v2(list(theirs.parameters()), name, lr=0.01, weight_decay=0.1)
    for number in range(2):
        step(ours, optimiser, number)
        step(theirs, other, number)
    assert_same_weights(ours, theirs)
    assert not torch.equal(ours[0].weight, before[0].weight)


@pytest.mark.parametrize("values", EACH, ids=lambda values: "-".join(map(str, values.values())))
def test_each_continues_to_the_same_bits(values):
    recipe = optimiser_recipe({**values, "weight_decay": 0.1, "decay": "matrices", "rates": {"0": 0.5}})
    whole = network()
    optimiser = create_optimiser(recipe, whole, whole.parameters())
    for number in range(3):
        step(whole, optimiser, number)
    file, cut = BytesIO(), deepcopy(whole)
    torch.save(optimiser.state_dict(), file)
    file.seek(0)
    continued = create_optimiser(recipe, cut, cut.parameters())
    load_optimiser(continued, recipe, torch.load(file, weights_only=True))
    for number in range(3, 6):
        step(whole, optimiser, number)
        step(cut, continued, number)
    assert_same_weights(whole, cut)


def edited(change):
    """The state of three of LAMB's steps, changed."""
    recipe, model = optimiser_recipe({"name": "lamb"}), network()
    optimiser = create_optimiser(recipe, model, model.parameters())
    for number in range(3):
        step(model, optimiser, number)
    state = deepcopy(optimiser.state_dict())
    change(state)
    other = network()
    load_optimiser(create_optimiser(recipe, other, other.parameters()), recipe, state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state["state"][0].pop("exp_avg"),
            r"found for a parameter; expected \['exp_avg', '",
        ),
        (lambda state: state["state"][0].update(exp_avg=torch.ones(2)), "exp_avg: .* found; expected"),
        (lambda state: state["state"][0].update(exp_avg=state["state"][0]["exp_avg"].double()), "exp_avg: .* found"),
        (lambda state: state["state"][0]["exp_avg"].fill_(torch.nan), "exp_avg is not finite"),
        (lambda state: state["param_groups"][0].pop("step"), "step"),
        (lambda state: state["param_groups"][0].update(step="x"), "step"),
        (lambda state: state["param_groups"][0].update(step=-1 * state["param_groups"][0]["step"]), "step .* found"),
        (lambda state: state["param_groups"][0].update(params=[0]), "of other parameters"),
    ],
)
def test_a_state_of_another_kind_is_refused(change, message):
    edited(lambda state: None)
    with pytest.raises(ValueError, match=message):
        edited(change)


@pytest.mark.parametrize("name", TIMMS)
def test_options_are_those_that_timm_knows(name):
    info = get_optimizer_info(name)
    for option, known, value in (
        ("betas", info.has_betas, [0.8] * info.num_betas),
        ("momentum", info.has_momentum, 0.5),
    ):
        values = {"name": name, option: value}
        if known:
            model = network()
            group = create_optimiser(optimiser_recipe(values), model, model.parameters()).param_groups[0]
            assert group[option] == (tuple(value) if option == "betas" else value)
        else:
            with pytest.raises(ValueError, match=f"{option}: {name} has none; leave it out"):
                optimiser_recipe(values)


def test_too_few_betas_and_an_eps_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match="betas: 2 found; adan takes 3"):
        TimmOptimiser(name="adan", learning_rate=0.1, betas=(0.9, 0.9))
    with pytest.raises(ValueError, match="eps: lion has none"):
        TimmOptimiser(name="lion", learning_rate=0.1, eps=1e-6)


def test_optimisers_take_the_recipes_values_and_leave_the_frozen_alone():
    layer, frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    parameters = [*layer.parameters(), *frozen.parameters()]
    sgd = create_optimiser(Sgd(name="sgd", learning_rate=0.3, nesterov=True, weight_decay=0.02), layer, parameters)
    assert len(sgd.param_groups[0]["params"]) == 2
    group = sgd.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.3, 0.9, True, 0.02)
    adamw = create_optimiser(AdamW(name="adamw", learning_rate=0.1, betas=(0.8, 0.9)), layer, parameters)
    assert adamw.param_groups[0]["betas"] == (0.8, 0.9)


def test_the_moving_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(model, decay=0.5)
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    expected = 0.0
    for number, value in enumerate(values):
        model.weight.data.fill_(value)
        average.update_parameters(model)
        decay = min(0.5, 1 - (1 + number) ** (-2 / 3))
        expected = decay * expected + (1 - decay) * value
    assert average.module.weight.item() == pytest.approx(expected)
    assert expected != pytest.approx(16)


def test_a_long_average_of_a_short_run_is_near_its_end():
    """Without the rise of the decay it would be the first weights, 0, to a thousandth."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = MovingAverage(model, decay=0.9999)
    for number in range(21):
        model[0].weight.data.fill_(number / 20)
        model[1].running_mean.fill_(number / 20)
        model[1].num_batches_tracked.fill_(number)
        average.update_parameters(model)
    assert 0.7 < average.module[0].weight.item() < 1
    assert average.module[1].running_mean.item() == pytest.approx(average.module[0].weight.item())
    assert average.module[1].num_batches_tracked.item() == 20
