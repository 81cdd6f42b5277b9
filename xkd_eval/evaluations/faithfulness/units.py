"""What is removed of an image: cells, or single channel values; which of them, and what the map says of each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from xkd_eval.errors import XkdError


class Units(ABC):
    """The parts of one image, and what its map says of them.

    Attributes:
        relevance: (U,) float64, of each unit.
        groups: (U,) int64, in which group each is; 0 is the most relevant group.
    """

    relevance: np.ndarray
    groups: np.ndarray

    @abstractmethod
    def mask(self, chosen: np.ndarray) -> Tensor:
        """(U,) booleans -> (1 or 3, H, W) booleans: the places of the units that are chosen."""

    def group_sums(self) -> np.ndarray:
        """(G,) float64: the relevance of each group."""
        return np.bincount(self.groups, weights=self.relevance)


class Cells(Units):
    """Cells of a square grid, each a group of its own.

    Args:
        relevance: (H, W) float64, of the pixels; a cell has their sum.
        count: of cells, a square number.
        ties: (U,) int64, the order of cells of equal relevance.

    Raises:
        XkdError: the image has fewer pixels than cells on a side.
    """

    def __init__(self, relevance: np.ndarray, count: int, ties: np.ndarray) -> None:
        height, width = relevance.shape
        side = math.isqrt(count)
        if min(height, width) < side:
            raise XkdError(
                f"groups: {count} found, {side} x {side} cells, and the input is {height}x{width}; give fewer groups"
            )
        rows, columns = (np.arange(size) * side // size for size in (height, width))
        cells = rows[:, None] * side + columns
        self.relevance = np.bincount(cells.ravel(), weights=relevance.ravel(), minlength=count)
        self.groups = np.empty(count, dtype=np.int64)
        self.groups[np.lexsort((ties, -self.relevance))] = np.arange(count)
        self._cells = torch.from_numpy(cells)

    def mask(self, chosen: np.ndarray) -> Tensor:
        """See Units.mask."""
        return torch.from_numpy(chosen)[self._cells][None]


class Values(Units):
    """The three channel values of every pixel, each with the pixel's relevance, in groups by rank.

    Their sizes differ by a value at most.

    Args:
        relevance: (H, W) float64.
        ranks: (H, W) integers, 0 the most relevant pixel; a pixel's channels follow each other.
        count: of groups.
        channels: of the network's input.

    Raises:
        XkdError: fewer values than groups.
    """

    def __init__(self, relevance: np.ndarray, ranks: np.ndarray, count: int, channels: int = 3) -> None:
        self._size, self._channels = relevance.shape, channels
        n_values = channels * relevance.size
        if n_values < count:
            height, width = self._size
            raise XkdError(f"groups: {count} found, and an input of {height}x{width} has {n_values} values; give fewer")
        order = channels * ranks.ravel().astype(np.int64) + np.arange(channels)[:, None]
        self.relevance = np.tile(relevance.ravel(), channels)
        self.groups = (order * count // n_values).ravel()

    def mask(self, chosen: np.ndarray) -> Tensor:
        """See Units.mask."""
        return torch.from_numpy(chosen).reshape(self._channels, *self._size)


def subset_size(n_units: int, share: float) -> int:
    """How many of an image's units a share of them is, at least one."""
    return min(max(round(share * n_units), 1), n_units)


def subsets(
    generator: np.random.Generator, n_units: int, share: float, samples: int, draw: str
) -> Iterator[np.ndarray]:
    """Random subsets of an image's units.

    Args:
        generator: of the image.
        n_units: U.
        share: of the units that a subset has.
        samples: how many.
        draw: "each" unit with probability `share`, or a "fixed" number of them, at least one.

    Yields:
        (U,) booleans.
    """
    size = subset_size(n_units, share)
    for _ in range(samples):
        if draw == "each":
            yield generator.random(n_units) < share
        else:
            chosen = np.zeros(n_units, dtype=bool)
            chosen[generator.choice(n_units, size, replace=False)] = True
            yield chosen
