"""What a classifier is given: taken where it is what is expected, refused in one line where it is not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short


def check_arguments(model: Any, preprocess: Any, num_classes: Any) -> None:
    """Raise XkdError unless these are a module, a Preprocess and a number of classes."""
    if not isinstance(model, nn.Module):
        raise XkdError(f"model: {short(model)} found; expected a torch.nn.Module")
    if not isinstance(preprocess, Preprocess):
        raise XkdError(f"preprocess: {short(preprocess)} found; expected an xkd_eval.Preprocess")
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise XkdError(f"num_classes: {short(num_classes)} found; expected an integer, 1 or more")


def check_images(images: Any, channels: int = 3) -> Tensor:
    """Normalised images as float32, contiguous.

    Args:
        images: (B, C, H, W) of any floating-point type.
        channels: C.

    Returns:
        The same values.

    Raises:
        XkdError: another kind or shape; no image.
    """
    shape = f"(B, {channels}, H, W)"
    if not isinstance(images, Tensor):
        raise XkdError(f"images: {described_values(images)} found; expected a tensor {shape}, see Preprocess.normalise")
    if not images.is_floating_point():
        raise XkdError(
            f"images: {described_values(images)} found; expected floats, which Preprocess.normalise makes of pixels"
        )
    if images.ndim != 4 or images.shape[1] != channels or 0 in images.shape:
        raise XkdError(
            f"images: {described_values(images)} found; expected (B, {channels}, H, W) with at least one image"
        )
    return images.float().contiguous()


def check_classes(classes: Any, shape: tuple[int | None, ...], num_classes: int) -> Tensor:
    """Classes as int64.

    Args:
        classes: integers.
        shape: that is expected; None stands for any number.
        num_classes: K.

    Raises:
        XkdError: another kind or shape, or a class outside of 0 to K - 1.
    """
    wanted = ", ".join("k" if side is None else str(side) for side in shape)
    expected = f"expected int64 ({wanted}{',' if len(shape) == 1 else ''}), a class an image"
    if not isinstance(classes, Tensor) or classes.is_floating_point() or classes.is_complex():
        raise XkdError(f"classes: {described_values(classes)} found; {expected}")
    if classes.dtype == torch.bool or len(classes.shape) != len(shape):
        raise XkdError(f"classes: {described_values(classes)} found; {expected}")
    if any(side not in (None, found) for side, found in zip(shape, classes.shape, strict=True)):
        raise XkdError(f"classes: {described_values(classes)} found; {expected}")
    if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
        raise XkdError(
            f"classes: from {int(classes.min())} to {int(classes.max())} found; the classifier has classes from 0 to "
            f"{num_classes - 1}"
        )
    return classes.long()


def described_values(values: Any) -> str:
    """What was found, as an error says it: kind and shape of a tensor or array, else the type."""
    if isinstance(values, Tensor):
        return f"a {str(values.dtype).removeprefix('torch.')} tensor {tuple(values.shape)}"
    if hasattr(values, "dtype") and hasattr(values, "shape"):
        return f"a NumPy array of {values.dtype} {tuple(values.shape)}"
    return f"a {type(values).__name__}"
