"""Layers draw what torch would have drawn, and nobody else notices."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.randomisation.layers import DrawnFrom, Layers, layers_of


def network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 1), nn.LayerNorm(5)), nn.PReLU()
    )


def state(module):
    return {name: values.clone() for name, values in module.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_layers_come_as_they_are_defined_norms_among_them():
    assert layers_of(network()) == ["0", "1", "3.0", "3.1", "4"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(3, 5, 3),
        lambda: nn.Linear(7, 3),
        lambda: nn.Embedding(5, 4),
        lambda: nn.GRU(4, 3),
        lambda: nn.Bilinear(2, 3, 4),
    ],
)
def test_a_layer_draws_as_it_would_after_manual_seed(make):
    ours, theirs = make(), make()
    Layers(nn.Sequential(ours), "all", "initial", "same", 43).redraw("0")
    torch.manual_seed(43)
    theirs.reset_parameters()
    assert same(ours.state_dict(), theirs.state_dict())


def test_norms_lose_their_statistics_too():
    norm = nn.BatchNorm2d(3)
    norm.running_mean += 1
    norm.weight.data += 1
    Layers(nn.Sequential(norm), "all", "initial", "layer", 0).redraw("0")
    assert norm.running_mean.abs().max() == 0 and norm.weight.eq(1).all()


def test_what_holds_layers_and_no_weights_is_none():
    model = nn.Sequential(nn.Transformer(8, 2, 1, 1, 16, batch_first=True))
    assert hasattr(model[0], "_reset_parameters")
    assert layers_of(model)[0] == "0.encoder.layers.0.self_attn"


def test_torchs_attention_is_redrawn_whole_and_given_back():
    model = nn.TransformerEncoderLayer(8, 2, 16)
    attention = model.self_attn
    with torch.no_grad():
        attention.in_proj_bias.fill_(1)
    learned = {name: values.clone() for name, values in model.state_dict().items()}
    layers = Layers(model, "all", "initial", "layer", 0)
    assert layers.paths[:2] == ["self_attn", "self_attn.out_proj"]
    for path in layers.paths:
        layers.redraw(path)
    assert not attention.in_proj_bias.any()
    assert not torch.equal(attention.in_proj_weight, learned["self_attn.in_proj_weight"])
    assert not torch.equal(attention.out_proj.weight, learned["self_attn.out_proj.weight"])
    layers.restore()
    assert all(torch.equal(values, learned[name]) for name, values in model.state_dict().items())


def test_seeds_are_a_layers_own_or_the_same():
    twins = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for seeding, expected in (("same", True), ("layer", False)):
        layers = Layers(twins, "all", "initial", seeding, 0)
        for path in layers.paths:
            layers.redraw(path)
        assert torch.equal(twins[0].weight, twins[1].weight) == expected
    before = state(twins)
    Layers(twins, "all", "initial", "layer", 0).redraw("1")
    assert same(before, state(twins)), "a redrawn layer depends on no layer redrawn before it"
    Layers(twins, "all", "initial", "layer", 1).redraw("1")
    assert not same(before, state(twins))


def test_uniform_weights_are_between_0_and_1():
    model = network()
    layers = Layers(model, "all", "uniform", "layer", 0)
    for path in layers.paths:
        layers.redraw(path)
    for name, values in model.state_dict().items():
        assert "tracked" in name or ((values >= 0).all() and (values < 1).all()), name


def test_every_layer_gets_its_weights_back():
    model = network()
    before = state(model)
    layers = Layers(model, "all", "initial", "layer", 0)
    for path in (*layers.paths, *layers.paths):
        layers.redraw(path)
    assert not same(before, state(model))
    layers.restore()
    assert same(before, state(model))


@pytest.mark.parametrize("order", [1, -1])
def test_layers_that_share_weights_get_them_back_in_whatever_order_they_were_redrawn(order):
    class Block(nn.Sequential):
        def reset_parameters(self):
            for layer in self:
                layer.reset_parameters()

    model = nn.Sequential(Block(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 4))
    model[1].weight = model[0][0].weight
    learned = state(model)
    layers = Layers(model, "all", "initial", "layer", 0)
    assert layers.paths == ["0", "0.0", "0.1", "1"]
    for path in layers.paths[::order]:
        layers.redraw(path)
    assert not same(state(model), learned)
    layers.restore()
    assert same(state(model), learned)


def test_torchs_own_generator_stays_as_it_is():
    layers = Layers(network(), "all", "initial", "layer", 0)
    before = torch.get_rng_state()
    for path in layers.paths:
        layers.redraw(path)
    assert torch.equal(before, torch.get_rng_state())


def test_threads_do_not_disturb_each_other():
    torch.manual_seed(5)
    alone = torch.stack([torch.rand(8) for _ in range(200)])
    expected = nn.Linear(16, 16)
    Layers(nn.Sequential(expected), "all", "initial", "same", 3).redraw("0")
    torch.manual_seed(5)
    found = []

    def redraw():
        for _ in range(200):
            layer = nn.Sequential(copy.deepcopy(expected))
            Layers(layer, "all", "initial", "same", 3).redraw("0")
            found.append(torch.equal(layer[0].weight, expected.weight))

    thread = threading.Thread(target=redraw)
    thread.start()
    beside = torch.stack([torch.rand(8) for _ in range(200)])
    thread.join()
    assert torch.equal(alone, beside)
    assert len(found) == 200 and all(found)


@pytest.mark.parametrize(
    "draw", [lambda: torch.randn(5), lambda: torch.randperm(9), lambda: torch.randint(3, 50, (4,))]
)
def test_new_tensors_are_drawn_from_the_generator_as_well(draw):
    with DrawnFrom(torch.Generator().manual_seed(7)):
        ours = draw()
    torch.manual_seed(7)
    assert torch.equal(ours, draw())


def test_a_draw_that_takes_no_generator_is_refused():
    with (
        DrawnFrom(torch.Generator()),
        pytest.raises(XkdError, match=r"^model: a layer's reset_parameters draws by .* takes no generator"),
    ):
        torch.native_dropout(torch.ones(5), 0.5, True)


def test_a_network_without_such_layers_is_refused():
    with pytest.raises(XkdError, match=r"^model: no layer of Sequential has `reset_parameters`"):
        Layers(nn.Sequential(nn.ReLU()), "all", "initial", "layer", 0)
