"""One optimiser step of a training, launched operation by operation on any number of devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from distill.data.batches import LabelledBatch
from distill.methods.results import TOTAL
from distill.training.optimisers import set_learning_rate
from distill.training.setup import TrainingSetup


class Step(Protocol):
    """An optimiser step, which the training loop repeats on one input after the other."""

    def inputs(self, epoch: int, first_step: int) -> Iterator[Any]:
        """The inputs of an epoch (from 0), one a step, from a step of it on."""

    def __call__(self, given: Any, learning_rate: float, weights: Sequence[float]) -> dict[str, Tensor]:
        """Train on one of the inputs.

        Args:
            given: of `inputs`.
            learning_rate: of this step.
            weights: of the objective's methods.

        Returns:
            Scalars by name, losses and statistics, valid until the next call.
        """


class OrdinaryStep:
    """A step on a batch, in `accumulate` micro-batches.

    Args:
        setup: of the training.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        self._setup = setup

    def inputs(self, epoch: int, first_step: int) -> Iterator[LabelledBatch]:
        """See Step."""
        return self._setup.train.batches(epoch, first_step)

    def __call__(self, given: LabelledBatch, learning_rate: float, weights: Sequence[float]) -> dict[str, Tensor]:
        """See Step; the values are means over the micro-batches."""
        setup = self._setup
        set_learning_rate(setup.optimiser, learning_rate)
        micro_batches = given.micro_batches(setup.recipe.accumulate)
        observed: list[dict[str, Tensor]] = []
        for number, batch in enumerate(micro_batches, start=1):
            more = number < len(micro_batches)
            with setup.accelerator.no_sync(setup.wrapped) if more else nullcontext(), setup.autocast():
                observed.append(differentiate(setup, batch, weights, len(micro_batches)))
        update(setup)
        if setup.average is not None:
            setup.average.update_parameters(setup.student.model)
        if len(observed) == 1:
            return observed[0]
        return {name: torch.stack([values[name].detach() for values in observed]).mean() for name in observed[0]}


def differentiate(
    setup: TrainingSetup, batch: LabelledBatch, weights: Sequence[float | Tensor], micro_batches: int = 1
) -> dict[str, Tensor]:
    """Add the gradient of a batch's total loss, divided by `micro_batches`, to the parameters'.

    Args:
        setup: of the training.
        batch: this process's part of a batch, or a micro-batch of it.
        weights: of the objective's methods.
        micro_batches: that make an optimiser step.

    Returns:
        Scalars by name: losses and statistics.
    """
    teachers = () if setup.teachers is None else setup.teachers(batch)
    losses = setup.wrapped(setup.normalise(batch.pixels), teachers, batch.labels, batch.indices, weights)
    setup.accelerator.backward(losses[TOTAL] / micro_batches)
    return {**losses, **setup.objective.statistics()}


def update(setup: TrainingSetup) -> None:
    """The optimiser's step by the gradients, clipped where the recipe says so; none are left."""
    if setup.recipe.clip_norm is not None:
        setup.accelerator.clip_grad_norm_(setup.objective.parameters(), setup.recipe.clip_norm)
    setup.optimiser.step()
    setup.optimiser.zero_grad()
