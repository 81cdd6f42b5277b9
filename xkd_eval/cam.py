"""The class activation map, written once: the evaluator scores it and the distillation losses train on it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from xkd_eval.errors import XkdError


def class_activation_maps(features: Tensor, head_weight: Tensor, classes: Tensor | None = None) -> Tensor:
    """Class activation maps (Zhou et al., CVPR 2016).

    Args:
        features: (B, C, h, w), the last spatial map before global average pooling.
        head_weight: (K, C), the linear head's weight; taken in the type of `features`.
        classes: (B, k) class indices to keep per image; None keeps all K.

    Returns:
        (B, K, h, w), or (B, k, h, w) with `classes`; same dtype as `features`. Unclamped: their spatial mean plus the
        head's bias is the logit. Differentiable in both arguments.

    Raises:
        XkdError: C differs between features and head, or their device; integers; no class at all; or `classes` is not
            (B, k) int64 of the K, on the same device.

    Example:
        >>> import torch
        >>> from xkd_eval import class_activation_maps
        >>> features, head_weight = torch.rand(2, 16, 7, 7), torch.rand(10, 16)
        >>> maps = class_activation_maps(features, head_weight)
        >>> maps.shape
        torch.Size([2, 10, 7, 7])
        >>> torch.testing.assert_close(maps.mean((2, 3)), features.mean((2, 3)) @ head_weight.T)
        >>> class_activation_maps(features, head_weight, torch.tensor([[3], [8]])).shape
        torch.Size([2, 1, 7, 7])
    """
    _check(features, head_weight, classes)
    head_weight = head_weight.to(features.dtype)
    if classes is None:
        return F.conv2d(features, head_weight[:, :, None, None])
    # A matrix product per image with its own k rows: K / k times less work than all maps followed by a gather.
    maps = head_weight[classes] @ features.flatten(2)
    return maps.unflatten(2, features.shape[2:])


def _check(features: Tensor, head_weight: Tensor, classes: Tensor | None) -> None:
    for name, given in (("features", features), ("head_weight", head_weight), ("classes", classes)):
        if not isinstance(given, Tensor) and (given is not None or name != "classes"):
            raise XkdError(f"{name}: a {type(given).__name__} found; expected a tensor")
    if features.ndim != 4 or head_weight.ndim != 2 or features.shape[1] != head_weight.shape[1]:
        raise XkdError(
            f"features: {tuple(features.shape)} and `head_weight` {tuple(head_weight.shape)} do not fit: "
            "expected (B, C, h, w) and (K, C) with the same C"
        )
    for name, given in (("features", features), ("head_weight", head_weight)):
        if not given.is_floating_point():
            raise XkdError(f"{name}: {given.dtype} found; expected floats")
    for name, given in (("head_weight", head_weight), ("classes", features if classes is None else classes)):
        if given.device != features.device:
            raise XkdError(f"{name}: on {given.device}, and `features` on {features.device}; expected one device")
    if not len(head_weight):
        raise XkdError(f"head_weight: {tuple(head_weight.shape)} found; expected (K, C) with at least one class")
    if classes is not None and (classes.dtype != torch.int64 or classes.ndim != 2 or len(classes) != len(features)):
        found = f"{classes.dtype} of shape {tuple(classes.shape)}"
        raise XkdError(f"classes: {found} found; expected int64 of shape (B, k) with B = {len(features)}")
    # An accelerator would be waited for; it refuses the most of them itself. Negative ones would count from the end.
    if classes is not None and classes.numel() and classes.device.type == "cpu":
        numbers = classes.numpy()
        if numbers.min() < 0 or numbers.max() >= len(head_weight):
            wrong = numbers.min() if numbers.min() < 0 else numbers.max()
            raise XkdError(f"classes: {wrong} found; expected class indices from 0 to {len(head_weight) - 1}")
