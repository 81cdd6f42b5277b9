"""The gradients of each loss of a recipe's first step, and its whole training, as one process or as one of several."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from distill.recipe.files import load_recipe
from distill.runs.launch import leave
from distill.training.setup import TrainingSetup, set_up
from distill.training.train import train
from xkd_eval.errors import XkdError


def gradients_by_loss(setup: TrainingSetup) -> dict[str, dict[str, Tensor]]:
    """Of the student's parameters and the adapters': loss -> parameter's name -> gradient.

    The batch is the same whatever the processes; each normalises it by statistics that are not its own.
    """
    setup.wrapped.eval()
    for module in setup.objective.adapters.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()  # of the process's own part of a batch, since it was set up
    batch = next(iter(setup.train.batches(0, 0)))
    found = {}
    for number, loss in enumerate(setup.recipe.losses):
        weights = [float(number == other) for other in range(len(setup.recipe.losses))]
        teachers = () if setup.teachers is None else setup.teachers(batch)  # anew, where a loss differentiates it
        losses = setup.wrapped(setup.normalise(batch.pixels), teachers, batch.labels, batch.indices, weights)
        setup.accelerator.backward(losses["total"])
        found[loss.label] = dict(_gradients(setup.objective))
        setup.objective.zero_grad()
    return found


def _gradients(objective: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in objective.named_parameters():
        if parameter.grad is not None:
            yield name, parameter.grad.clone()


def main(files: Sequence[str]) -> None:
    """Leave beside each recipe file FILE-PROCESSES.pt and the run FILE-PROCESSES, or what is refused as .txt."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    for file in files:
        name = f"{file}-{processes}"
        try:
            setup = set_up(load_recipe(file), "cpu", Path())
            gradients = gradients_by_loss(setup)
            if setup.accelerator.is_main_process:
                torch.save(gradients, f"{name}.pt")
            train(file, name, device="cpu", force=True)
        except XkdError as error:
            Path(f"{name}.txt").write_text(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(together=True)
