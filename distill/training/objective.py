"""The training objective: the student and its losses as one module, which is what DDP wraps and averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.methods import Method, Pass, create_method
from distill.recipe.schema import Loss
from distill.training.networks import Observed
from xkd_eval.errors import XkdError

TOTAL = "total"


@dataclass(frozen=True)
class Term:
    """A method with its weight in the sum."""

    method: Method
    weight: float
    ramp_epochs: int

    def weight_at(self, epoch: int) -> float:
        """In epoch 1, 2, ...: the weight, or its share while it grows."""
        return self.weight * (min(epoch / self.ramp_epochs, 1.0) if self.ramp_epochs else 1.0)


def create_terms(losses: Sequence[Loss]) -> list[Term]:
    """The recipe's losses, still without what depends on the networks' shapes.

    Raises:
        XkdError: unknown method or option.
    """
    return [Term(create_method(loss.method, **loss.options), loss.weight, loss.ramp_epochs) for loss in losses]


class Objective(nn.Module):
    """Student and losses; the teacher stays outside, and so out of the checkpoint and of DDP.

    Args:
        student: trained.
        terms: their methods may hold trained adapters.
    """

    def __init__(self, student: Observed, terms: Sequence[Term]) -> None:
        super().__init__()
        self.student = student
        self.methods = nn.ModuleList(term.method for term in terms)
        self._terms = tuple(terms)

    @property
    def losses(self) -> list[Method]:
        """Of the terms."""
        return [term.method for term in self._terms]

    def weights(self, epoch: int) -> list[float]:
        """Of the terms, in epoch 1, 2, ..."""
        return [term.weight_at(epoch) for term in self._terms]

    def forward(
        self,
        images: Tensor,
        teacher: Pass | None,
        labels: Tensor,
        indices: Tensor,
        weights: Sequence[float | Tensor],
    ) -> dict[str, Tensor]:
        """One batch.

        Args:
            images: (B, 3, H, W), normalised for the student.
            teacher: its pass on the same images.
            labels, indices: (B,).
            weights: of the terms; scalars on the device where they change without the step being launched anew.

        Returns:
            Scalars: "total", the weighted sum to be differentiated; and every term's unweighted value by its name.
        """
        student = self.student(images)
        total, values = torch.zeros((), device=images.device), {}
        for term, weight in zip(self._terms, weights, strict=True):
            losses = term.method(student, teacher, labels, indices)
            total = total + weight * torch.stack(list(losses.values())).sum()
            values.update(losses)
        return {TOTAL: total, **values}

    def statistics(self) -> dict[str, Tensor]:
        """What the methods observed in the latest batch."""
        return {name: value for term in self._terms for name, value in term.method.statistics.items()}

    def prepare(self, images: Tensor, teacher: Pass | None, labels: Tensor, indices: Tensor, dataset_size: int) -> None:
        """Build the adapters on one batch, and check every loss on it.

        The student comes out as it went in, batch norm's statistics included.

        Raises:
            XkdError: a loss is not finite, is zero for a random student, or gives it no gradient.
        """
        before = {name: value.clone() for name, value in self.student.classifier.model.state_dict().items()}
        self.student.train()
        student = self.student(images)
        if teacher is not None:
            for term in self._terms:
                term.method.setup(student, teacher, dataset_size)
        trained = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        for term in self._terms:
            loss = torch.stack(list(term.method(student, teacher, labels, indices).values())).sum()
            _check_value(term.method.name, loss)
            _check_gradient(term.method.name, loss, trained)
        self.student.classifier.model.load_state_dict(before)


def _check_value(name: str, loss: Tensor) -> None:
    value = loss.item()
    if not loss.isfinite():
        raise XkdError(f"losses: {name} is {value} on the first batch; expected a finite number: check its options")
    if value == 0:
        raise XkdError(f"losses: {name} is zero for a student with random weights, so it teaches nothing")


def _check_gradient(name: str, loss: Tensor, parameters: list[nn.Parameter]) -> None:
    gradients: Sequence[Tensor | None] = [None]
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    if not any(gradient is not None and bool(gradient.any()) for gradient in gradients):
        raise XkdError(f"losses: {name} gives the student no gradient on the first batch, so it teaches nothing")
    if not all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients):
        raise XkdError(f"losses: {name} has a gradient on the first batch that is not finite: check its options")
