"""Hooks see every call within their block, and leave nothing behind."""

import pytest
import torch
from torch import nn

from xkd_eval.classifiers.hooks import ForwardHooks, Outputs


class Twice(nn.Module):
    """x -> relu_(2 x) -> 2 of that: the doubling is called twice, and its first output is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(1, 1, bias=False)
        self.twice.weight.data.fill_(2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.twice(self.twice(values).relu_())


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_every_call_is_seen_with_its_inputs_and_output():
    model, seen = Twice(), []
    with torch.no_grad(), ForwardHooks({"d": model.twice}, lambda *call: seen.append(call)):
        model(torch.tensor([[3.0]]))
    assert [(key, module is model.twice, inputs[0].item(), output.item()) for key, module, inputs, output in seen] == [
        ("d", True, 3, 6),
        ("d", True, 6, 12),
    ]
    model(torch.tensor([[3.0]]))
    assert len(seen) == 2 and hooks(model) == 0


def test_a_returned_tensor_takes_the_outputs_place():
    model = Twice()
    with ForwardHooks({0: model.twice}, lambda key, module, inputs, output: output + 1):
        assert model(torch.tensor([[3.0]])).item() == 2 * (2 * 3 + 1) + 1


def test_the_hooks_go_where_the_network_fails():
    model = Twice()
    with pytest.raises(RuntimeError), Outputs({"d": model.twice}):
        model(torch.zeros(1, 5))
    assert hooks(model) == 0


def test_outputs_are_those_of_the_last_call():
    model = Twice()
    with Outputs({"d": model.twice, "unused": nn.ReLU()}) as outputs:
        model(torch.tensor([[3.0]]))
    assert (outputs["d"].item(), outputs.inputs["d"][0].item()) == (12, 6)
    assert "d" in outputs and "unused" not in outputs
    with pytest.raises(KeyError):
        outputs["unused"]


@pytest.mark.parametrize(("copied_on", "kept"), [(True, -1.0), (False, 0.0)])
def test_a_copy_keeps_what_a_later_layer_overwrites(copied_on, kept):
    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    with Outputs({"0": model[0]}, copied=copied_on) as outputs:
        model(torch.tensor([-1.0]))
    assert outputs["0"].item() == kept
