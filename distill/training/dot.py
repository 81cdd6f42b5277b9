"""DOT: an optimiser with a momentum of the task's gradient and one of the distillation's (Zhao et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distill.methods import Method
from distill.recipe.optimisation import Dot
from distill.recipe.schema import Recipe
from xkd_eval.errors import XkdError


class DistillationOriented(torch.optim.Optimizer):
    """Stochastic gradient descent by two gradients, each with a momentum of its own.

    The losses that learn from no teacher have the momentum - delta, the others + delta; a parameter that only one of
    the two reaches has the momentum itself. Weight decay counts once, with the task's gradient where there is one.

    Args:
        groups: of parameters, each with "lr" and "weight_decay".
        lr, weight_decay: of groups that say none.
        momentum, delta: see above.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, momentum: float, delta: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "delta": delta, "weight_decay": weight_decay})
        self._distilled: dict[nn.Parameter, Tensor] = {}

    def differentiate(self, task: Tensor, distillation: Tensor) -> None:
        """Keep the gradient of the one, and leave that of the other where every optimiser finds it.

        Args:
            task, distillation: scalars, of one graph.
        """
        distillation.backward(retain_graph=True)
        for parameter in self._parameters():
            if parameter.grad is not None:
                self._distilled[parameter] = parameter.grad
                parameter.grad = None
        task.backward()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter by both; see torch.optim.Optimizer."""
        for group in self.param_groups:
            for parameter in group["params"]:
                self._move(parameter, parameter.grad, self._distilled.pop(parameter, None), group)

    def _move(
        self, parameter: nn.Parameter, task: Tensor | None, distilled: Tensor | None, group: dict[str, Any]
    ) -> None:
        if task is None and distilled is None:
            return
        state = self.state[parameter]
        if not state:
            state.update({name: torch.zeros_like(parameter) for name in ("task", "distillation")})
        apart = group["delta"] if task is not None and distilled is not None else 0.0
        decay = group["weight_decay"] * parameter
        if task is not None:
            state["task"].mul_(group["momentum"] - apart).add_(task).add_(decay)
        if distilled is not None:
            state["distillation"].mul_(group["momentum"] + apart).add_(distilled)
            if task is None:
                state["distillation"].add_(decay)
        for name, gradient in (("task", task), ("distillation", distilled)):
            if gradient is not None:
                parameter.add_(state[name], alpha=-group["lr"])

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]


def check_two_gradients(recipe: Recipe, methods: Sequence[Method], processes: int) -> None:
    """Refuse a training in which an optimiser of two gradients would get one, or the processes' would not be averaged.

    Args:
        recipe: of the training.
        methods: its losses.
        processes: of the training.

    Raises:
        XkdError: the optimiser is one, and the training is no such.
    """
    if not isinstance(recipe.optimiser, Dot):
        return
    if len({bool(method.requires) for method in methods}) < 2:
        found = "none of the losses learns" if not any(method.requires for method in methods) else "all losses learn"
        raise XkdError(
            f"optimiser.name: dot keeps apart what the labels and what a teacher teach, and {found} from a teacher; "
            "give one loss of each kind, or take sgd"
        )
    if processes > 1:
        raise XkdError(f"optimiser.name: dot takes two gradients a step, in one process; {processes} found: take sgd")
