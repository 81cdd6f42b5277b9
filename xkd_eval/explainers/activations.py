"""A network in which every call of an activation is a module of its own, which captum's per-module rules need."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn
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


class SeparateActivations(nn.Module):
    """A copy of a network that computes the same, with one `nn.ReLU` object for each call of an activation.

    captum attaches its rules to modules of known types. It misses activations that are called as functions, fails on
    those that work in place, and mixes up those that a network calls more than once (torchvision's ResNets). Here each
    call is routed, in the order of the forward, to an object that captum takes for a ReLU and that computes the
    activation asked for; the network's own activation modules are hidden from captum.

    Args:
        model: in eval mode; not changed.
        functions: which activations to route.
        sample: (1, 3, H, W), to count the calls.

    Attributes:
        slots: the objects, one a call.
    """

    def __init__(self, model: nn.Module, functions: Collection[Callable[..., Any]], sample: Tensor) -> None:
        super().__init__()
        self.model = _with_hidden_activations(copy.deepcopy(model))
        self.slots = nn.ModuleList()
        self._functions = frozenset(functions)
        router = _Router(self._functions, slots=None)
        with torch.no_grad(), router:
            self.model(sample)
        self.slots.extend(nn.ReLU() for _ in range(router.calls))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K)."""
        with _Router(self._functions, self.slots):
            return self.model(images)


class _Router(TorchFunctionMode):
    """Sends the n-th call of an activation to the n-th slot; without slots it only counts."""

    def __init__(self, functions: frozenset[Callable[..., Any]], slots: nn.ModuleList | None) -> None:
        super().__init__()
        self.functions = functions
        self.slots = slots
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in self.functions:
            return func(*args, **kwargs)
        if func is F.max_pool2d:
            return _max_pool_by_relu(self._relu, *args, **kwargs)
        return self._through_slot(func, *args, **kwargs)

    def _through_slot(self, func: Callable[..., Tensor], values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.calls += 1
        if self.slots is None:
            return func(values, *args, **kwargs)
        slot = self.slots[self.calls - 1]
        # Cloned on both sides, because captum's hooks must see what no operation in place has changed.
        slot.forward = lambda inputs: func(inputs.clone(), *args, **kwargs)
        return slot(values).clone()

    def _relu(self, values: Tensor) -> Tensor:
        return self._through_slot(F.relu, values)


class RescaleRule(_Router):
    """Within it, the gradients of a network are DeepLift's multipliers (Shrikumar et al., ICML 2017, rescale rule).

    An activation is differentiated as the straight line through its values at the image and at the baseline, as Ancona
    et al. (ICLR 2018) write the rule; where the two inputs are equal, as itself. Values stay what they are.

    Args:
        functions: which activations to treat so.
        count: B; the network is given 2 B images, the second half the baselines of the first.
    """

    def __init__(self, functions: Collection[Callable[..., Any]], count: int) -> None:
        super().__init__(frozenset(functions), slots=None)
        self._count = count

    def _through_slot(self, func: Callable[..., Tensor], values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
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


class _Hidden(nn.Module):
    """An activation module that captum does not find: in a tuple, and so no submodule."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = (module,)

    def forward(self, values: Tensor) -> Tensor:
        return self._module[0](values)


_ACTIVATIONS = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.MaxPool2d)
"""Those that captum attaches rules to."""


def _with_hidden_activations(model: nn.Module) -> nn.Module:
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _ACTIVATIONS):
                setattr(parent, name, _Hidden(child))
    return model
