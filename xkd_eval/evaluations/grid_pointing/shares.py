"""The score of a map: how much of what is positive lies in one tile (Boehle et al., CVPR 2021)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from xkd_eval.resizing import resized

_NOTHING = 1e-7


def tile_shares(maps: Tensor, size: tuple[int, int], side: int) -> np.ndarray:
    """The share of the positive attribution in each tile.

    Maps stay signed until they are up-sampled, bilinearly; what is negative then is 0. Neither min-max, which would
    lift it, nor clamping first.

    Args:
        maps: (B, h, w) raw, finite.
        size: (H, W) of the grid.
        side: tiles an edge. A pixel belongs to the tile in which its centre lies.

    Returns:
        (B, side * side) float64, row by row, which sum to 1; 0 where the map's positive sum is 1e-7 or less.
    """
    largest = maps.float().clamp(min=0).amax((1, 2)).double().cpu().numpy()
    positive = resized(maps.float(), size).clamp(min=0).cpu().numpy().astype(np.float64)
    # Sums by NumPy: torch may split one over threads, and round otherwise where a batch has one map.
    rows, columns = (_starts(length, side) for length in size)
    tiles = np.add.reduceat(np.add.reduceat(positive, rows, axis=1), columns, axis=2)
    sums = tiles.sum((1, 2))
    # `resized` scales what is faint, of which the bound tells that there is nothing.
    nothing = (sums <= _NOTHING) | (largest * size[0] * size[1] <= _NOTHING)
    shares = tiles / np.where(nothing, 1.0, sums)[:, None, None]
    return np.where(nothing[:, None], 0.0, shares.reshape(len(shares), -1))


def _starts(length: int, side: int) -> np.ndarray:
    """The first pixel of each tile along one axis."""
    tile = ((np.arange(length) + 0.5) * side / length).astype(np.int64)
    return np.searchsorted(tile, np.arange(side))
