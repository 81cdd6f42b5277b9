"""last.pt is what the training wrote, and of a training that can be there."""

import pytest
import torch

from distill.runs.state_file import read_state, write_state
from distill.training.train import train
from tests.distill.conftest import values_of
from xkd_eval.errors import XkdError

STATES = {
    "epoch": ("x", "epoch: 'x' found; input should be a valid integer"),
    "version": (9, "version: 9 found"),
    "step": (10**6, "a training of this recipe is never there"),
    "history": ([], "history: 0 epochs found; expected 1"),
    "history.0": ({"test_top1": 7.5}, "test_top1: 7.5 found; expected 0 to 1"),
    "best": ({"test_top1": 0.5, "test_loss": 0.25}, "best: is not among the epochs"),
    "best_file": (None, "best: is not among the epochs"),
    "means": ({"names": ["ce"], "steps": 3, "sums": None}, "means: of 3 steps; expected 0"),
    "student": ({}, "Error"),
    "optimiser": ({"param_groups": [], "state": {}}, "optimiser: of other parameters"),
    "student.conv1.weight": (torch.full((8, 3, 3, 3), torch.nan), "conv1.weight is not finite"),
    "origin.recipe": ({"epochs": 9}, "another recipe; these differ: epochs"),
}


def changed(state, place, value):
    """A copy with the value at a dotted place replaced; mappings are merged."""
    name, _, rest = place.partition(".")
    copy, key = (list(state), int(name)) if isinstance(state, list) else (dict(state), name)
    if rest:
        # A tensor's name has dots of its own.
        value = {**copy[key], rest: value} if rest in copy[key] else changed(copy[key], rest, value)
        if place == "origin.recipe":
            value["recipe"] = {**state["origin"]["recipe"], **value["recipe"]}
    elif isinstance(copy[key], dict) and value:
        value = {**copy[key], **value}
    copy[key] = value
    return copy


@pytest.mark.parametrize("place", STATES)
def test_a_state_of_another_kind_is_one_line(copied, cifar10, place):
    """Of a finished training without its result: it stands at the end of its only epoch."""
    directory = copied("result.json")
    value, message = STATES[place]
    state = changed(read_state(directory / "last.pt"), place, value)
    if place == "version":
        torch.save(state, directory / "last.pt")
    else:
        with (directory / "last.pt").open("wb") as file:
            write_state(state, file)
    with pytest.raises(XkdError, match=rf"{message}.*`overwrite`") as caught:
        train(values_of(cifar10, epochs=1), directory, device="cpu", resume=True)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "edit",
    [
        lambda state: state["history"][0].update(test_top1=0.99),
        lambda state: state["student"]["conv1.weight"].mul_(3),
        lambda state: state["student"]["bn1.running_mean"].neg_(),
        lambda state: state["optimiser"]["state"][0]["momentum_buffer"].neg_(),
        lambda state: state.update(best_file="0" * 64),
        lambda state: state["origin"]["trained"].update(content="0" * 64),
        lambda state: state.pop("digest"),
    ],
)
def test_a_state_that_was_edited_is_refused(copied, cifar10, edit):
    directory = copied("result.json")
    state = torch.load(directory / "last.pt", weights_only=True)
    edit(state)
    torch.save(state, directory / "last.pt")
    with pytest.raises(XkdError, match=r"last.pt' is not what the training wrote, .*`overwrite`"):
        train(values_of(cifar10, epochs=1), directory, device="cpu", resume=True)
