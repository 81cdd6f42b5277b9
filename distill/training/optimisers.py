"""Optimisers of a recipe, and the moving average of weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from distill.recipe.optimisation import AdamW, Dot, Optimiser, Sgd
from distill.training.dot import DistillationOriented
from distill.training.groups import parameter_groups


def create_optimiser(
    recipe: Optimiser, network: nn.Module, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """torch's or timm's, on those parameters that require a gradient.

    Args:
        recipe: of the optimiser.
        network: the student, by whose names the recipe speaks of parameters.
        parameters: its own and those of the methods' adapters.

    Raises:
        XkdError: the recipe says something of parameters that the network has not.
    """
    return optimiser_of(recipe, parameter_groups(recipe, network, parameters))


def optimiser_of(recipe: Optimiser, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """torch's or timm's, on groups of parameters that say their own "lr" and "weight_decay"."""
    common: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if isinstance(recipe, Sgd):
        return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=recipe.nesterov, **common)
    if isinstance(recipe, AdamW):
        return torch.optim.AdamW(groups, betas=recipe.betas, **common)
    if isinstance(recipe, Dot):
        return DistillationOriented(groups, momentum=recipe.momentum, delta=recipe.delta, **common)
    from timm.optim import create_optimizer_v2

    options = {name: value for name in ("betas", "momentum", "eps") if (value := getattr(recipe, name)) is not None}
    return create_optimizer_v2(groups, recipe.name, **common, **options)


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate, of which each group of parameters takes its factor."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate * group["factor"])
        else:
            group["lr"] = learning_rate * group["factor"]


def read_learning_rates_from_tensors(optimiser: torch.optim.Optimizer, device: torch.device) -> None:
    """Let each group read its learning rate from a scalar tensor in every step, which `set_learning_rate` fills.

    On a GPU it takes SGD's fused kernel, the one that reads the scalar there; the others bring it to the host.
    """
    for group in optimiser.param_groups:
        group.update(lr=torch.zeros((), device=device), foreach=False, fused=device.type == "cuda")


class MovingAverage(AveragedModel):
    """An exponential moving average of a network's weights and of its batch norms' statistics.

    The first update copies the network. The t-th after it decays by min(decay, 1 - (1 + t)^(-2/3)), so that an average
    over more steps than a run has does not stay at random weights. The count lies in the host's memory: no update waits
    for a device.

    Args:
        network: averaged.
        decay: in the end.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Let the network's present weights and statistics count."""
        weight = 1 - min(self._decay, 1 - (1 + int(self.n_averaged)) ** (-2 / 3))
        pairs = [
            *zip(self.module.parameters(), model.parameters(), strict=True),
            *zip(self.module.buffers(), model.buffers(), strict=True),
        ]
        fractional = [pair for pair in pairs if pair[0].is_floating_point()]
        if fractional:
            ours, theirs = (list(side) for side in zip(*fractional, strict=True))
            torch._foreach_lerp_(ours, theirs, weight)
        for mine, other in pairs:
            if not mine.is_floating_point():
                mine.copy_(other)
        self.n_averaged += 1
