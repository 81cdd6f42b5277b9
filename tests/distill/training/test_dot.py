"""DOT: its steps by hand, what it must not be trained beside, and trainings that resume."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from distill.recipe.optimisation import Dot
from distill.runs.interruption import TrainingInterruptedError
from distill.training.dot import DistillationOriented, check_two_gradients
from distill.training.objective import create_methods
from distill.training.optimisers import create_optimiser, set_learning_rate
from distill.training.train import train
from tests.distill.conftest import KD, assert_same_bits, weights_of
from xkd_eval.errors import XkdError

DOT = {"name": "dot", "learning_rate": 0.1, "weight_decay": 0.01}


def test_two_steps_by_hand():
    """Momenta 0.5 -/+ 0.25; the shared weight has both gradients, the others one each, by the momentum itself."""
    shared, task, distilled = (torch.nn.Parameter(torch.tensor(value)) for value in (1.0, 2.0, 3.0))
    group = {"params": [shared, task, distilled], "lr": 0.1, "weight_decay": 0.5}
    optimiser = DistillationOriented([group], lr=0.1, momentum=0.5, delta=0.25)
    expected = {"shared": 1.0, "task": 2.0, "distilled": 3.0}
    buffers = dict.fromkeys(("shared task", "shared distilled", "task", "distilled"), 0.0)
    for _ in range(2):
        optimiser.differentiate(3 * shared + 4 * task, 5 * shared + 6 * distilled)
        optimiser.step()
        optimiser.zero_grad()
        buffers["shared task"] = 0.25 * buffers["shared task"] + 3 + 0.5 * expected["shared"]
        buffers["shared distilled"] = 0.75 * buffers["shared distilled"] + 5
        buffers["task"] = 0.5 * buffers["task"] + 4 + 0.5 * expected["task"]
        buffers["distilled"] = 0.5 * buffers["distilled"] + 6 + 0.5 * expected["distilled"]
        expected["shared"] -= 0.1 * (buffers["shared task"] + buffers["shared distilled"])
        expected["task"] -= 0.1 * buffers["task"]
        expected["distilled"] -= 0.1 * buffers["distilled"]
    found = {"shared": shared.item(), "task": task.item(), "distilled": distilled.item()}
    assert found == pytest.approx(expected)


def test_by_equal_momenta_it_is_sgd():
    """A parameter that both reach, delta next to nothing."""
    ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    dot = create_optimiser(Dot(**DOT, delta=1e-9), ours, ours.parameters())
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for step in range(4):
        images = torch.randn(5, 3)
        made = ours(images)
        set_learning_rate(dot, 0.1)
        dot.differentiate(made.square().mean(), 2 * made.sin().sum())
        expected = theirs(images)
        (expected.square().mean() + 2 * expected.sin().sum()).backward()
        for optimiser in (dot, sgd):
            optimiser.step()
            optimiser.zero_grad()
        torch.testing.assert_close(ours.weight, theirs.weight, msg=f"step {step}")


def test_a_training_takes_both_gradients_and_continues_to_the_same_bits(recipe_of, teacher, tmp_path):
    losses = [*KD, {"method": "at", "name": "maps", "weight": 10}]
    recipe = recipe_of(losses=losses, teacher={"model": str(teacher)}, optimiser=DOT, ema_decay=0.9)
    train(recipe, tmp_path / "whole", device="cpu")

    def stop(point):
        if point.epoch == 2 and point.loss is not None and point.metrics is None:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train(recipe, tmp_path / "run", device="cpu", progress=stop)
    train(recipe, tmp_path / "run", device="cpu", resume=True)
    assert_same_bits(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))
    sgd = recipe_of(losses=losses, teacher={"model": str(teacher)}, optimiser={**DOT, "name": "sgd"})
    train(sgd, tmp_path / "sgd", device="cpu")
    ours, theirs = weights_of(tmp_path / "whole"), weights_of(tmp_path / "sgd")
    assert any(not torch.allclose(value.float(), theirs[name].float()) for name, value in ours.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accumulate": 2}, "accumulate: the optimiser dot takes two gradients a step; leave one of the two out"),
        ({"clip_norm": 1.0}, "clip_norm: the optimiser dot takes two gradients a step"),
        ({"precision": "fp16"}, "precision: the optimiser dot takes two gradients a step; set bf16 or fp32"),
        ({"optimiser": {**DOT, "delta": 0.2}}, r"delta: momentum 0\.9 less and plus it must lie in \[0, 1\); lower it"),
        ({"optimiser": {**DOT, "momentum": 0.01}}, r"delta: momentum 0\.01 less and plus it must lie in"),
        ({"optimiser": {**DOT, "nesterov": True}}, "nothing reads the key 'nesterov'"),
    ],
)
def test_what_it_cannot_be_trained_beside_is_refused(recipe_of, changes, message):
    with pytest.raises(XkdError, match=message):
        recipe_of(**{"losses": KD, "optimiser": DOT, **changes})


@pytest.mark.parametrize(
    ("losses", "processes", "message"),
    [
        ([{"method": "ce"}], 1, "none of the losses learns from a teacher; give one loss of each kind, or take sgd"),
        ([{"method": "kd"}], 1, "all losses learn from a teacher; give one loss of each kind, or take sgd"),
        (KD, 2, "dot takes two gradients a step, in one process; 2 found: take sgd"),
    ],
)
def test_trainings_without_two_gradients_are_refused(recipe_of, losses, processes, message):
    recipe = recipe_of(losses=losses, optimiser=DOT)
    with pytest.raises(XkdError, match=rf"^optimiser\.name: .*{message}"):
        check_two_gradients(recipe, create_methods(recipe.losses), processes)
    check_two_gradients(recipe_of(losses=losses), create_methods(recipe.losses), processes)
