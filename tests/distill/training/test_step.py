"""A step's gradient does not depend on how its batch is divided."""

import torch

from distill.training.setup import set_up
from distill.training.step import OrdinaryStep


def test_micro_batches_give_the_gradient_of_the_whole_batch(recipe_of, tmp_path):
    """With batch norm in eval mode, where micro-batches see what the whole sees."""

    gradients = []
    for accumulate in (1, 4):
        recipe = recipe_of(accumulate=accumulate, optimiser={"name": "sgd", "learning_rate": 1.0, "momentum": 0.0})
        setup = set_up(recipe, "cpu", tmp_path)
        setup.wrapped.eval()
        before = setup.student.model.linear.weight.clone()
        step = OrdinaryStep(setup)
        step(step.input(0, 0), 1.0, [1.0])
        gradients.append(before - setup.student.model.linear.weight)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)
