"""A saliency map at another size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Above, the sum or the difference of a map's values may be more than float32 holds; below, their products less.
_LARGE, _SMALL = 2.0**110, 2.0**-100


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps brought to a size bilinearly (align_corners=False), all finite values as good as any.

    A map whose largest magnitude is near the ends of float32's range comes back times a power of two, which changes
    neither the order of its values nor their proportions, so that what is computed from it stays finite and distinct.

    Args:
        maps: (B, h, w) float32.
        size: (H, W).

    Returns:
        (B, H, W) float32.
    """
    largest = maps.abs().flatten(1).amax(1)[:, None, None]
    factors = torch.where(largest >= _LARGE, 2.0**-18, torch.where(largest < _SMALL, 2.0**100, 1.0))
    return F.interpolate((maps * factors.float())[:, None], size, mode="bilinear", align_corners=False)[:, 0]
