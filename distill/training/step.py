"""One optimiser step of a training, launched operation by operation on any number of devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from distill.data.batches import Batch
from distill.training.objective import TOTAL
from distill.training.optimisers import set_learning_rate
from distill.training.setup import Parts, parts_of


class Step(Protocol):
    """What the training loop repeats."""

    def inputs(self, epoch: int, first_step: int) -> Iterator[Any]:
        """What to call it with in completed epoch + 1, from a step of it on."""

    def __call__(self, given: Any, learning_rate: float, weights: Sequence[float]) -> dict[str, Tensor]:
        """Train on one of the inputs.

        Args:
            given: of `inputs`.
            learning_rate: of this step.
            weights: of the objective's terms.

        Returns:
            Scalars by name, losses and statistics, valid until the next call.
        """


class OrdinaryStep:
    """A step on a batch, in `accumulate` parts.

    Args:
        parts: of the training.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def inputs(self, epoch: int, first_step: int) -> Iterator[Batch]:
        """See Step."""
        return self._parts.train.batches(epoch, first_step)

    def __call__(self, given: Batch, learning_rate: float, weights: Sequence[float]) -> dict[str, Tensor]:
        """See Step; the values are means over the parts of the batch."""
        parts = self._parts
        set_learning_rate(parts.optimiser, learning_rate)
        pieces = parts_of(given, parts.recipe.accumulate)
        observed: list[dict[str, Tensor]] = []
        for number, piece in enumerate(pieces, start=1):
            alone = number < len(pieces)
            with parts.accelerator.no_sync(parts.wrapped) if alone else nullcontext(), parts.autocast():
                observed.append(differentiate(parts, piece, weights, len(pieces)))
        update(parts)
        if parts.average is not None:
            parts.average.update_parameters(parts.student.model)
        if len(observed) == 1:
            return observed[0]
        return {name: torch.stack([values[name].detach() for values in observed]).mean() for name in observed[0]}


def differentiate(parts: Parts, batch: Batch, weights: Sequence[float | Tensor], pieces: int = 1) -> dict[str, Tensor]:
    """Add the gradient of a batch's total loss, divided by `pieces`, to the parameters'.

    Args:
        parts: of the training.
        batch: this process's share, or a part of it.
        weights: of the objective's terms.
        pieces: that make a batch.

    Returns:
        Scalars by name: losses and statistics.
    """
    teacher = None if parts.teacher is None else parts.teacher(batch.pixels)
    losses = parts.wrapped(parts.normalise(batch.pixels), teacher, batch.labels, batch.indices, weights)
    parts.accelerator.backward(losses[TOTAL] / pieces)
    return {**losses, **parts.objective.statistics()}


def update(parts: Parts) -> None:
    """The optimiser's step by the gradients, clipped where the recipe says so; none are left."""
    if parts.recipe.clip_norm is not None:
        parts.accelerator.clip_grad_norm_(parts.objective.parameters(), parts.recipe.clip_norm)
    parts.optimiser.step()
    parts.optimiser.zero_grad()
