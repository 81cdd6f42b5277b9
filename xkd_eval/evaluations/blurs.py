"""Blurred images that pixels are taken from, as the tools of insertion and deletion blur them: after normalisation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xkd_eval.errors import XkdError

_RISE_SIDE, _SIGMA, _CUT = 11, 5.0, 4.0
_REFLECTING_SIDE = 15


def rise_blur(images: Tensor) -> Tensor:
    """The substrate of RISE (Petsiuk et al., BMVC 2018): edges fade to 0, the mean colour.

    Args:
        images: (B, 3, H, W) normalised.

    Returns:
        (B, 3, H, W).
    """
    row = torch.from_numpy(rise_kernel()).to(images)
    channels, pad = images.shape[1], _RISE_SIDE // 2
    down = row.reshape(1, 1, -1, 1).expand(channels, -1, -1, -1)
    across = row.reshape(1, 1, 1, -1).expand(channels, -1, -1, -1)
    return F.conv2d(
        F.conv2d(images, down, padding=(pad, 0), groups=channels), across, padding=(0, pad), groups=channels
    )


def rise_kernel() -> np.ndarray:
    """(11,): one side of RISE's kernel, the outer product of this with itself; it sums to 1.

    A single 1 in an 11x11 square, blurred by a Gaussian that the square's own border throws back, so that the kernel is
    nearly a box.
    """
    reach = int(_CUT * _SIGMA)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / _SIGMA) ** 2)
    weights /= weights.sum()
    places = (np.arange(_RISE_SIDE)[:, None] + steps) % (2 * _RISE_SIDE)
    thrown_back = np.where(places < _RISE_SIDE, places, 2 * _RISE_SIDE - 1 - places)
    return ((thrown_back == _RISE_SIDE // 2) * weights).sum(1)


def reflecting_blur(images: Tensor) -> Tensor:
    """A Gaussian of sigma 5 within 15x15 pixels, the image reflected at its border (LATEC).

    Args:
        images: (B, 3, H, W) normalised.

    Returns:
        (B, 3, H, W).

    Raises:
        XkdError: a side of less than 8 pixels, which has nothing to reflect.
    """
    from torchvision.transforms.functional import gaussian_blur

    height, width = images.shape[2:]
    if min(height, width) <= _REFLECTING_SIDE // 2:
        raise XkdError(
            f"fill: reflecting_blur of an image of {height}x{width} pixels; expected sides of at least "
            f"{_REFLECTING_SIDE // 2 + 1}, or another fill"
        )
    return gaussian_blur(images, [_REFLECTING_SIDE] * 2, [_SIGMA] * 2)
