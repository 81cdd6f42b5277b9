"""A network in which every call of an activation is a module of its own, which captum's per-module rules need."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xkd_eval.explainers.activations import NONLINEAR, ActivationRule

_CAPTUMS = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.MaxPool2d)
"""Those that captum attaches rules to."""


class SeparateActivations(nn.Module):
    """A copy of a network that computes the same, with one `nn.ReLU` object for each call of an activation."""

    def __init__(self, model: nn.Module, sample: Tensor) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        for parent in list(self.model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, _CAPTUMS):
                    setattr(parent, name, _Hidden(child))
        with torch.no_grad(), Counted() as counted:
            self.model(sample)
        self.slots = nn.ModuleList(nn.ReLU() for _ in range(counted.applied))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        with _Routed(self.slots):
            return self.model(images)


class Counted(ActivationRule):
    """Changes nothing."""

    def __init__(self) -> None:
        super().__init__(NONLINEAR)
        self.applied = 0

    def _apply(self, func: Callable[..., Tensor], values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.applied += 1
        return func(values.clone(), *args, **kwargs)


class _Routed(Counted):
    """Sends the n-th call to the n-th slot."""

    def __init__(self, slots: nn.ModuleList) -> None:
        super().__init__()
        self.slots = slots

    def _apply(self, func: Callable[..., Tensor], values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.applied += 1
        slot = self.slots[self.applied - 1]
        slot.forward = lambda inputs: func(inputs.clone(), *args, **kwargs)
        return slot(values).clone()


class _Hidden(nn.Module):
    """An activation module that captum does not find: in a tuple, and so no submodule."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = (module,)

    def forward(self, values: Tensor) -> Tensor:
        return self._module[0](values)
