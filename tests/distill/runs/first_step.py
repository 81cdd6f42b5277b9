"""The gradients of a recipe's first step, as one process or as one of several."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from distill.recipe.files import load_recipe
from distill.runs.launch import leave
from distill.training.setup import set_up


def main(files: Sequence[str]) -> None:
    """Write FILE-PROCESSES.pt beside each recipe file: parameter's name -> gradient."""
    for file in files:
        setup = set_up(load_recipe(file), "cpu", Path())
        setup.wrapped.eval()
        batch = next(iter(setup.train.batches(0, 0)))
        teachers = setup.teachers(batch)
        images = setup.normalise(batch.pixels)
        losses = setup.wrapped(images, teachers, batch.labels, batch.indices, setup.objective.weights(1))
        setup.accelerator.backward(losses["total"])
        if setup.accelerator.is_main_process:
            gradients = {name: parameter.grad for name, parameter in setup.student.model.named_parameters()}
            torch.save(gradients, f"{file}-{setup.accelerator.num_processes}.pt")


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(together=True)
