"""The gradients of recipes' first steps, and a whole training, as one process or as one of several."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from distill.recipe.files import load_recipe
from distill.runs.launch import leave
from distill.training.setup import set_up
from distill.training.train import train


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
    *files, trained, directory = sys.argv[1:]
    main(files)
    train(trained, directory, device="cpu")
    leave(together=True)
