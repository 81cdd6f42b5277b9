"""Spatial maps of a student and a teacher brought to one size."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from xkd_eval.errors import XkdError


def to_size(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, align_corners=False: (B, K, h, w) -> (B, K, *size)."""
    if tuple(features.shape[2:]) == tuple(size):
        return features
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)


def to_larger(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps (B, K, h, w) at the larger height and the larger width of the two."""
    size = (max(student.shape[2], teacher.shape[2]), max(student.shape[3], teacher.shape[3]))
    return to_size(student, size), to_size(teacher, size)


def pool_to_smaller(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps (B, C, h, w) averaged down to the smaller height and the smaller width of the two."""
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    return pool_to(student, size), pool_to(teacher, size)


def pool_to(features: Tensor, size: tuple[int, int], option: str = "size") -> Tensor:
    """Adaptive average pooling: (B, C, h, w) -> (B, C, *size).

    Args:
        features: maps.
        size: of the result.
        option: of the method, that says the size.

    Raises:
        XkdError: the maps are smaller than that, so nothing could be averaged.
    """
    if features.shape[2] < size[0] or features.shape[3] < size[1]:
        raise XkdError(
            f"{option}: maps of {tuple(features.shape[2:])} cannot be averaged to {size}; choose a smaller grid"
        )
    return F.adaptive_avg_pool2d(features, size)
