"""A case: one loss by its authors' code and by ours. `case` makes a small function one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.published_losses.inputs import SHAPES, Inputs, Shape, make_inputs
from benchmarks.published_losses.repositories import on_this_device, published

Pair = tuple[Tensor, Tensor]
Comparison = Callable[..., Pair]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        loss: ours, by its name in a recipe, with the options that matter.
        repository: a key of REPOSITORIES.
        files: of it, that are loaded; the first holds the loss.
        compare: (inputs, *modules) -> their loss and ours, scalars in the graph of the inputs' leaves.
        note: what is to be known of the row.
        absent: modules that the files import and that are made up.
    """

    loss: str
    repository: str
    files: tuple[str, ...]
    compare: Comparison
    note: str
    absent: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """The largest over all shapes.

    Attributes:
        value: of the loss, relative to theirs.
        gradient: with respect to what the student made, relative to the largest entry of theirs.
    """

    value: float
    gradient: float


CASES: list[Case] = []


def case(
    loss: str, repository: str, *files: str, note: str = "", absent: tuple[str, ...] = ()
) -> Callable[[Comparison], Comparison]:
    """Decorator of a function that compares: adds a row to the table. See Case."""

    def add(compare: Comparison) -> Comparison:
        CASES.append(Case(loss, repository, files, compare, note, absent))
        return compare

    return add


def largest_difference(one: Case, repositories: Path) -> Difference:
    """Over SHAPES; the checkouts lie in `repositories`."""
    with on_this_device():
        modules = [published(repositories / one.repository / file, one.absent) for file in one.files]
        found = [_difference(one, shape, modules) for shape in SHAPES]
    return Difference(max(value for value, _ in found), max(gradient for _, gradient in found))


def _difference(one: Case, shape: Shape, modules: list[Any]) -> tuple[float, float]:
    results = []
    for which in range(2):  # each from leaves of its own
        inputs = make_inputs(shape)
        torch.manual_seed(0)
        loss = one.compare(inputs, *modules)[which].sum()
        results.append((loss.detach(), _gradient(loss, inputs)))
    (their_value, theirs), (our_value, ours) = results
    assert theirs.any(), f"{one.loss}: the published loss has no gradient"
    value = (our_value - their_value).abs() / their_value.abs()
    gradient = (ours - theirs).abs().max() / theirs.abs().max()
    return value.item(), gradient.item()


def _gradient(loss: Tensor, inputs: Inputs) -> Tensor:
    """Of all leaves in a row, zeros of those that the loss does not read."""
    leaves = inputs.leaves()
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])
