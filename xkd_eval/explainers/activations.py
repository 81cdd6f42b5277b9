"""Rules for activations, applied call by call: captum's, which are per module, miss activations that are functions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

RECTIFIERS: frozenset[Callable[..., Any]] = frozenset(
    {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu_, F.relu6, F.hardtanh}
)
"""ReLU and ReLU6 (which PyTorch calls as hardtanh), in all their forms."""

_ELEMENTWISE: frozenset[Callable[..., Any]] = RECTIFIERS | {
    *(F.gelu, F.silu, F.mish, F.elu, F.celu, F.selu, F.leaky_relu, F.hardswish, F.hardsigmoid, F.softplus),
    *(F.sigmoid, torch.sigmoid, Tensor.sigmoid, Tensor.sigmoid_, F.tanh, torch.tanh, Tensor.tanh, Tensor.tanh_),
}

NONLINEAR: frozenset[Callable[..., Any]] = _ELEMENTWISE | {F.max_pool2d}
"""Elementwise activations, and max pooling as a chain of them."""

# Inputs that differ by less have no slope between them; captum's number.
_EQUAL = 1e-10


class ActivationRule(TorchFunctionMode):
    """Within it, every call of an activation by this thread goes through `_apply`, however the network makes it.

    Attributes:
        functions: which activations.
        calls: how many there were.
    """

    def __init__(self, functions: Collection[Callable[..., Any]]) -> None:
        super().__init__()
        self.functions = frozenset(functions)
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in self.functions:
            return func(*args, **kwargs)
        self.calls += 1
        if func is F.max_pool2d:
            return _max_pool_by_relu(partial(self._apply, F.relu), *args, **kwargs)
        return self._apply(func, *args, **kwargs)

    @abstractmethod
    def _apply(self, func: Callable[..., Tensor], values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the call gives; `values` is the activation's input, which is not to be changed."""


class GuidedRule(ActivationRule):
    """Within it, a gradient loses its negative part at every ReLU (Springenberg et al., ICLR Workshops 2015)."""

    def __init__(self) -> None:
        super().__init__(RECTIFIERS)

    def _apply(self, func: Callable[..., Tensor], values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        inputs = values.clone()
        if inputs.requires_grad:
            inputs.register_hook(F.relu)
        # Cloned on both sides: what the rule sees, no operation in place may change.
        return func(inputs.clone(), *args, **kwargs).clone()


class RescaleRule(ActivationRule):
    """Within it, the gradients of a network are DeepLift's multipliers (Shrikumar et al., ICML 2017, rescale rule).

    An activation is differentiated as the straight line through its values at the image and at the baseline, as Ancona
    et al. (ICLR 2018) write the rule; where the two inputs are equal, as itself. Values stay what they are.

    Args:
        functions: which activations to treat so.
        count: B; the network is given 2 B images, the second half the baselines of the first.
    """

    def __init__(self, functions: Collection[Callable[..., Any]], count: int) -> None:
        super().__init__(functions)
        self._count = count

    def _apply(self, func: Callable[..., Tensor], values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        outputs = func(values.clone(), *args, **kwargs)
        if len(values) != 2 * self._count:  # of parameters, not of images
            return outputs
        rise, run = ((at[: self._count] - at[self._count :]).detach() for at in (outputs, values))
        equal = run.abs() < _EQUAL
        slope = rise / torch.where(equal, 1, run)
        ours, inputs = outputs[: self._count], values[: self._count]
        line = ours.detach() + slope * (inputs - inputs.detach())
        return torch.cat([torch.where(equal, ours, line), outputs[self._count :]])


def _max_pool_by_relu(
    relu: Callable[[Tensor], Tensor],
    values: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """Max pooling as a chain of max(a, b) = a + relu(b - a), rows first.

    captum's own rule for max pooling scatters into the winners' places, where overlapping windows overwrite each other.
    """
    size = F.max_pool2d(values[:1, :1], kernel_size, stride, padding, dilation, ceil_mode).shape[2:]
    kernel_size, padding, dilation = (_pair(option) for option in (kernel_size, padding, dilation))
    strides = kernel_size if stride is None else _pair(stride)
    floor = float(values.detach().amin())  # as padding it wins over nothing
    for dim in (0, 1):
        span = (size[dim] - 1) * strides[dim] + 1
        reach = span + dilation[dim] * (kernel_size[dim] - 1)
        after = max(0, reach - values.shape[2 + dim] - padding[dim])
        pad = (padding[dim], after)
        values = F.pad(values, (0, 0, *pad) if dim == 0 else (*pad, 0, 0), value=floor)
        steps = [
            values.narrow(2 + dim, offset * dilation[dim], span).unfold(2 + dim, 1, strides[dim]).squeeze(-1)
            for offset in range(kernel_size[dim])
        ]
        values = steps[0]
        for step in steps[1:]:
            values = values + relu(step - values)
    return values


def _pair(option: int | tuple[int, int]) -> tuple[int, int]:
    return (option, option) if isinstance(option, int) else option
