"""State dicts from outside: which tensors are weights, and in which form a network takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

_MEASURED = ("running_mean", "running_var")


def plain_tensors(state_dict: Mapping[Any, Any], where: str) -> dict[str, Tensor]:
    """A state dict of ordinary tensors: dense, on the CPU, real numbers, none larger than what is stored of it.

    Args:
        state_dict: name to tensor.
        where: begins the messages: the argument and the file.

    Returns:
        The same tensors, apart from any graph.

    Raises:
        XkdError: a name that is no text, or a tensor of another kind; named.
    """
    for name, tensor in state_dict.items():
        if not isinstance(name, str):
            raise XkdError(f"{where} has a tensor called {short(name)}; expected names, as model.state_dict() has them")
        if found := _oddity(tensor):
            raise XkdError(f"{where} has {found} in {short(name)}; save dense tensors of real numbers on the CPU")
    return {name: tensor.detach() for name, tensor in state_dict.items()}


def loadable_tensors(state_dict: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors in the precision that networks are evaluated in; all of them are numbers.

    Args:
        state_dict: of `plain_tensors`.
        where: begins the messages: the argument and the file.

    Raises:
        XkdError: values that are NaN or infinite, or would be as float32.
    """
    cast = single_precision(state_dict)
    check_finite(cast, where)
    for name, tensor in state_dict.items():
        if cast[name].isinf().any() and tensor.isfinite().all():
            raise XkdError(f"{where} has values in {name!r} that float32 does not hold; its training diverged")
    return cast


def single_precision(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Half, bfloat16 and float64 as float32."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state_dict.items()}


def check_finite(state_dict: Mapping[str, Tensor], where: str) -> None:
    """Raise XkdError where values are NaN or infinite; `where` begins the message.

    Infinities among zeros alone may stand: they are bounds and masks of attention.
    """
    for name, tensor in state_dict.items():
        if tensor.is_floating_point() and _has_diverged(name, tensor):
            raise XkdError(f"{where} has NaN or infinite values in {name!r}; its training diverged")


def _has_diverged(name: str, tensor: Tensor) -> bool:
    finite = tensor.isfinite()
    if bool(finite.all()):
        return False
    return name.endswith(_MEASURED) or bool(tensor[finite].any() or tensor.isnan().any())


def kind_of(tensor: Tensor) -> str:
    """Which numbers a tensor holds: a float written as an integer is another number, or a quantised one."""
    if tensor.is_floating_point():
        return "fractions"
    return "booleans" if tensor.dtype == torch.bool else "whole numbers"


def _oddity(tensor: Any) -> str:
    if type(tensor) not in (Tensor, nn.Parameter, nn.Buffer):
        return f"a {type(tensor).__name__}"
    if tensor.is_quantized or tensor.is_complex():
        return f"a tensor of {tensor.dtype}"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "a sparse or nested tensor"
    if tensor.device.type != "cpu":
        return f"a tensor on the device {tensor.device.type!r}"
    # Strides may make a number stand for 10^12, which the first look at them would spread out.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"a tensor {tuple(tensor.shape)} of which fewer numbers are stored"
    return ""
