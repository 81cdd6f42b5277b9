"""The numbers that networks are computed in: float32, products of TF32, or a half-width type under autocast."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch.nn import functional as F

from distill.methods import Method
from distill.recipe.schema import Recipe
from xkd_eval.ambient import Products
from xkd_eval.engines.tf32 import check_tf32
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reason

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def products(recipe: Recipe) -> Products:
    """What the recipe's float32 products are made of, for `plain_torch`."""
    return "tf32" if recipe.precision == "tf32" else "ieee"


def autocast(recipe: Recipe, device: torch.device, cache: bool = True) -> AbstractContextManager[None]:
    """The recipe's precision; `cache` keeps the weights that it has cast until it is left."""
    kind = _TYPES.get(recipe.precision)
    return torch.autocast(device.type, kind or torch.bfloat16, enabled=kind is not None, cache_enabled=cache)


def gradient_scaler(recipe: Recipe, device: torch.device) -> torch.amp.GradScaler:
    """What keeps gradients in fp16's range (Micikevicius et al., ICLR 2018); of other precisions it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")


def check_precision(recipe: Recipe, device: torch.device, methods: Iterable[Method]) -> None:
    """Refuse fp16 and TF32 where they cannot be trained in.

    Raises:
        XkdError: the device has no such operations, or a method's own gradients would vanish, as they are not scaled.
    """
    if recipe.precision == "tf32":
        check_tf32(device)
    if recipe.precision != "fp16":
        return
    for method in methods:
        if "input gradients" in method.requires:
            raise XkdError(f"precision: {method.name} differentiates by the input, which fp16 loses; set bf16 or fp32")
    if fault := _half_fault(recipe, device):
        raise XkdError(f"precision: fp16 cannot be trained in on {device.type!r} ({fault}); set bf16 or fp32")


def _half_fault(recipe: Recipe, device: torch.device) -> str | None:
    """Why a convolution and a linear layer, there and back, are not computed in float16; None where they are."""
    # Nothing is drawn, so that a student's first weights are those of other precisions.
    kernel, weight = (torch.ones(shape, device=device, requires_grad=True) for shape in ((4, 3, 3, 3), (2, 4)))
    try:
        with warnings.catch_warnings(), autocast(recipe, device):
            warnings.simplefilter("ignore")  # that autocast is off
            made = F.linear(F.conv2d(torch.ones(2, 3, 3, 3, device=device), kernel).flatten(1), weight)
        made.float().sum().backward()
    except Exception as error:  # whatever a kernel that is missing raises
        return reason(error)
    return None if made.dtype == torch.float16 else f"it computes in {made.dtype}"
