"""Optimisers: what several steps make of weights, which are the gradient of a sum of the inputs that they weigh."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.published_losses.cases import Pair, case
from benchmarks.published_losses.inputs import Inputs
from distill.training.dot import DistillationOriented

_STEPS = 6
_NOTE = "an optimiser: three weights after six steps, in place of a gradient"


@case("dot", "mdistiller", "mdistiller/engine/dot.py", note=_NOTE)
def dot(given: Inputs, theirs: Any) -> Pair:
    return _stepped(given, theirs, decay=0.0)


@case(
    "dot, weight decay",
    "mdistiller",
    "mdistiller/engine/dot.py",
    note=f"{_NOTE}; without a weight that distillation alone reaches, which theirs does not decay in its first step",
)
def dot_with_decay(given: Inputs, theirs: Any) -> Pair:
    return _stepped(given, theirs, decay=0.05)


def _stepped(given: Inputs, theirs: Any, decay: float) -> Pair:
    rows = given.student.weight[: len(given.student.weight) // 3 * 3]
    ours, others = ([nn.Parameter(part.clone()) for part in rows.detach().chunk(3)] for _ in range(2))
    groups = [{"params": ours, "lr": 0.1, "weight_decay": decay}]
    own = DistillationOriented(groups, lr=0.1, momentum=0.9, delta=0.075)
    other = theirs.DistillationOrientedTrainer(others, lr=0.1, momentum=0.825, momentum_kd=0.975, weight_decay=decay)
    for step in range(_STEPS):
        own.differentiate(*_losses(ours, step, decay))
        own.step()
        own.zero_grad()
        task, distilled = _losses(others, step, decay)
        other.zero_grad()
        distilled.backward(retain_graph=True)
        other.step_kd()
        other.zero_grad()
        task.backward()
        other.step()
    their_sum, our_sum = ((rows * torch.cat(weights).detach()).sum() for weights in (others, ours))
    return their_sum, our_sum


def _losses(weights: list[nn.Parameter], step: int, decay: float) -> tuple[Tensor, Tensor]:
    """The task's and the distillation's; of three weights one is reached by both, one by each alone (see the note)."""
    both, task, distilled = weights
    alone = torch.zeros(()) if decay else (both.cos() * distilled + distilled.square()).sum()
    return (both.sin() * task + step * both).sum(), both.cos().sum() + alone
