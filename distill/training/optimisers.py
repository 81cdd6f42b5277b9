"""Optimisers of a recipe, and the moving average of weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distill.recipe.optimisation import AdamW, Sgd


def create_optimiser(recipe: Sgd | AdamW, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """torch's, on those parameters that require a gradient; every one of them is decayed, as published recipes do."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if isinstance(recipe, AdamW):
        return torch.optim.AdamW(trained, lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        trained,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def read_learning_rate_from(optimiser: torch.optim.Optimizer, scalar: Tensor) -> None:
    """Read the learning rate of all parameters from a scalar tensor in every step.

    On a GPU it takes SGD's fused kernel, the one that reads the scalar there; the others bring it to the host.
    """
    for group in optimiser.param_groups:
        group.update(lr=scalar, foreach=False, fused=scalar.device.type == "cuda")


def average_of(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a network's weights and of its batch norms' statistics."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
