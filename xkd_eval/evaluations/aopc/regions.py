"""Square regions of an image: which pixel is of which, and what relevance they hold."""

from __future__ import annotations

import numpy as np

_SIDE = 224
"""The shorter side of the images for which regions are given."""


def region_numbers(size: tuple[int, int], region: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The region of each pixel, on a grid that lies in the image's middle; those at its border may be smaller.

    Args:
        size: (H, W) of the image.
        region: side in pixels where the shorter side has 224; here it is scaled, and at least 1.

    Returns:
        (H, W) integers from 0, row by row, and how many rows and columns of regions there are.
    """
    side = max(1, round(region * min(size) / _SIDE))
    counts = tuple(-(-length // side) for length in size)
    rows, columns = (
        (np.arange(length) + (count * side - length) // 2) // side for length, count in zip(size, counts, strict=True)
    )
    return rows[:, None] * counts[1] + columns, (counts[0], counts[1])


def region_sums(maps: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """(B, H, W) maps and (H, W) numbers of regions -> (B, count), the relevance that each region holds.

    Summed pixel after pixel in float64, so that an image's sums do not depend on what else is in the batch.
    """
    flat = numbers.ravel()
    return np.stack([np.bincount(flat, weights=one.ravel(), minlength=count) for one in maps])
