"""More images than are drawn one by one: summed in random groups, which the bootstrap draws in their place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

GROUPS = 50_000
"""Up to so many images each is drawn alone, as in ImageNet's validation set; beyond, so many groups of them are."""

MEMBERS = "images of a cluster"
"""The column that says of how many images the others are sums."""

# Of nobody else's draws: scores that were simulated with seed 0 would stand in the order of their groups.
_SEED = int.from_bytes(b"groups of images", "big")
_BLOCK = 65_536  # images at a time, so that their float64 copies stay small


class GroupSums:
    """Columns of images that come block by block, ready to be resampled in memory that does not grow with them.

    An image's group is drawn at random, so that the sums of groups are as independent as the images are: their
    bootstrap has the expected variance and skewness of the images' own, at a relative error of the standard deviation
    of 0.3 % (one over the root of twice the number of groups). The groups depend on the images' order alone, and the
    sums are taken image by image, so that no bit depends on the blocks.
    """

    def __init__(self) -> None:
        self._blocks: list[Mapping[str, np.ndarray]] = []
        self._sums: dict[str, np.ndarray] = {}
        self._is_list: dict[str, bool] = {}
        self._members = np.zeros(GROUPS)
        self._generator = np.random.Generator(np.random.PCG64(_SEED))
        self._count = 0

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        """Take the next images.

        Args:
            columns: name -> (n,) or (n, m), one row an image; the same names every time.
        """
        if not columns:
            return
        self._blocks.append(columns)
        self._count += len(next(iter(columns.values())))
        if self._count > GROUPS:
            for block in self._blocks:
                self._sum(block)
            self._blocks = []

    def columns(self) -> Mapping[str, np.ndarray]:
        """What the functions of bootstrap.py take: the images' columns as they came, or the sums of the groups."""
        if self._count > GROUPS:
            filled = self._members > 0
            found = {name: sums[:, filled].T for name, sums in self._sums.items()}
            found = {name: values if self._is_list[name] else values[:, 0] for name, values in found.items()}
            return {MEMBERS: self._members[filled], **found}
        if len(self._blocks) < 2:
            return self._blocks[0] if self._blocks else {}
        return {name: np.concatenate([block[name] for block in self._blocks]) for name in self._blocks[0]}

    def _sum(self, columns: Mapping[str, np.ndarray]) -> None:
        groups = group_numbers(len(next(iter(columns.values()))), self._generator)
        np.add.at(self._members, groups, 1.0)
        for name, values in columns.items():
            self._is_list[name] = values.ndim == 2
            width = values.shape[1] if values.ndim == 2 else 1
            add_rows(self._sums.setdefault(name, np.zeros((width, GROUPS))), groups, values)


def group_numbers(count: int, generator: np.random.Generator | None = None) -> np.ndarray:
    """(count,) numbers below GROUPS, drawn for that many images.

    Args:
        count: of images.
        generator: that drew those of the images before them; None where these are the first.
    """
    drawn = (generator or np.random.Generator(np.random.PCG64(_SEED))).random(count)
    return (drawn * GROUPS).astype(np.intp)


def add_rows(sums: np.ndarray, places: np.ndarray, values: np.ndarray) -> None:
    """Add each row of `values`, in their order, to the sums at its place.

    Args:
        sums: (m, places) float64, changed.
        places: (n,) integers.
        values: (n,) or (n, m) numbers or booleans.
    """
    matrix = values.reshape(len(values), len(sums))
    for start in range(0, len(matrix), _BLOCK):
        # A column at a time and contiguous, for which NumPy's own loop is ten times as fast.
        block = np.ascontiguousarray(matrix[start : start + _BLOCK].T, dtype=np.float64)
        for sum_, column in zip(sums, block, strict=True):
            np.add.at(sum_, places[start : start + _BLOCK], column)
