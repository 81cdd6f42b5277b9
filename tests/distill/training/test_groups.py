"""Learning rates and decays by parameter: what the recipe says, of every family of networks, and kept on resume."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from distill.recipe.optimisation import AdamW, Sgd
from distill.training.blocks import block_paths, depths
from distill.training.groups import parameter_groups
from distill.training.optimisers import create_optimiser, set_learning_rate
from distill.training.setup import set_up
from distill.training.state import Position, restore, state_of
from distill.training.step import OrdinaryStep
from tests.distill.conftest import assert_same_bits
from xkd_eval.classifiers.architectures import build
from xkd_eval.errors import XkdError


def factors(network: nn.Module, **options) -> dict[str, float]:
    """By the name of a parameter."""
    groups = parameter_groups(Sgd(name="sgd", learning_rate=0.5, **options), network, network.parameters())
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for group in groups:
        assert group["lr"] == 0.5 * group["factor"]
    return {names[id(parameter)]: group["factor"] for group in groups for parameter in group["params"]}


def test_rates_by_pattern_and_by_module():
    found = factors(build("resnet8", 10), rates={"linear": 10, "layer?.0.conv1.*": 0.5, "layer1": 0.1})
    assert (found["linear.weight"], found["linear.bias"], found["conv1.weight"]) == (10, 10, 1)
    assert found["layer2.0.conv1.weight"] == 0.5
    assert found["layer1.0.bn1.weight"] == 0.1
    assert found["layer1.0.conv1.weight"] == pytest.approx(0.05)


def test_adapters_learn_at_the_whole_rate():
    network, adapter = build("resnet8", 10), nn.Linear(2, 2)
    groups = parameter_groups(
        AdamW(name="adamw", learning_rate=0.1, rates={"*": 0.1}, decay="matrices"),
        network,
        [*network.parameters(), *adapter.parameters()],
    )
    of = {id(parameter): group for group in groups for parameter in group["params"]}
    assert (of[id(adapter.weight)]["factor"], of[id(adapter.weight)]["weight_decay"]) == (1, 0.01)
    assert (of[id(adapter.bias)]["factor"], of[id(adapter.bias)]["weight_decay"]) == (1, 0)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"linaer": 10}, r"^optimiser\.rates: no module or parameter is called 'linaer'; nearest: linear"),
        ({"layer1": 0.1}, r"^optimiser\.rates: 'layer1' matches no parameter that trains; leave it out$"),
    ],
)
def test_a_pattern_that_matches_nothing_trained_is_refused(rates, message):
    network = build("resnet8", 10)
    network.layer1.requires_grad_(False)
    with pytest.raises(XkdError, match=message):
        factors(network, rates=rates)


def test_rates_by_depth_of_our_own():
    found = factors(build("resnet8", 10), layer_decay=0.5)
    by_stage = {"conv1.weight": 1 / 16, "bn1.bias": 1 / 16, "layer1.0.conv1.weight": 1 / 8, "linear.weight": 1}
    assert {name: found[name] for name in by_stage} == by_stage
    assert found["layer3.0.conv2.weight"] == 1 / 2


def test_rates_by_depth_are_timms():
    from timm.optim import param_groups_layer_decay

    network = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=32, depth=3)
    ours = factors(network, layer_decay=0.75)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for group in param_groups_layer_decay(network, layer_decay=0.75):
        for parameter in group["params"]:
            assert ours[names[id(parameter)]] == group["lr_scale"]


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "vit_b_16", "mobilenet_v3_small", "swin_t", "vgg11"])
def test_torchvisions_networks_have_stages_in_order(name):
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    found = depths(network)
    assert len(block_paths(network)) >= 4
    assert list(found.values())[-1] == max(found.values())
    assert set(found.values()) >= set(range(1, 4))


def test_a_network_without_depth_is_refused():
    with pytest.raises(XkdError, match=r"^optimiser\.layer_decay: the student has neither .*; give its module an"):
        factors(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), layer_decay=0.5)


class Matched(nn.Linear):
    """Names layers by rules of its own, which fail."""

    def group_matcher(self):
        return {}

    def no_weight_decay(self):
        return 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_decay": 0.5}, r"^optimiser\.layer_decay: the student's group_matcher fails \(.*\); mend it"),
        ({"decay": "matrices", "weight_decay": 0.1}, r"^optimiser\.decay: the student's no_weight_decay fails \(.*\);"),
    ],
)
def test_rules_of_a_networks_own_that_fail_are_one_line(options, message):
    with pytest.raises(XkdError, match=message):
        factors(Matched(2, 2), **options)


def test_vectors_and_what_the_network_excepts_are_not_decayed():
    network = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=32, depth=1)
    recipe = AdamW(name="adamw", learning_rate=0.1, weight_decay=0.5, decay="matrices")
    groups = parameter_groups(recipe, network, network.parameters())
    of = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    decays = {name: of[id(parameter)] for name, parameter in network.named_parameters()}
    assert decays["blocks.0.attn.qkv.weight"] == 0.5
    for name in ("blocks.0.attn.qkv.bias", "norm.weight", "pos_embed", "cls_token"):
        assert decays[name] == 0, name


def test_what_is_not_decayed_stays_where_it_has_no_gradient():
    layer = nn.Linear(2, 2)
    before = layer.bias.clone()
    optimiser = create_optimiser(
        Sgd(name="sgd", learning_rate=1.0, weight_decay=0.5, decay="matrices"), layer, layer.parameters()
    )
    weight = layer.weight.clone()
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    assert torch.equal(layer.bias, before)
    torch.testing.assert_close(layer.weight, weight / 2)


def test_the_schedule_multiplies_each_groups_factor():
    network = build("resnet8", 10)
    optimiser = create_optimiser(
        Sgd(name="sgd", learning_rate=0.5, rates={"linear": 10}), network, network.parameters()
    )
    set_learning_rate(optimiser, 0.1)
    assert [group["lr"] for group in optimiser.param_groups] == [0.1, 1.0]


def test_decay_of_nothing_is_refused():
    with pytest.raises(ValueError, match="decay: nothing is decayed, since weight_decay is 0"):
        Sgd(name="sgd", learning_rate=0.1, decay="matrices")


EVERYTHING = {
    "optimiser": {
        **{"name": "lamb", "learning_rate": 0.02, "weight_decay": 0.05, "decay": "matrices"},
        **{"layer_decay": 0.5, "rates": {"linear": 3.0}},
    },
    "ema_decay": 0.999,
    "precision": "fp16",
    "losses": [{"method": "ce", "weight": 100}, {"method": "tf_kd", "weight": 0.1}],
    "batch_size": 8,
    "student": {"architecture": "resnet8", "arguments": {"widths": [2, 2, 4, 4]}, "preprocess": {"size": [16, 16]}},
}


def test_rates_average_and_scale_continue_to_the_same_bits(recipe_of, tmp_path):
    """The loss is so large that the first steps overflow in fp16."""
    recipe = recipe_of(**EVERYTHING)
    whole, cut = (set_up(recipe, "cpu", tmp_path) for _ in range(2))
    skipped = []

    def train(setup, first, last):
        setup.wrapped.train()
        step = OrdinaryStep(setup)
        for number in range(first, last):
            values = step(step.input(0, number), 0.01, setup.objective.weights(1))
            skipped.append(values["skipped"].item())
            assert values["total"].isfinite()

    train(whole, 0, 9)
    train(cut, 0, 6)
    state = state_of(cut, Position(step=6))
    state["means"] = {"names": ["total"], "steps": 6, "sums": torch.zeros(1)}
    continued = set_up(recipe, "cpu", tmp_path)
    restore(continued, state)
    train(continued, 6, 9)
    assert skipped[0] == 1 and skipped[8] == 0
    assert_same_bits(continued.student.model.state_dict(), whole.student.model.state_dict())
    assert_same_bits(continued.average.state_dict(), whole.average.state_dict())
    assert continued.scaler.state_dict() == whole.scaler.state_dict()
    with pytest.raises(XkdError, match=r"average: of 9 steps; expected 6"):
        restore(continued, {**state, "average": whole.average.state_dict()})
    with pytest.raises(XkdError, match=r"scaler: \[\] found; expected"):
        restore(continued, {**state, "scaler": {}})
