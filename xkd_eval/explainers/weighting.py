"""The CAM family's formulas: grad-cam's own, which computes in numpy, and in torch for maps that are differentiated.

Of those in torch both arguments are (B, C, h, w), activations and gradients; the result is (B, h, w), signed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# grad-cam's own, which keep its denominators from zero.
_EPS_PLUS_PLUS, _EPS_X = 1e-6, 1e-7


def library_method(library_class: str, model: nn.Module, path: str) -> Any:
    """grad-cam's method on a module, without its hooks: activations and gradients are given to it."""
    import pytorch_grad_cam

    method = getattr(pytorch_grad_cam, library_class)(model, [model.get_submodule(path)])
    method.activations_and_grads.release()
    return method


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by the spatial mean of their gradients (Selvaraju et al., ICCV 2017)."""
    return (gradients.mean((2, 3), keepdim=True) * activations).sum(1)


def gradcam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by their positive gradients, place by place (Chattopadhay et al., WACV 2018)."""
    squares = gradients.square()
    sums = activations.sum((2, 3), keepdim=True)
    shares = squares / (2 * squares + sums * squares * gradients + _EPS_PLUS_PLUS)
    weights = (gradients.clamp(min=0) * torch.where(gradients != 0, shares, 0)).sum((2, 3), keepdim=True)
    return (weights * activations).sum(1)


def xgradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by their gradients' mean under the normalised activation (Fu et al., BMVC 2020)."""
    sums = activations.sum((2, 3), keepdim=True)
    return ((gradients * activations / (sums + _EPS_X)).sum((2, 3), keepdim=True) * activations).sum(1)


def layercam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations times their positive gradients, place by place (Jiang et al., IEEE TIP 2021)."""
    return (gradients.clamp(min=0) * activations).sum(1)


def hirescam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations times gradients, place by place (Draelos and Carin, arXiv 2020)."""
    return (gradients * activations).sum(1)


FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "GradCAM": gradcam,
    "GradCAMPlusPlus": gradcam_plus_plus,
    "XGradCAM": xgradcam,
    "LayerCAM": layercam,
    "HiResCAM": hirescam,
}
"""By the name of grad-cam's class."""
