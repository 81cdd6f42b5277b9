"""One optimiser step of a training, launched operation by operation on any number of devices."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from distill.data.batches import LabelledBatch
from distill.methods import Pass
from distill.methods.results import SKIPPED, TOTAL
from distill.training.dot import DistillationOriented
from distill.training.optimisers import set_learning_rate
from distill.training.setup import TrainingSetup
from distill.training.taught import TaughtBatch
from xkd_eval.errors import XkdError

# Far below what any step needs that is going to be one.
_LEAST_SCALE = 2.0**-10


class Step(Protocol):
    """An optimiser step, which the training loop repeats on one input after the other."""

    def input(self, epoch: int, step: int) -> Any:
        """What a step of an epoch (from 0) is given."""

    def __call__(self, given: Any, learning_rate: float, weights: Sequence[float]) -> dict[str, Tensor]:
        """Train on an input.

        Args:
            given: of `input`.
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

    def input(self, epoch: int, step: int) -> TaughtBatch:
        """See Step."""
        return self._setup.lessons.batches.at(epoch, step)

    def __call__(self, given: TaughtBatch, learning_rate: float, weights: Sequence[float]) -> dict[str, Tensor]:
        """See Step; the values are means over the micro-batches."""
        setup = self._setup
        set_learning_rate(setup.optimiser, learning_rate)
        observed: list[dict[str, Tensor]] = []
        for batch, teachers in given:
            more = len(observed) + 1 < len(given)
            with setup.accelerator.no_sync(setup.wrapped) if more else nullcontext(), setup.autocast():
                observed.append(differentiate(setup, batch, teachers, weights, len(given)))
        skipped = update(setup)
        if setup.average is not None:
            setup.average.update_parameters(setup.student.model)
        values = observed[0]
        if len(observed) > 1:
            values = {name: torch.stack([values[name].detach() for values in observed]).mean() for name in values}
        if setup.scaler.is_enabled():
            values = {**values, SKIPPED: torch.tensor(float(skipped), device=setup.accelerator.device)}
        return values


def differentiate(
    setup: TrainingSetup,
    batch: LabelledBatch,
    teachers: Sequence[Pass],
    weights: Sequence[float | Tensor],
    micro_batches: int = 1,
) -> dict[str, Tensor]:
    """Add the gradient of a batch's total loss, divided by `micro_batches`, to the parameters'.

    Args:
        setup: of the training.
        batch: this process's part of a batch, or a micro-batch of it.
        teachers: their passes on it.
        weights: of the objective's methods.
        micro_batches: that make an optimiser step.

    Returns:
        Scalars by name: losses and statistics.
    """
    losses = setup.wrapped(setup.normalise(batch.pixels), teachers, batch.labels, batch.indices, weights)
    if isinstance(setup.bare_optimiser, DistillationOriented):
        setup.bare_optimiser.differentiate(*setup.objective.totals(losses, weights))
    else:
        setup.accelerator.backward(setup.scaler.scale(losses[TOTAL] / micro_batches))
    return {**losses, **setup.objective.statistics()}


def update(setup: TrainingSetup) -> bool:
    """The optimiser's step by the gradients, clipped where the recipe says so; none are left.

    Returns:
        Whether the step was skipped, as gradients overflowed in fp16.

    Raises:
        XkdError: they overflow however little they are scaled.
    """
    scaler = setup.scaler  # does nothing but in fp16
    scaler.unscale_(setup.optimiser)
    if setup.recipe.clip_norm is not None:
        setup.accelerator.clip_grad_norm_(setup.objective.parameters(), setup.recipe.clip_norm)
    before = scaler.get_scale()
    scaler.step(setup.optimiser)
    scaler.update()
    setup.optimiser.zero_grad()
    if scaler.get_scale() < _LEAST_SCALE:
        raise XkdError("precision: the gradients overflow in fp16 however little they are scaled; set bf16 or fp32")
    return scaler.get_scale() < before
