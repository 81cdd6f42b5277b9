"""Objects' outlines as COCO writes them, polygons or run lengths -> masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xkd_eval.foreign import short

Outline = tuple[np.ndarray, ...] | np.ndarray
"""Polygons, (n, 2) float64 x, y each; or (n,) int64 lengths of runs, the first of background, column by column."""

_MARGIN = 1.0  # pixels by which annotators' corners pass the edge of an image


@dataclass(frozen=True)
class Outlined:
    """What is known of the objects of one class in one image.

    Attributes:
        size: (height, width) of the image.
        objects: the outline of each.
        ignored: of regions of many objects, that count neither as object nor as background.
        boxes: (n, 4) int64 x0, y0, x1, y1, ends inclusive.
    """

    size: tuple[int, int]
    objects: tuple[Outline, ...]
    ignored: tuple[Outline, ...]
    boxes: np.ndarray

    def mask(self) -> np.ndarray:
        """(H, W) int8: 1 object, 0 background, -1 ignored; an object over what is ignored is object."""
        mask = np.zeros(self.size, dtype=np.int8)
        for value, outlines in ((-1, self.ignored), (1, self.objects)):
            for outline in outlines:
                mask[covered(outline, self.size)] = value
        return mask

    def stored(self) -> list[np.ndarray]:
        """All of it as arrays, to be hashed."""
        found: list[np.ndarray] = [np.array(self.size), self.boxes]
        for outline in (*self.objects, np.zeros(0), *self.ignored):
            found += outline if isinstance(outline, tuple) else [outline]
        return found


def covered(outline: Outline, size: tuple[int, int]) -> np.ndarray:
    """(H, W) booleans: the pixels whose centre lies within an outline.

    Args:
        outline: as `outline_of` gives it, of an image of this size.
        size: (height, width).
    """
    if isinstance(outline, np.ndarray):
        inside = np.arange(len(outline)) % 2 == 1
        return np.repeat(inside, outline).reshape(size[::-1]).T
    from skimage.draw import polygon

    found: np.ndarray = np.zeros(size, dtype=bool)
    for corners in outline:
        found[polygon(corners[:, 1] - 0.5, corners[:, 0] - 0.5, size)] = True
    return found


def outline_of(segmentation: Any, size: tuple[int, int]) -> Outline:
    """What an annotation says of an object's outline, to be called within `reading`.

    Args:
        segmentation: polygons [[x, y, x, y, ...], ...], or {"size", "counts"} with counts as numbers or as text.
        size: (height, width) of the image.

    Raises:
        ValueError: neither, polygons beyond the image, or runs that are not those of an image of this size.
    """
    if isinstance(segmentation, dict):
        return _runs(segmentation, size)
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError(f"a segmentation of {short(segmentation)}, and neither polygons nor run lengths")
    return tuple(_polygon(corners, size) for corners in segmentation)


def _polygon(corners: Any, size: tuple[int, int]) -> np.ndarray:
    if not isinstance(corners, list) or len(corners) < 6 or len(corners) % 2:
        raise ValueError(f"a polygon of {short(corners)}, and not of x and y of three corners or more")
    found: np.ndarray = np.array(corners, dtype=np.float64).reshape(-1, 2)
    beyond = (found < -_MARGIN) | (found > np.array(size[::-1]) + _MARGIN) | ~np.isfinite(found)
    if beyond.any():
        x, y = found[beyond.any(1)][0].tolist()
        raise ValueError(f"a polygon with the corner {x:g} {y:g}, outside of the image of {size[1]}x{size[0]}")
    return found


def _runs(encoded: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Run lengths; a part of the image that they leave out is no outline of ours."""
    counts = encoded["counts"]
    runs: np.ndarray = np.array(_unpacked(counts) if isinstance(counts, str) else _numbers(counts), dtype=np.int64)
    if encoded["size"] != list(size):
        raise ValueError(f"run lengths of an image of {short(encoded['size'])}, and the image is {list(size)}")
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise ValueError(f"run lengths of {runs.sum():,} pixels, and the image has {size[0] * size[1]:,}")
    return runs


def _numbers(counts: Any) -> list[int]:
    if not isinstance(counts, list) or not all(type(count) is int and abs(count) < 2**31 for count in counts):
        raise ValueError(f"counts of {short(counts)}, and neither whole numbers nor text")
    return counts


def _unpacked(text: str) -> list[int]:
    """COCO's text of run lengths: five bits a character, the lowest first, a sixth where more follow; from the fourth
    run on what it adds to the one before the last (`rleToString` of its API)."""
    runs: list[int] = []
    digits: list[int] = []
    for sign in text:
        digit = ord(sign) - 48
        if not 0 <= digit < 64 or len(digits) > 6:
            raise ValueError(f"counts of {short(text)}, and no run lengths as text")
        digits.append(digit & 31)
        if digit & 32:
            continue
        value = sum(part << 5 * place for place, part in enumerate(digits))
        value -= (digit & 16) << 5 * len(digits) - 4  # the last bit is the sign's
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        digits = []
    if digits:
        raise ValueError(f"counts of {short(text)}, which end within a number")
    return runs


def boxes_within(boxes: Sequence[tuple[int, int, int, int]], size: tuple[int, int]) -> np.ndarray:
    """(n, 4) int64 boxes, cut at the image's edge where they pass it by a pixel.

    Raises:
        ValueError: one passes it by more.
    """
    found: np.ndarray = np.array(boxes, dtype=np.int64).reshape(-1, 4)
    last = np.array([size[1], size[0], size[1], size[0]]) - 1
    beyond = ((found < -_MARGIN) | (found > last + _MARGIN)).any(1)
    if beyond.any():
        raise ValueError(f"a box {short(found[beyond][0].tolist())} outside of the image of {size[1]}x{size[0]}")
    return found.clip(0, last)
